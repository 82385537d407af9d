// `sort` along an axis of tiles in the frame, one line at a time: lines are read from the operands' cells and
// written to the results'. Few elements are inserted one by one into an ordered list; many are distributed by one
// digit of 8 bits after another, from the lowest (a least-significant-digit radix sort). Both keep the order of equal
// keys, and the code is as long for long lines as for short ones.

import { DTYPES, isSigned, numel, type Op } from "../../ir/index.js";
import type { Emitter } from "./emit.js";
import type { Operand, RegKind, Stmt } from "./form.js";
import type { Cell, Frame } from "./frame.js";
import { dtypeOf, is64Kind, shapeOf } from "./kinds.js";
import { frameLoad, frameStore } from "./memory.js";

const DIGIT = 8;
const BUCKETS = 1 << DIGIT;
/** Lists up to this long for each digit of the keys are better made by insertion. */
const INSERTED = 16;
const INSERTED_MOST = 64;

/** One operand on its way: element `i` of the current line stands at `start + i * step` of a cell. */
interface Column {
  readonly cell: Cell;
  readonly start: Operand;
  readonly step: number;
}

/** Emits a sort; `from` and `to` are the cells of the operands and results, keys first. */
export function emitSort(e: Emitter, frame: Frame, op: Op, from: readonly Cell[], to: readonly Cell[]): void {
  const shape = shapeOf(op.operands[0]!);
  const axis = op.attrs["axis"] as number;
  const limit = op.attrs["limit"] as number;
  const length = shape[axis]!;
  const inner = numel(shape.slice(axis + 1));
  const sorter = new LineSorter(e, frame, op, length, limit);
  const scratch = sorter.scratch(from);
  e.loop(0, numel(shape.slice(0, axis)), 1, (o) =>
    e.loop(0, inner, 1, (j) => {
      const columns = (cells: readonly Cell[], n: number): Column[] => {
        const start = e.op("add", "i32", 1, [e.op("mul", "i32", 1, [o, n * inner]), j]);
        return cells.map((cell) => ({ cell, start, step: inner }));
      };
      sorter.line(columns(from, length), columns(to, limit), scratch);
    }),
  );
}

class LineSorter {
  /** Of the keys, in digits. */
  private readonly digits: number;
  private readonly signed: boolean;
  private readonly descending: boolean;
  private readonly inserts: boolean;
  private readonly counts: Cell;

  constructor(
    private readonly e: Emitter,
    private readonly frame: Frame,
    op: Op,
    private readonly length: number,
    private readonly limit: number,
  ) {
    const d = dtypeOf(op.operands[0]!);
    this.digits = DTYPES[d].bits / DIGIT;
    this.signed = isSigned(d);
    this.descending = op.attrs["descending"] === true;
    this.inserts = limit <= Math.min(INSERTED_MOST, INSERTED * this.digits);
    this.counts = frame.cell("i32", BUCKETS);
  }

  /** Room for lines between the digits: none, one, or two where the results are too short to help. */
  scratch(like: readonly Cell[]): Column[][] {
    const n = this.inserts || this.digits === 1 ? 0 : this.limit < this.length ? 2 : 1;
    return Array.from({ length: n }, () =>
      like.map((c) => ({ cell: this.frame.cell(c.kind, this.length), start: 0, step: 1 })),
    );
  }

  line(from: readonly Column[], to: readonly Column[], scratch: readonly (readonly Column[])[]): void {
    if (this.inserts) {
      this.insertion(from, to);
      return;
    }
    let source = from;
    for (let digit = 0; digit < this.digits; digit++) {
      const last = digit === this.digits - 1;
      const target = last ? to : digit % 2 === 0 ? scratch[0]! : (scratch[1] ?? to);
      this.distribute(source, target, digit, last);
      source = target;
    }
  }

  private i32(op: "add" | "sub" | "mul" | "and" | "minS" | "maxS" | "xor", x: Operand, y: Operand): Operand {
    return this.e.op(op, "i32", 1, [x, y]);
  }

  private at(c: Column, i: Operand): Operand {
    return this.i32("add", c.start, this.i32("mul", i, c.step));
  }

  private read(c: Column, i: Operand): Operand {
    return frameLoad(this.e, c.cell.kind, this.frame.mem(c.cell), this.at(c, i), 1);
  }

  private write(c: Column, i: Operand, x: Operand): void {
    frameStore(this.e, c.cell.kind, this.frame.mem(c.cell), this.at(c, i), x, 1);
  }

  /** Whether `x` must stand before `y` whatever their places are. */
  private before(x: Operand, y: Operand, lanes = 1): Operand {
    return this.e.op(`${this.descending ? "gt" : "lt"}${this.signed ? "S" : "U"}`, "mask", lanes, [x, y]);
  }

