// The copy engine in JavaScript, for evaluate.ts: a block arrives at once, in memory that nobody may have touched since it was freed;
// a barrier's turn ends when all have arrived, and the bytes that were announced. More bytes than that are an error.

import type { BlockMap } from "../form.js";

/** The memory of the program whose copies these are. */
export interface EngineMemory {
  /** 16 bits of buffer `param`, by the element. */
  read(param: number, element: number): number;
  /** Bytes of shared memory that nobody touched since the last order of threads; throws otherwise. */
  claim(at: number, bytes: number): void;
  /** Writes 16 bits of shared memory. */
  write(at: number, half: number): void;
  /** Several threads have arrived: what they did lies before what follows. */
  order(): void;
}

interface Barrier {
  readonly count: number;
  arrived: number;
  bytes: number;
  turns: number;
}

export class Engine {
  private readonly barriers = new Map<number, Barrier>();
  /** Grows with every turn that ends. */
  turns = 0;

  constructor(
    private readonly maps: readonly BlockMap[],
    private readonly memory: EngineMemory,
  ) {}

  make(at: number, count: number): void {
    if (at % 8 !== 0) throw new Error(`a barrier at ${at}`);
    this.barriers.set(at, { count, arrived: 0, bytes: 0, turns: 0 });
  }

  private at(at: number): Barrier {
    const b = this.barriers.get(at);
    if (!b) throw new Error(`there is no barrier at ${at}`);
    return b;
  }

  arrive(at: number, bytes: number): void {
    const b = this.at(at);
    b.arrived++;
    b.bytes += bytes;
    this.settle(b);
  }

  private settle(b: Barrier): void {
    if (b.bytes < 0) throw new Error(`${-b.bytes} bytes more than a barrier was told of`);
    if (b.arrived < b.count || b.bytes > 0) return;
    if (b.count > 1) this.memory.order();
    b.arrived = 0;
    b.turns++;
    this.turns++;
  }

  copy(
    index: number,
    to: number,
    [column, row, piece]: readonly [number, number, number],
    stepOf: (param: number) => number,
    barrier: number,
  ): void {
    const { param, step, rows, empty = false } = this.maps[index]!;
    if ((row >= rows || column >= 64) !== empty)
      throw new Error(
        `a block at row ${row} and column ${column} by a map for ${empty ? "empty" : "other"} ones`,
      );
    if (to % 1024 !== 0) throw new Error(`a block is copied to ${to}`);
    this.memory.claim(to, rows * 128);
    const distance = step.times * (step.param === undefined ? 1 : stepOf(step.param));
    const first = 8 * piece - 64 - rows * distance;
    for (let r = 0; r < rows; r++)
      for (let c = 0; c < 64; c++) {
        const inside = row + r < rows && column + c < 64;
        const byte = to + r * 128 + c * 2;
        const half = inside ? this.memory.read(param, first + (row + r) * distance + column + c) : 0;
        this.memory.write(byte ^ (((byte >> 7) & 7) << 4), half);
      }
    const b = this.at(barrier);
    b.bytes -= rows * 128;
    this.settle(b);
  }

  /** Whether a turn of this parity has ended. */
  passed(at: number, parity: number): boolean {
    return (this.at(at).turns & 1) !== parity;
  }
}
