// The inputs of steps that add one token to each of several sequences, standing on the chip: what a captured step reads anew each time
// it is repeated. Who writes them is the caller's affair (`captured-steps.ts`, `decode-graph.ts`).

import { empty, keep, type Tensor, tensor, writeBytes } from "../tensor/index.js";
import {
  type AttendOptions,
  attendPaged,
  attendProjected,
  type PagedCache,
  type PagedTables,
  type Projected,
  type StepInputs,
} from "./paged-cache.js";

/** Pages by which the width of a block table grows, as that of a step's own table does. */
const COLUMNS = 8;

/** A sequence and the token that it goes on with. */
export interface DecodeStart {
  /** Its pages in order, with room for all tokens it is to have. */
  readonly pages: readonly number[];
  /** Tokens that stand in the pages already. */
  readonly past: number;
  /** The token that follows them. */
  readonly token: number;
}

export class StepBuffers implements StepInputs {
  readonly ids: Tensor;
  readonly positions: Tensor;
  readonly last: Tensor;
  readonly spans: StepInputs["spans"];
  readonly slots: Tensor;
  readonly table: Tensor;
  readonly starts: Tensor;
  readonly lengths: Tensor;

  /**
   * @param count sequences
   * @param room most tokens of one: attention is laid out for so many
   * @param part keys that one program of attention walks; 0: as many as usual
   */
  constructor(
    readonly cache: PagedCache,
    count: number,
    readonly room: number,
    readonly part = 0,
  ) {
    const { device } = cache.shape;
    const made = (shape: number[], dtype: "i32" | "i64"): Tensor => keep(empty(shape, { dtype, device }));
    const counted = (n: number, List: Int32ArrayConstructor | BigInt64ArrayConstructor): Tensor => {
      const list = Array.from({ length: n }, (_, i) => i);
      return keep(tensor(List === Int32Array ? Int32Array.from(list) : BigInt64Array.from(list, BigInt), { shape: [n], device })); // biome-ignore format: one line
    };
    const columns = COLUMNS * Math.ceil(room / cache.pageSize / COLUMNS);
    this.ids = made([1, count], "i64");
    this.positions = made([count], "i64");
    this.slots = made([count], "i64");
    this.lengths = made([count], "i32");
    this.table = made([count, columns], "i32");
    this.last = counted(count, BigInt64Array);
    this.starts = counted(count + 1, Int32Array);
    this.spans = Array.from({ length: count }, () => ({ past: room - 1, count: 1 }));
  }

  get #tables(): PagedTables {
    const { slots, table, starts, lengths, room, part } = this;
    return { slots, table, starts, lengths, maxQ: 1, maxK: room, part };
  }

  attend(layer: number, q: Tensor, k: Tensor, v: Tensor, options: AttendOptions): Tensor {
    return attendPaged(this.cache, this.#tables, layer, [q, k, v], options);
  }

  attendProjected(layer: number, p: Projected, options: AttendOptions): Tensor | undefined {
    return attendProjected(this.cache, this.#tables, layer, p, options);
  }

  /** Writes where the sequences stand, as many as there are. Their pages are looked at as far as there are some. */
  write(sequences: readonly DecodeStart[]): void {
    const { pageSize } = this.cache;
    const columns = this.table.shape[1]!;
    const table = new Int32Array(sequences.length * columns);
    for (const [i, { pages }] of sequences.entries())
      table.set(pages.length > columns ? pages.slice(0, columns) : pages, i * columns);
    const wide = (of: (s: DecodeStart) => number) => BigInt64Array.from(sequences, (s) => BigInt(of(s)));
    put(this.ids, wide((s) => s.token)); // biome-ignore format: one line
    put(this.positions, wide((s) => s.past)); // biome-ignore format: one line
    put(this.slots, wide(({ pages, past }) => pages[Math.floor(past / pageSize)]! * pageSize + (past % pageSize))); // biome-ignore format: one line
    put(this.lengths, Int32Array.from(sequences, (s) => s.past + 1)); // biome-ignore format: one line
    put(this.table, table);
  }

  dispose(): void {
    const { ids, positions, last, slots, table, starts, lengths } = this;
    for (const t of [ids, positions, last, slots, table, starts, lengths]) t.dispose();
  }
}

const put = (to: Tensor, data: BigInt64Array | Int32Array): void =>
  void writeBytes(to, 0, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
