// The inference engine in one thread: a model, a tokenizer, and requests that advance token by token in turns.
// It runs in the server's worker (`worker.ts`); HTTP is elsewhere.

import { basename, resolve } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { KvCache } from "../models/kv-cache.js";
import { type LoadedModel, loadModel } from "../models/load.js";
import { takeNumber } from "../models/take.js";
import { TokenizerError } from "../models/tokenizer.js";
import "../chips/index.js";
import { argmax, sample } from "../ops/index.js";
import { autoload, Generator, loadChip, scope } from "../runtime/index.js";
import { noGrad, type Tensor, tensor } from "../tensor/index.js";
import {
  type Engine,
  type EngineInfo,
  type FinishReason,
  type GenerateEvent,
  type GenerateRequest,
  RequestError,
} from "./api.js";
import { StopTexts } from "./stop.js";
import type { EngineOptions } from "./worker-protocol.js";

/** Loads the chip and the model. @throws errors that name the chip, the folder or the file */
export async function loadEngine(options: EngineOptions): Promise<LocalEngine> {
  const chip = options.chip === undefined ? await autoload() : await loadChip(options.chip);
  return new LocalEngine(options.model, loadModel(options.model, { device: chip.name }));
}

export class LocalEngine implements Engine {
  readonly info: EngineInfo;
  readonly #loaded: LoadedModel;
  readonly #endTokens: ReadonlySet<number>;

  constructor(path: string, loaded: LoadedModel) {
    this.#loaded = loaded;
    const { model, tokenizer, folder } = loaded;
    const configured = folder.generation["eos_token_id"];
    const ends =
      configured == null ? [] : [configured].flat().filter((id): id is number => typeof id === "number");
    this.#endTokens = new Set([...ends, ...model.config.eosIds, ...tokenizer.eosIds]);
    this.info = {
      model: basename(resolve(path)),
      chip: model.device,
      contextLength: model.config.maxPositions,
      parameters: model.parameters().reduce((n, p) => n + p.numel, 0),
      hasChatTemplate: tokenizer.hasChatTemplate,
    };
  }

  async *generate(request: GenerateRequest, signal?: AbortSignal): AsyncGenerator<GenerateEvent> {
    const prompt = this.#tokens(request);
    const room = this.info.contextLength - prompt.length;
    if (room < 1)
      throw new RequestError(
        `the prompt has ${prompt.length} tokens, but the context holds ${this.info.contextLength} with the answer: shorten it`,
        "messages" in request.prompt ? "messages" : "prompt",
        "context_length_exceeded",
      );
    const limit = Math.min(request.maxTokens ?? room, room);
    const { tokenizer } = this.#loaded;
    const cache = this.#loaded.model.newCache(1, prompt.length + limit);
    const generator = new Generator(request.seed);
    const stream = tokenizer.stream();
    const stops = new StopTexts(request.stop);
    let made = 0;
    let reason: FinishReason = "length";
    try {
      let input: readonly number[] = prompt;
      while (made < limit) {
        // Others get their turn, and aborts and new requests are heard, between any two tokens.
        await nextTurn();
        signal?.throwIfAborted();
        const token = await this.#next(input, cache, request, generator);
        if (this.#endTokens.has(token)) {
          reason = "stop";
          break;
        }
        made++;
        const text = stops.push(stream.push(token));
        if (text !== "") yield { type: "text", text };
        if (stops.found) {
          reason = "stop";
          break;
        }
        input = [token];
      }
      const rest = stops.end(stream.end());
      if (rest !== "") yield { type: "text", text: rest };
      if (stops.found) reason = "stop";
      yield { type: "end", reason, usage: { promptTokens: prompt.length, completionTokens: made } };
    } finally {
      cache.dispose();
    }
  }

  /** The prompt's token ids. @throws RequestError for an empty prompt, ids out of range, messages the template refuses */
  #tokens(request: GenerateRequest): number[] {
    const { tokenizer, model } = this.#loaded;
    const p = request.prompt;
    const field = "messages" in p ? "messages" : "prompt";
    let ids: readonly number[];
    if ("tokens" in p) {
      ids = p.tokens;
      const bad = ids.find((id) => id >= model.config.vocabSize);
      if (bad !== undefined)
        throw new RequestError(
          `prompt: token ${bad} is outside the vocabulary of ${model.config.vocabSize}`,
          "prompt",
        );
    } else {
      try {
        ids =
          "text" in p
            ? tokenizer.encode(p.text)
            : tokenizer.encode(tokenizer.chat(p.messages), { specialTokens: false });
      } catch (e) {
        if (e instanceof TokenizerError) throw new RequestError(`${field}: ${e.message}`, field);
        throw e;
      }
    }
    if (ids.length === 0) throw new RequestError(`${field}: there are no tokens in it`, field);
    return [...ids];
  }

  /** Runs the model on new tokens and chooses the next. */
  async #next(
    input: readonly number[],
    cache: KvCache,
    request: GenerateRequest,
    generator: Generator,
  ): Promise<number> {
    const { model } = this.#loaded;
    const chosen: Tensor = noGrad(() =>
      scope(() => {
        const ids = tensor(BigInt64Array.from(input, BigInt), {
          shape: [1, input.length],
          device: this.info.chip,
        });
        const logits = model.forward(ids, { cache, lastOnly: true }).view([1, -1]);
        if (request.temperature === 0) return argmax(logits, -1);
        const { temperature, topK, topP } = request;
        return sample(logits, { temperature, topK, topP, generator });
      }),
    );
    return takeNumber(chosen);
  }

  async close(): Promise<void> {
    this.#loaded.model.dispose();
  }
}
