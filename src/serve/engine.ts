// The inference engine in one thread: a model, a tokenizer, and requests that advance together, step by step. Who runs when is
// the scheduler's business (`scheduler.ts`), which token comes next the sampler's. It runs in the server's worker
// (`worker.ts`); HTTP is elsewhere.

import { basename, resolve } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import "../chips/index.js";
import { CapturedSteps } from "../models/captured-steps.js";
import { type LoadedModel, loadModel } from "../models/load.js";
import { PagedCache, PagedStep } from "../models/paged-cache.js";
import { take } from "../models/take.js";
import { tokenBytes } from "../models/token-bytes.js";
import { TokenizerError } from "../models/tokenizer.js";
import { type ActivationDType, withActivationDType } from "../nn/index.js";
import { rowsAlike } from "../ops/matvec-kernel.js";
import { autoload, loadChip, loadedChip, memoryStats, scope } from "../runtime/index.js";
import { noGrad, type Tensor, tensor } from "../tensor/index.js";
import {
  type Embedding,
  type Engine,
  type EngineInfo,
  type EngineStats,
  type GenerateEvent,
  type GenerateRequest,
  type Prompt,
  RequestError,
} from "./api.js";
import { Answer, type Vocabulary } from "./answer.js";
import { PagePool } from "./page-pool.js";
import { type Choice, Sampler } from "./sampler.js";
import { Scheduler, type Sequence, type Work } from "./scheduler.js";
import type { EngineOptions } from "./worker-protocol.js";

const PAGE = 16;
const CHUNK = 256;
const SEQUENCES = 32;
/** Chunks of so few tokens are computed with floats: for them rounding activations to bytes is slower. */
const SHORT = 8;
/** Most bytes that the cache takes unless told otherwise. */
const CACHE_BYTES = 2 ** 31;

/** Loads the chip and the model. @throws errors that name the chip, the folder or the file */
export async function loadEngine(options: EngineOptions): Promise<LocalEngine> {
  const chip = options.chip === undefined ? await autoload() : await loadChip(options.chip);
  const { model, adapter, dtype } = options;
  return new LocalEngine(model, loadModel(model, { device: chip.name, adapter, dtype }), options);
}

export class LocalEngine implements Engine {
  readonly info: EngineInfo;
  readonly #loaded: LoadedModel;
  readonly #endTokens: ReadonlySet<number>;
  readonly #cache: PagedCache;
  readonly #captured: CapturedSteps;
  readonly #scheduler: Scheduler;
  readonly #vocabulary: Vocabulary;
  readonly #sampler: Sampler;
  readonly #promptActivations: ActivationDType;
  readonly #answers = new Map<Sequence, Answer>();
  /** The steps that run now; undefined while nobody asks for anything. */
  #stepping: Promise<void> | undefined;
  #promptTokens = 0;
  #completionTokens = 0;

