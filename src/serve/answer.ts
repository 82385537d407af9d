// One request on its way: its tokens, the text they make, where it ends. The engine pushes tokens in, whoever asked takes events out.

import type { TextTokenizer, TokenStream } from "../models/tokenizer.js";
import { Generator } from "../runtime/index.js";
import {
  type FinishReason,
  type GenerateEvent,
  type GenerateRequest,
  RequestError,
  type TokenLogprob,
} from "./api.js";
import { callGrammar, jsonGrammar, JsonSchemaError, type State } from "./constrain/index.js";
import { Mailbox } from "./mailbox.js";
import type { Choice, Chosen, RowLogprobs, Sampler } from "./sampler.js";
import { Sequence } from "./scheduler.js";
import { StopTexts } from "./stop.js";

/** What an answer must know of the model. */
export interface Vocabulary {
  readonly tokenizer: TextTokenizer;
  /** Each token's, by id. */
  readonly bytes: readonly (Uint8Array | undefined)[];
  readonly vocabSize: number;
}

export class Answer {
  readonly sequence: Sequence;
  readonly events = new Mailbox<GenerateEvent>();
  isOver = false;
  readonly #generator: Generator;
  readonly #stream: TokenStream;
  readonly #stops: StopTexts;
  readonly #made: number[] = [];
  /** Reports of tokens whose text has not come out yet. */
  #reports: TokenLogprob[] = [];
  #state: State | undefined;

  /**
   * @param limit most tokens it may have
   * @throws RequestError for a schema that cannot be followed, and for biases of unknown tokens
   */
  constructor(
    readonly prompt: readonly number[],
    readonly request: GenerateRequest,
    readonly limit: number,
    private readonly vocabulary: Vocabulary,
  ) {
    this.sequence = new Sequence(prompt);
    this.#generator = new Generator(request.seed);
    this.#stream = vocabulary.tokenizer.stream();
    this.#stops = new StopTexts(request.stop);
    this.#state = request.form && stateOf(request.form);
    for (const id of Object.keys(request.logitBias ?? {}))
      if (!(Number(id) >= 0 && Number(id) < vocabulary.vocabSize))
        throw new RequestError(`logit_bias: there is no token ${id}`, "logit_bias");
  }

  /** What the sampler must know for the next token. */
  choice(): Omit<Choice, "row"> {
    return {
      sampling: this.request,
      generator: this.#generator,
      made: this.#made,
      logprobs: this.request.logprobs,
      state: this.#state,
    };
  }

  /** Takes the next token in. @returns how many tokens the answer is longer */
  push(chosen: Chosen, ends: ReadonlySet<number>, sampler: Sampler): 0 | 1 {
    const { token } = chosen;
    if (ends.has(token)) {
      this.#end("stop");
      return 0;
    }
    this.#made.push(token);
    this.sequence.tokens.push(token);
    if (chosen.logprobs) this.#reports.push(this.#report(token, chosen.logprobs));
    if (this.#state) this.#state = sampler.advance(this.#state, token) ?? undefined;
    this.#emit(this.#stops.push(this.#stream.push(token)));
    const isClosed = this.#state?.isComplete && !this.#state.isOpen;
    if (this.#stops.found || isClosed) this.#end("stop");
    else if (this.#made.length === this.limit) this.#end("length");
    return 1;
  }

  #emit(text: string): void {
    if (text === "") return;
    const logprobs = this.request.logprobs === undefined ? {} : { logprobs: this.#reports };
    this.#reports = [];
    this.events.put({ type: "text", text, ...logprobs });
  }

  #end(reason: FinishReason): void {
    this.isOver = true;
    this.#emit(this.#stops.end(this.#stream.end()));
    this.events.put({
      type: "end",
      reason: this.#stops.found ? "stop" : reason,
      usage: {
        promptTokens: this.prompt.length,
        completionTokens: this.#made.length,
        cachedTokens: this.sequence.reused,
      },
    });
  }

  #report(token: number, { logprob, top }: RowLogprobs): TokenLogprob {
    const shown = (id: number) => ({
      text: this.vocabulary.tokenizer.decode([id], { specialTokens: true }),
      bytes: [...(this.vocabulary.bytes[id] ?? [])],
    });
    return { ...shown(token), logprob, top: top.map((t) => ({ ...shown(t.token), logprob: t.logprob })) };
  }
}

function stateOf(form: NonNullable<GenerateRequest["form"]>): State {
  const param = form.tools ? "tools" : "response_format";
  try {
    return (form.tools ? callGrammar(form.tools) : jsonGrammar(form.schema)).start;
  } catch (e) {
    if (!(e instanceof JsonSchemaError)) throw e;
    const where = form.tools ? param : "response_format.json_schema.schema";
    throw new RequestError(`${where}: ${e.message}`, param);
  }
}
