// Decoding without the host: one step of a model (tokens in, the likeliest next tokens out) captured as a graph whose inputs stand on
// the chip and move on by themselves. Greedy; which sequences run together is decided when it is made, and again with `set`.

import { constexpr, i32, ptr } from "../compiler/lang/index.js";
import { argmax } from "../ops/index.js";
import { capture, type Graph, kernel, loadedChip, scope } from "../runtime/index.js";
import { empty, keep, noGrad, type Tensor } from "../tensor/index.js";
import type { PagedCache } from "./paged-cache.js";
import { type DecodeStart, StepBuffers } from "./step-buffers.js";
import type { LanguageModel } from "./transformer.js";

/** One sequence a program: takes its new token, and moves its place on by one. */
const advance = kernel(
  // biome-ignore format: one line per group
  { next: ptr, ids: ptr, positions: ptr, slots: ptr, lengths: ptr, table: ptr, said: ptr, columns: i32, room: i32, PAGE: constexpr },
  ({ next, ids, positions, slots, lengths, table, said, columns, room, PAGE }, tl) => {
    const b = tl.programId(0);
    const token = tl.load(next + b);
    const at = tl.cast(tl.load(positions + b), tl.i32) + 1;
    tl.store(ids + b, token);
    if (at < room) {
      tl.store(said + b * room + at, token);
      tl.store(positions + b, tl.cast(at, tl.i64));
      tl.store(lengths + b, at + 1);
      const page = tl.load(table + b * columns + tl.floorDiv(at, PAGE));
      tl.store(slots + b, tl.cast(page * PAGE + (at % PAGE), tl.i64));
    }
  },
  "decode_advance",
);

/** Keys of a part of attention, where the usual number is too many. */
const PARTS = [64, 128, 256];

/**
 * A captured step of decoding. Every {@link step} adds a token to each sequence, without the host: positions, lengths, places in the
 * cache and tokens are moved on by a kernel at the step's end.
 *
 * @example
 * const decode = new DecodeGraph(model, cache, [{ pages: [0, 1], past: 17, token: 5 }], { room: 32 });
 * for (let i = 0; i < 8; i++) decode.step();
 * const [tokens] = await decode.tokens();   // the 8 new ones
 */
export class DecodeGraph extends StepBuffers {
  /** Logits of the last step, `[sequences, vocab]`. */
  readonly logits: Tensor;
  readonly #said: Tensor;
  readonly #graph: Graph<Tensor>;
  #from: readonly number[] = [];
  #steps = 0;

  /**
   * @param options.room most tokens of a sequence: its attention is laid out for so many
   * @throws RangeError when sequences do not fit the room, the room not the context, or pages are missing
   */
  constructor(
    readonly model: LanguageModel,
    cache: PagedCache,
    sequences: readonly DecodeStart[],
    options: { readonly room: number },
  ) {
    const { device } = model;
    const { positions } = model.config;
    if (positions !== "learned" && positions.type === "dynamic" && options.room > positions.original)
      throw new RangeError(
        `dynamic rotary positions beyond ${positions.original} tokens change with the length: a captured step cannot follow`,
      );
    const n = sequences.length;
    super(cache, n, options.room, partFor(cache, n, options.room));
    this.#said = keep(empty([n, options.room], { dtype: "i64", device }));
    this.set(sequences);
    const run = (): Tensor =>
      noGrad(() => {
        const logits = model.forwardStep(this);
        const next = argmax(logits, -1);
        advance.launch([n], {
          next, ids: this.ids, positions: this.positions, slots: this.slots, lengths: this.lengths, table: this.table,
          said: this.#said, columns: this.table.shape[1]!, room: options.room, PAGE: cache.pageSize,
        }); // biome-ignore format: one line per group
        return logits;
      });
    // Compiles, and leaves what it wrote to be written again.
    scope(() => void run());
    this.set(sequences);
    this.#graph = capture(run, { chip: this.ids.chip });
    this.logits = this.#graph.result;
  }

  /** Other sequences, as many as before. */
  set(sequences: readonly DecodeStart[]): void {
    const { pageSize } = this.cache;
    const { room } = this;
    if (sequences.length !== this.spans.length)
      throw new RangeError(`the graph decodes ${this.spans.length} sequences, not ${sequences.length}`);
    const columns = Math.ceil(room / pageSize);
    for (const [i, { pages, past }] of sequences.entries()) {
      if (past + 1 > room)
        throw new RangeError(`sequence ${i} has ${past + 1} tokens; there is room for ${room}`);
      if (pages.length < columns)
        throw new RangeError(`sequence ${i} has ${pages.length} pages of ${pageSize}; ${room} tokens take ${columns}`); // biome-ignore format: one line
    }
    this.write(sequences);
    this.#from = sequences.map((s) => s.past);
    this.#steps = 0;
  }

  /** Adds a token to each sequence. Enqueues only. @throws RangeError when there is no more room */
  step(): void {
    const used = Math.max(...this.#from) + this.#steps + 1;
    if (used > this.room) throw new RangeError(`there is room for ${this.room} tokens, and all are taken`);
    this.#graph.replay();
    this.#steps++;
  }

  /** The tokens that steps have added since the last {@link set}, by sequence. The last may have had no room. */
  async tokens(): Promise<number[][]> {
    const all = await this.#said.data();
    return this.#from.map((past, b) =>
      Array.from({ length: Math.min(this.#steps, this.room - 1 - past) }, (_, i) =>
        Number(all[b * this.room + past + 1 + i]),
      ),
    );
  }

  /** Frees the graph and its buffers; the model and the cache stay. */
  override dispose(): void {
    this.#graph.dispose();
    this.logits.dispose();
    this.#said.dispose();
    super.dispose();
  }
}

/** Keys that one program of attention walks: fewer where usual parts would leave most of the chip idle. Who runs together never changes in a graph. */
function partFor(cache: PagedCache, count: number, room: number): number {
  const { threads, programThreads = 1 } = loadedChip(cache.shape.device).capabilities;
  const programs = (part: number): number => count * cache.shape.kvHeads * Math.ceil(room / part);
  return (programThreads > 1 && PARTS.find((part) => programs(part) <= 2 * threads)) || 0;
}