  constructor(path: string, loaded: LoadedModel, options: Omit<EngineOptions, "model" | "chip"> = {}) {
    this.#loaded = loaded;
    this.#promptActivations = options.promptActivations ?? "keep";
    const { model, tokenizer, folder } = loaded;
    const { config, device } = model;
    const configured = folder.generation["eos_token_id"];
    const ends =
      configured == null ? [] : [configured].flat().filter((id): id is number => typeof id === "number");
    this.#endTokens = new Set([...ends, ...config.eosIds, ...tokenizer.eosIds]);
    this.info = {
      model: basename(resolve(path)),
      chip: device,
      contextLength: config.maxPositions,
      parameters: model.parameters().reduce((n, p) => n + p.numel, 0),
      hasChatTemplate: tokenizer.hasChatTemplate,
      toolForm: tokenizer.templateText?.includes("<tool_call>") ? "tags" : undefined,
      generates: config.causal,
      hiddenSize: config.hiddenSize,
    };
    const maxSequences = options.maxSequences ?? SEQUENCES;
    const pages = this.info.generates ? this.#pages(options.cacheTokens, maxSequences) : 1;
    this.#cache = model.newPagedCache(pages, PAGE);
    this.#captured = new CapturedSteps(model, this.#cache);
    this.#scheduler = new Scheduler(new PagePool(pages, PAGE), {
      maxSequences,
      // Whole pages, so that the same prompt is cut at the same places wherever it begins.
      chunk: PAGE * Math.ceil((options.chunk ?? CHUNK) / PAGE),
    });
    let bytes: Vocabulary["bytes"] | undefined;
    this.#vocabulary = {
      tokenizer,
      vocabSize: config.vocabSize,
      // Few answers ask for them, and a large vocabulary's take a while.
      get bytes() {
        bytes ??= tokenBytes(tokenizer.files.tokenizer, config.vocabSize);
        return bytes;
      },
    };
    this.#sampler = new Sampler(this.#vocabulary, this.#endTokens, device);
  }

  /** How many pages the cache has: at least one whole context, at most what all sequences could fill. */
  #pages(asked: number | undefined, maxSequences: number): number {
    const { model } = this.#loaded;
    const context = Math.ceil(this.info.contextLength / PAGE);
    if (asked !== undefined) return Math.max(1, Math.ceil(asked / PAGE));
    const { memoryBytes } = loadedChip(this.info.chip).capabilities;
    const room = Math.min(CACHE_BYTES, (memoryBytes ?? 4 * CACHE_BYTES) / 4);
    const fit = Math.floor(room / (PAGE * PagedCache.bytesPerToken(model.cacheShape())));
    return Math.max(1, Math.min(fit, context * maxSequences));
  }

  async *generate(request: GenerateRequest, signal?: AbortSignal): AsyncGenerator<GenerateEvent> {
    if (!this.info.generates)
      throw new RequestError(
        `"${this.info.model}" makes embeddings only: it predicts no next token`,
        "model",
      );
    const prompt = this.#tokens(request.prompt);
    const { total, pageSize } = this.#scheduler.pool;
    const room = Math.min(this.info.contextLength, total * pageSize) - prompt.length;
    if (room < 1)
      throw new RequestError(
        `the prompt has ${prompt.length} tokens, but the context holds ${room + prompt.length} with the answer: shorten it`,
        "messages" in request.prompt ? "messages" : "prompt",
        "context_length_exceeded",
      );
    signal?.throwIfAborted();
    const most = Math.min(request.maxTokens ?? room, room);
    const answer = new Answer(prompt, request, most, this.#vocabulary);
    const onAbort = () =>
      answer.events.put(signal!.reason instanceof Error ? signal!.reason : new Error("cancelled"));
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#answers.set(answer.sequence, answer);
    this.#scheduler.add(answer.sequence);
    this.#promptTokens += prompt.length;
    this.#stepping ??= this.#steps();
    try {
      for (;;) {
        const event = await answer.events.take();
        yield event;
        if (event.type === "end") return;
      }
    } finally {
      signal?.removeEventListener("abort", onAbort);
      this.#leave(answer.sequence);
    }
  }

  #leave(sequence: Sequence): void {
    if (this.#answers.delete(sequence)) this.#scheduler.remove(sequence);
  }

  /** Runs steps until nobody waits for any. */
  async #steps(): Promise<void> {
    try {
      for (;;) {
        // Aborts and new requests are heard between any two steps.
        await nextTurn();
        if (this.#answers.size === 0) return;
        await this.#step();
      }
    } catch (error) {
      const failure = error instanceof Error ? error : new Error(String(error));
      for (const [sequence, answer] of [...this.#answers]) {
        this.#leave(sequence);
        answer.events.put(failure);
      }
    } finally {
      this.#stepping = undefined;
    }
  }

  async #step(): Promise<void> {
    for (const [group, activations] of this.#groups(this.#scheduler.plan())) {
      // Who left meanwhile has no pages any more.
      const still = group.filter((w) => this.#answers.has(w.sequence));
      if (still.length > 0) await this.#run(still, activations);
    }
  }

  /**
   * What of a step runs together: how a token is computed must not depend on who else runs. Where the rows of small products have the
   * same bits whatever their number, so have the results: answers go in such numbers, and each prompt by itself, which costs a chip
   * that is no GPU nothing. Elsewhere that holds but for rounding.
   */
  #groups(work: readonly Work[]): [Work[], ActivationDType][] {
    const answers = work.filter((w) => w.sequence.isAnswering);
    const prompts = work.filter((w) => !w.sequence.isAnswering);
    const forPrompt = (w: Work): ActivationDType =>
      this.#scheduler.span(w) <= SHORT ? "keep" : this.#promptActivations;
    const rows = rowsAlike(loadedChip(this.info.chip));
    if (rows === undefined) {
      const kept = prompts.filter((w) => forPrompt(w) === "keep");
      const others = prompts.filter((w) => forPrompt(w) !== "keep");
      return [
        [[...answers, ...kept], "keep"],
        [others, this.#promptActivations],
      ];
    }
    const groups: [Work[], ActivationDType][] = [];
    for (let i = 0; i < answers.length; i += rows) groups.push([answers.slice(i, i + rows), "keep"]);
    for (const w of prompts) groups.push([[w], forPrompt(w)]);
    return groups;
  }

  async #run(work: readonly Work[], activations: ActivationDType): Promise<void> {
    const repeated = this.#repeated(work, activations);
    const step = (): Tensor =>
      this.#loaded.model.forwardStep(
        new PagedStep(
          this.#cache,
          work.map(({ sequence: s, count }) => ({
            pages: s.pages,
            past: s.done,
            tokens: s.tokens.slice(s.done, s.done + count),
          })),
        ),
      );
    const logits = repeated ?? withActivationDType(activations, () => noGrad(() => scope(step)));
    try {
      await this.#take(work, logits);
    } finally {
      if (!repeated) logits.storage.dispose();
    }
  }

  /** The logits of a step that a recording gave: answers alone, a token each. */
  #repeated(work: readonly Work[], activations: ActivationDType): Tensor | undefined {
    if (activations !== "keep" || !work.every((w) => w.sequence.isAnswering)) return undefined;
    return this.#captured.run(
      work.map(({ sequence: s }) => ({ pages: s.pages, past: s.done, token: s.tokens[s.done]! })),
    );
  }

  /** Gives each answer its next token. */
  async #take(work: readonly Work[], logits: Tensor): Promise<void> {
    const choices: (Choice & { readonly answer: Answer })[] = [];
    for (const [row, w] of work.entries()) {
      const answer = this.#answers.get(w.sequence);
      if (answer && reachesEnd(w)) choices.push({ row, answer, ...answer.choice() });
    }
    this.#scheduler.finish(work);
    if (choices.length === 0) return;
    const chosen = await this.#sampler.choose(logits, choices);
    for (const [i, { answer }] of choices.entries()) {
      // Who left meanwhile needs no token.
      if (!this.#answers.has(answer.sequence)) continue;
      this.#completionTokens += answer.push(chosen[i]!, this.#endTokens, this.#sampler);
      if (answer.isOver) this.#leave(answer.sequence);
    }
  }

  async embed(input: Prompt, signal?: AbortSignal): Promise<Embedding> {
    const ids = this.#tokens(input);
    const { model } = this.#loaded;
    if (ids.length > this.info.contextLength)
      throw new RequestError(
        `the input has ${ids.length} tokens, but the context holds ${this.info.contextLength}: shorten it`,
        "input",
        "context_length_exceeded",
      );
    await nextTurn();
    signal?.throwIfAborted();
    const states = noGrad(() =>
      scope(() => {
        const x = tensor(BigInt64Array.from(ids, BigInt), { shape: [1, ids.length], device: this.info.chip });
        const y = model.hidden(x).squeeze(0);
        return model.config.causal ? y.select(0, ids.length - 1).clone() : y.mean(0);
      }),
    );
    const vector = Array.from(await take(states), Number);
    const length = Math.hypot(...vector) || 1;
    return { vector: vector.map((v) => v / length), tokens: ids.length };
  }

  async tokenize(prompt: Prompt): Promise<readonly number[]> {
    return this.#tokens(prompt);
  }

  async stats(): Promise<EngineStats> {
    const { running, waiting, pool, preempted } = this.#scheduler;
    const { allocated, reserved } = memoryStats(loadedChip(this.info.chip));
    return {
      running: running.length,
      waiting: waiting.length,
      pages: { total: pool.total, free: pool.free },
      promptTokens: this.#promptTokens,
      completionTokens: this.#completionTokens,
      lookedTokens: pool.looked.tokens,
      foundTokens: pool.looked.found,
      preemptions: preempted,
      memory: { allocated, reserved },
    };
  }

  /** The prompt's token ids. @throws RequestError for an empty prompt, ids out of range, messages the template refuses */
  #tokens(p: Prompt): number[] {
    const { tokenizer, model } = this.#loaded;
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
            : tokenizer.encode(tokenizer.chat(p.messages, { tools: p.tools }), { specialTokens: false });
      } catch (e) {
        if (e instanceof TokenizerError) throw new RequestError(`${field}: ${e.message}`, field);
        throw e;
      }
    }
    if (ids.length === 0) throw new RequestError(`${field}: there are no tokens in it`, field);
    return [...ids];
  }

  async close(): Promise<void> {
    for (const sequence of [...this.#answers.keys()]) this.#leave(sequence);
    await this.#stepping;
    this.#captured.dispose();
    this.#cache.dispose();
    this.#loaded.model.dispose();
  }
}

/** Whether a step's logits are those of the sequence's next token. */
const reachesEnd = ({ sequence: s, count }: Work): boolean => s.done + count === s.tokens.length;
