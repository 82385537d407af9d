// The thread's scratch memory: cells for tiles, and the layout that lets cells share bytes when they do not live
// at the same time. Time counts steps; a control loop is an interval of it.

import { DTYPES, type DType } from "../../ir/index.js";
import type { Mem, RegKind } from "./form.js";
import { KIND_BYTES } from "./kinds.js";

/**
 * Room for a packed tile, row-major unless a writer chose otherwise: a matrix may stand column by column, and in panels, a
 * few columns of it (rows, if it stands column by column) packed together and one panel after another. A panel is
 * read from its start to its end, where whole rows would lie far apart and share few sets of the cache.
 */
export interface Cell {
  readonly kind: RegKind;
  readonly count: number;
  /** Only `dot` and loop nests read the cell: its first writer chooses the layout. */
  readonly freeLayout: boolean;
  /** What a panel holds if the matrix stands row by row, and if it stands column by column; 0: it is one panel. */
  readonly panels: Panels;
  columns: boolean;
  /** Elements stand in this dtype, which holds their values, and not in their register kind. */
  readonly narrow: DType | undefined;
}

export interface Panels {
  readonly rows: number;
  readonly columns: number;
}

export const NO_PANELS: Panels = { rows: 0, columns: 0 };

/** Columns (or rows) in a panel of the cell as it stands; 0: it is one panel. */
export const panelOf = (cell: Cell): number => (cell.columns ? cell.panels.columns : cell.panels.rows);

interface Life {
  first: number;
  last: number;
}

const ALIGN = 64;

export class Frame {
  private now = 0;
  private readonly lives = new Map<Cell, Life>();
  private readonly loops: Life[] = [];
  private readonly patches: { mem: { frame: number }; cell: Cell; extra: number }[] = [];

  cell(kind: RegKind, count: number, freeLayout = false, panels = NO_PANELS, narrow?: DType): Cell {
    return { kind, count, freeLayout, panels, columns: false, narrow };
  }

  /** The next step begins. */
  tick(): void {
    this.now++;
  }

  /** Everything that `fn` emits stands in a loop (or a branch) of the control flow. */
  region<T>(fn: () => T): T {
    const loop = { first: ++this.now, last: 0 };
    const result = fn();
    loop.last = ++this.now;
    this.loops.push(loop);
    return result;
  }

  /** The memory of a cell, `extra` bytes in. */
  mem(cell: Cell | undefined, extra = 0): Mem {
    if (!cell) throw new Error("lower/simd: a tile without a cell in the frame");
    const life = this.lives.get(cell);
    if (!life) this.lives.set(cell, { first: this.now, last: this.now });
    else {
      life.first = Math.min(life.first, this.now);
      life.last = Math.max(life.last, this.now);
    }
    const mem = { frame: 0 };
    this.patches.push({ mem, cell, extra });
    return mem;
  }

  /** Gives every cell its offset and returns the bytes of the frame. */
  layout(): number {
    for (const life of this.lives.values()) this.extend(life);
    const placed: { offset: number; end: number; life: Life }[] = [];
    const offsets = new Map<Cell, number>();
    let total = 0;
    for (const [cell, life] of this.lives) {
      const each = cell.narrow ? DTYPES[cell.narrow].bits / 8 : KIND_BYTES[cell.kind];
      const bytes = Math.ceil((cell.count * each) / ALIGN) * ALIGN;
      const busy = placed
        .filter((p) => p.life.first <= life.last && life.first <= p.life.last)
        .sort((a, b) => a.offset - b.offset);
      let offset = 0;
      for (const p of busy) if (offset + bytes > p.offset && offset < p.end) offset = p.end;
      placed.push({ offset, end: offset + bytes, life });
      offsets.set(cell, offset);
      total = Math.max(total, offset + bytes);
    }
    for (const p of this.patches) p.mem.frame = offsets.get(p.cell)! + p.extra;
    return total;
  }

  /** A cell that lives into or out of a loop lives through all of its turns. */
  private extend(life: Life): void {
    for (let changed = true; changed; ) {
      changed = false;
      for (const loop of this.loops) {
        const overlaps = life.first <= loop.last && loop.first <= life.last;
        const inside = life.first > loop.first && life.last < loop.last;
        if (!overlaps || inside) continue;
        const around = life.first <= loop.first && life.last >= loop.last;
        if (around) continue;
        life.first = Math.min(life.first, loop.first);
        life.last = Math.max(life.last, loop.last);
        changed = true;
      }
    }
  }
}
