// Decoding without the host: one step of a model (tokens in, the likeliest next tokens out) captured as a graph whose inputs stand on
// the chip and move on by themselves. Greedy; which sequences run together is decided when it is made, and again with `set`.

import { constexpr, i32, ptr } from "../compiler/lang/index.js";
import { argmax } from "../ops/index.js";
import { capture, type Graph, kernel, scope } from "../runtime/index.js";
import { empty, keep, noGrad, type Tensor, tensor } from "../tensor/index.js";
import {
  type AttendOptions,
  attendPaged,
  attendProjected,
  type PagedCache,
  type PagedTables,
  type Projected,
  type StepInputs,
} from "./paged-cache.js";
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

/** A sequence to go on with. */
export interface DecodeStart {
  /** Its pages in order, with room for all tokens it is to have. */
  readonly pages: readonly number[];
  /** Tokens that stand in the pages already. */
  readonly past: number;
  /** The token that follows them. */
  readonly token: number;
}

/**
 * A captured step of decoding. Every {@link step} adds a token to each sequence, without the host: positions, lengths, places in the
 * cache and tokens are moved on by a kernel at the step's end.
 *
 * @example
 * const decode = new DecodeGraph(model, cache, [{ pages: [0, 1], past: 17, token: 5 }], { room: 32 });
 * for (let i = 0; i < 8; i++) decode.step();
 * const [tokens] = await decode.tokens();   // the 8 new ones
 */
export class DecodeGraph implements StepInputs {
  readonly ids: Tensor;
  readonly positions: Tensor;
  readonly last: Tensor;
  readonly spans: StepInputs["spans"];
  /** Logits of the last step, `[sequences, vocab]`. */
  readonly logits: Tensor;
  readonly #slots: Tensor;
  readonly #table: Tensor;
  readonly #starts: Tensor;
  readonly #lengths: Tensor;
  readonly #said: Tensor;
  readonly #graph: Graph<Tensor>;
  readonly #room: number;
  #from: readonly number[] = [];
  #steps = 0;

  /**
   * @param options.room most tokens of a sequence: its attention is laid out for so many
   * @throws RangeError when sequences do not fit the room, the room not the context, or pages are missing
   */
  constructor(
    readonly model: LanguageModel,
    readonly cache: PagedCache,
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
    this.#room = options.room;
    const columns = Math.ceil(options.room / cache.pageSize);
    const made = (shape: number[], dtype: "i32" | "i64"): Tensor => keep(empty(shape, { dtype, device }));
    this.ids = made([1, n], "i64");
    this.positions = made([n], "i64");
    this.#slots = made([n], "i64");
    this.#lengths = made([n], "i32");
    this.#table = made([n, columns], "i32");
    this.#said = made([n, options.room], "i64");
    this.last = keep(
      tensor(
        BigInt64Array.from({ length: n }, (_, i) => BigInt(i)),
        { shape: [n], device },
      ),
    );
    this.#starts = keep(
      tensor(
        Int32Array.from({ length: n + 1 }, (_, i) => i),
        { shape: [n + 1], device },
      ),
    );
    this.spans = sequences.map(() => ({ past: options.room - 1, count: 1 }));
    this.set(sequences);
    const run = (): Tensor =>
      noGrad(() => {
        const logits = model.forwardStep(this);
        const next = argmax(logits, -1);
        advance.launch([n], {
          next, ids: this.ids, positions: this.positions, slots: this.#slots, lengths: this.#lengths, table: this.#table,
          said: this.#said, columns, room: options.room, PAGE: cache.pageSize,
        }); // biome-ignore format: one line per group
        return logits;
      });
    // Compiles, and leaves what it wrote to be written again.
    scope(() => void run());
    this.set(sequences);
    this.#graph = capture(run, { chip: this.ids.chip });
    this.logits = this.#graph.result;
  }

  get #tables(): PagedTables {
    return {
      slots: this.#slots,
      table: this.#table,
      starts: this.#starts,
      lengths: this.#lengths,
      maxQ: 1,
      maxK: this.#room,
      part: this.#part,
    };
  }

  /** Keys that one program of attention walks: fewer where usual parts would leave most of the chip idle. Who runs together never changes here. */
  get #part(): number {
    const { threads, programThreads = 1 } = this.ids.chip.capabilities;
    const programs = (part: number): number =>
      this.spans.length * this.cache.shape.kvHeads * Math.ceil(this.#room / part);
    return (programThreads > 1 && PARTS.find((part) => programs(part) <= 2 * threads)) || 0;
  }

  attend(layer: number, q: Tensor, k: Tensor, v: Tensor, options: AttendOptions): Tensor {
    return attendPaged(this.cache, this.#tables, layer, [q, k, v], options);
  }

  attendProjected(layer: number, p: Projected, options: AttendOptions): Tensor | undefined {
    return attendProjected(this.cache, this.#tables, layer, p, options);
  }

  /** Other sequences, as many as before. */
  set(sequences: readonly DecodeStart[]): void {
    const { pageSize } = this.cache;
    const room = this.#room;
    if (sequences.length !== this.spans.length)
      throw new RangeError(`the graph decodes ${this.spans.length} sequences, not ${sequences.length}`);
    const columns = Math.ceil(room / pageSize);
    const table = new Int32Array(sequences.length * columns);
    for (const [i, { pages, past }] of sequences.entries()) {
      if (past + 1 > room)
        throw new RangeError(`sequence ${i} has ${past + 1} tokens; there is room for ${room}`);
      if (pages.length < columns)
        throw new RangeError(`sequence ${i} has ${pages.length} pages of ${pageSize}; ${room} tokens take ${columns}`); // biome-ignore format: one line
      table.set(pages.slice(0, columns), i * columns);
    }
    const past = sequences.map((s) => s.past);
    const write = (to: Tensor, list: BigInt64Array | Int32Array): void =>
      void to.copy_(tensor(list, { shape: [...to.shape], device: to.device }));
    const wide = (list: readonly number[]): BigInt64Array => BigInt64Array.from(list, BigInt);
    noGrad(() =>
      scope(() => {
        write(this.ids, wide(sequences.map((s) => s.token)));
        write(this.positions, wide(past));
        write(this.#slots, wide(sequences.map(({ pages, past: p }) => pages[Math.floor(p / pageSize)]! * pageSize + (p % pageSize)))); // biome-ignore format: one line
        write(
          this.#lengths,
          Int32Array.from(past, (p) => p + 1),
        );
        write(this.#table, table);
      }),
    );
    this.#from = past;
    this.#steps = 0;
  }

  /** Adds a token to each sequence. Enqueues only. @throws RangeError when there is no more room */
  step(): void {
    const used = Math.max(...this.#from) + this.#steps + 1;
    if (used > this.#room) throw new RangeError(`there is room for ${this.#room} tokens, and all are taken`);
    this.#graph.replay();
    this.#steps++;
  }

  /** The tokens that steps have added since the last {@link set}, by sequence. The last may have had no room. */
  async tokens(): Promise<number[][]> {
    const all = await this.#said.data();
    return this.#from.map((past, b) =>
      Array.from({ length: Math.min(this.#steps, this.#room - 1 - past) }, (_, i) =>
        Number(all[b * this.#room + past + 1 + i]),
      ),
    );
  }

  /** Frees the graph and its buffers; the model and the cache stay. */
  dispose(): void {
    this.#graph.dispose();
    this.logits.dispose();
    const { ids, positions, last } = this;
    for (const t of [ids, positions, last, this.#slots, this.#table, this.#starts, this.#lengths, this.#said]) t.dispose(); // biome-ignore format: one line
  }
}