  /**
   * Each element moves up an ordered list of at most `limit` elements until one is not behind it. Where the list is
   * full, whole vectors of keys that all stay behind its last element are passed over.
   */
  private insertion(from: readonly Column[], to: readonly Column[]): void {
    const { e, limit, length } = this;
    const keys = from[0]!;
    const { kind } = keys.cell;
    let lanes = e.vectorBytes / (is64Kind(kind) ? 8 : 4);
    if (keys.step !== 1 || length % lanes !== 0) lanes = 1;
    const full = Math.min(length, Math.max(limit, lanes));
    const worst = (): Operand => this.read(to[0]!, limit - 1);
    e.loop(0, full, 1, (i) => {
      const put = (): void => this.insert(from, to, i, limit < full ? this.i32("minS", i, limit - 1) : i);
      if (limit === full) put();
      else
        e.when(e.op("ltS", "mask", 1, [i, limit]), put, () =>
          e.when(this.before(this.read(keys, i), worst()), put),
        );
    });
    e.loop(full, length, lanes, (i) => {
      const each = (k: Operand): void =>
        e.when(this.before(this.read(keys, k), worst()), () => this.insert(from, to, k, limit - 1));
      if (lanes === 1) {
        each(i);
        return;
      }
      const vector = frameLoad(e, kind, this.frame.mem(keys.cell), this.at(keys, i), lanes);
      const better = this.before(vector, e.splat(worst(), lanes), lanes);
      e.when(e.op("any", "mask", 1, [better]), () => e.loop(0, lanes, 1, (k) => each(this.i32("add", i, k))));
    });
  }

  /** Element `i` goes into the list, whose elements from its place to `hole` move down. */
  private insert(from: readonly Column[], to: readonly Column[], i: Operand, hole: Operand): void {
    const { e } = this;
    const element = from.map((c) => this.read(c, i));
    const place = e.reg("i32");
    e.assign(place, hole);
    const cond: Stmt[] = [];
    const test = e.inside(cond, () => {
      const above = this.i32("maxS", this.i32("sub", place, 1), 0);
      return e.op("and", "mask", 1, [
        e.op("gtS", "mask", 1, [place, 0]),
        this.before(element[0]!, this.read(to[0]!, above)),
      ]);
    });
    const body: Stmt[] = [];
    e.inside(body, () => {
      const above = this.i32("sub", place, 1);
      for (const c of to) this.write(c, place, this.read(c, above));
      e.assign(place, above);
    });
    e.out.push({ s: "while", cond, test, body });
    to.forEach((c, k) => {
      this.write(c, place, element[k]!);
    });
  }

  /** The digit of a key, so that digits in ascending order are keys in the order of the sort. */
  private digitOf(key: Operand, kind: RegKind, digit: number): Operand {
    const { e } = this;
    const shift = digit * DIGIT;
    const wide = is64Kind(kind);
    const shifted = shift === 0 ? key : e.op("shrU", kind, 1, [key, wide ? BigInt(shift) : shift]);
    const low = wide ? e.op("convertS", "i32", 1, [shifted]) : shifted;
    const top = this.signed && digit === this.digits - 1 ? BUCKETS / 2 : 0;
    const turn = top ^ (this.descending ? BUCKETS - 1 : 0);
    const bits = this.i32("and", low, BUCKETS - 1);
    return turn === 0 ? bits : this.i32("xor", bits, turn);
  }

  private distribute(from: readonly Column[], to: readonly Column[], digit: number, last: boolean): void {
    const { e, frame, counts } = this;
    const { kind } = from[0]!.cell;
    const lanes = e.vectorBytes / 4;
    const count = (d: Operand): Operand => frameLoad(e, "i32", frame.mem(counts), d, 1);
    const setCount = (d: Operand, x: Operand): void => frameStore(e, "i32", frame.mem(counts), d, x, 1);
    e.loop(0, BUCKETS, lanes, (d) => frameStore(e, "i32", frame.mem(counts), d, 0, lanes));
    e.loop(0, this.length, 1, (i) => {
      const d = this.digitOf(this.read(from[0]!, i), kind, digit);
      setCount(d, this.i32("add", count(d), 1));
    });
    const sum = e.reg("i32");
    e.assign(sum, 0);
    e.loop(0, BUCKETS, 1, (d) => {
      const n = count(d);
      setCount(d, sum);
      e.assign(sum, this.i32("add", sum, n));
    });
    e.loop(0, this.length, 1, (i) => {
      const key = this.read(from[0]!, i);
      const d = this.digitOf(key, kind, digit);
      const place = count(d);
      setCount(d, this.i32("add", place, 1));
      const put = (): void =>
        from.forEach((c, k) => {
          this.write(to[k]!, place, k === 0 ? key : this.read(c, i));
        });
      if (last && this.limit < this.length) e.when(e.op("ltS", "mask", 1, [place, this.limit]), put);
      else put();
    });
  }
}
