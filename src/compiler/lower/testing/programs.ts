// Random functions of the tile IR, for comparing the lowered form with the interpreter. Floats hold small whole
// numbers, so that sums are exact in any order.

import {
  buffer,
  Builder,
  Block,
  type DType,
  Func,
  isFloat,
  type TileType,
  type Value,
} from "../../ir/index.js";
import { numel, scalar } from "../../ir/type.js";
import type { Arg } from "./compare.js";

/** Returns a whole number from 0 to n - 1. */
export type Choose = (n: number) => number;

export interface RandomProgram {
  readonly func: Func;
  readonly args: Arg[];
}

const DTYPES: readonly DType[] = [
  "f32",
  "f32",
  "i32",
  "i32",
  "i64",
  "f16",
  "bf16",
  "i8",
  "u8",
  "u32",
  "f64",
  "i16",
];
const SHAPES: readonly (readonly number[])[] = [
  [8],
  [16],
  [64],
  [4, 8],
  [8, 4],
  [8, 8],
  [2, 16],
  [16, 16],
  [1, 16],
  [8, 1],
  [2, 4, 8],
  [4, 1, 4],
  [2],
  [1],
];
/** Elements of each buffer, a margin for offsets included. */
const ROOM = 512;

class Maker {
  readonly b: Builder;
  pool: Value[] = [];
  readonly buffers: Value[];
  readonly scalarArg: Value;
  depth = 0;

  constructor(
    readonly func: Func,
    readonly choose: Choose,
    readonly dtypes: readonly DType[],
  ) {
    this.b = new Builder(func.body);
    this.buffers = func.body.args.filter((v) => v.type.kind === "buffer");
    this.scalarArg = func.body.args.at(-1)!;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.choose(list.length)]!;
  }

  v(opcode: string, operands: Value[], attrs: Record<string, never> | object = {}): Value {
    return this.b.value(opcode, operands, attrs as never);
  }

  splat(x: Value, shape: readonly number[]): Value {
    return shape.length ? this.v("splat", [x], { shape }) : x;
  }

  /** Row-major offsets (maybe of the transposed tile), from `base`. */
  offsets(shape: readonly number[], wide: boolean): Value {
    const b = this.b;
    const transposed = this.choose(5) === 0;
    const strides: number[] = [];
    let n = 1;
    const order = shape.map((_, i) => i);
    if (!transposed) order.reverse();
    for (const i of order) {
      strides[i] = n;
      n *= shape[i]!;
    }
    const base = [0, 3, 17, 64][this.choose(4)]!;
    let at = b.constant(base, "i32", shape);
    shape.forEach((d, i) => {
      let r = this.v("arange", [], { start: 0, end: d });
      r = this.v("mul", [r, b.constant(strides[i]!, "i32", [d])]);
      shape.forEach((_, j) => {
        if (j < i) r = this.v("expandDims", [r], { axis: 0 });
        if (j > i) r = this.v("expandDims", [r], { axis: j });
      });
      at = this.v("add", [at, this.v("broadcast", [r], { shape })]);
    });
    if (this.choose(4) === 0) at = this.v("add", [at, this.splat(this.scalarArg, shape)]);
    // Not affine any more: the lowering has to gather.
    if (this.choose(8) === 0) at = this.v("xor", [at, b.constant(5, "i32", shape)]);
    return wide ? b.cast(at, "i64") : at;
  }

  mask(shape: readonly number[]): Value {
    const b = this.b;
    const axis = this.choose(shape.length);
    let r = this.v("arange", [], { start: 0, end: shape[axis]! });
    if (this.choose(4) === 0) r = b.cast(r, "i64");
    const d = r.type.dtype;
    const bound =
      this.choose(3) === 0 ? b.cast(this.scalarArg, d) : b.constant(this.choose(shape[axis]! + 2), d);
    const swapped = this.choose(2) === 1;
    const side = this.splat(bound, [shape[axis]!]);
    const pred = this.pick(swapped ? ["gt", "ge"] : ["lt", "le", "lt", "gt"]);
    let m = this.v("cmp", swapped ? [side, r] : [r, side], { pred });
    shape.forEach((_, j) => {
      if (j < axis) m = this.v("expandDims", [m], { axis: 0 });
      if (j > axis) m = this.v("expandDims", [m], { axis: j });
    });
    m = this.v("broadcast", [m], { shape });
    return this.choose(4) === 0 && this.depth++ < 20 ? this.v("and", [m, this.mask(shape)]) : m;
  }

  load(): void {
    const shape = this.pick(SHAPES);
    const operands = [this.pick(this.buffers), this.offsets(shape, this.choose(3) === 0)];
    if (this.choose(2)) {
      operands.push(this.mask(shape));
      if (this.choose(2)) operands.push(this.constant(operands[0]!.type.dtype, shape));
    }
    this.pool.push(this.v("load", operands));
  }

  constant(d: DType, shape: readonly number[]): Value {
    return this.b.constant(this.choose(7) - (/^u|bool/.test(d) ? 0 : 3), d, shape);
  }

  /** Any tile of a type: from the pool, cast, or made up. */
  like(t: TileType): Value {
    const same = this.pool.filter((v) => String((v.type as TileType).shape) === String(t.shape));
    if (same.length && this.choose(5)) {
      const v = this.pick(same);
      return v.type.dtype === t.dtype ? v : this.small(this.v("cast", [v], { dtype: t.dtype }));
    }
    if (this.choose(3) === 0 && t.shape.length === 1)
      return this.b.cast(this.v("arange", [], { start: 2, end: 2 + t.shape[0]! }), t.dtype);
    return this.constant(t.dtype, t.shape);
  }

  /** Keeps floats within what halves hold exactly. */
  small(v: Value): Value {
    const t = v.type as TileType;
    if (!isFloat(t.dtype)) return v;
    const [lo, hi] = [this.b.constant(-16, t.dtype, t.shape), this.b.constant(16, t.dtype, t.shape)];
    return this.v("max", [this.v("min", [v, hi], { nan: "propagate" }), lo], { nan: "propagate" });
  }

  some(): Value {
    if (this.pool.length === 0) this.load();
    return this.pick(this.pool);
  }

  elementwise(): void {
    const x = this.some();
    const t = x.type as TileType;
    const y = this.like(t);
    const float = isFloat(t.dtype);
    if (t.dtype === "bool") {
      this.pool.push(this.v(this.pick(["and", "or", "xor"]), [x, y]));
      return;
    }
    switch (this.choose(8)) {
      case 0: {
        const c = this.v("cmp", [x, y], { pred: this.pick(["lt", "le", "gt", "ge", "eq", "ne"]) });
        this.pool.push(this.v("select", [c, this.like(t), x]));
        return;
      }
      case 1:
        this.pool.push(
          this.v(this.pick(["min", "max"]), [x, y], { nan: this.pick(["propagate", "ignore"]) }),
        );
        return;
      case 2:
        this.pool.push(
          this.v(float ? this.pick(["neg", "abs", "floor"]) : this.pick(["neg", "abs", "not"]), [x]),
        );
        return;
      case 3: {
        const to = this.pick(this.dtypes);
        this.pool.push(this.small(this.v("cast", [x], { dtype: to })));
        return;
      }
      case 4:
        if (!float) {
          const ops = ["div", "rem", "shl", "shr", "ushr", "and", "or", "xor"];
          const wide = /32|64/.test(t.dtype);
          this.pool.push(this.v(this.pick(wide ? [...ops, "mulhi"] : ops), [x, y]));
          return;
        }
        this.pool.push(this.small(this.v("rem", [x, y])));
        return;
      default:
        this.pool.push(this.small(this.v(this.pick(["add", "sub", "mul"]), [x, y])));
    }
  }

  view(): void {
    const x = this.some();
    const { shape } = x.type as TileType;
    switch (this.choose(4)) {
      case 0:
        if (shape.length > 1) {
          const order = shape.map((_, i) => i);
          for (let i = order.length - 1; i > 0; i--) {
            const j = this.choose(i + 1);
            [order[i], order[j]] = [order[j]!, order[i]!];
          }
          this.pool.push(this.v("permute", [x], { order }));
        }
        return;
      case 1: {
        const same = SHAPES.filter((s) => numel(s) === numel(shape));
        if (same.length) this.pool.push(this.v("reshape", [x], { shape: this.pick(same) }));
        return;
      }
      case 2:
        if (shape.length < 3)
          this.pool.push(this.v("expandDims", [x], { axis: this.choose(shape.length + 1) }));
        return;
      default: {
        const to = shape.map((d) => (d === 1 ? [1, 4, 8][this.choose(3)]! : d));
        if (numel(to) <= 256) this.pool.push(this.v("broadcast", [x], { shape: to }));
      }
    }
  }

  reduce(): void {
    const x = this.some();
    const { shape, dtype } = x.type as TileType;
    const axis = this.choose(shape.length);
    const kinds = [
      "sum",
      "max",
      "min",
      "argmax",
      "argmin",
      ...(isFloat(dtype) ? [] : ["and", "or", "xor", "prod"]),
    ];
    const kind = this.pick(dtype === "bool" ? ["and", "or", "xor"] : kinds);
    const op = this.b.create("reduce", [x], { kind, axis, nan: this.pick(["propagate", "ignore"]) });
    for (const r of op.results) {
      const t = r.type as TileType;
      if (t.shape.length) this.pool.push(t.dtype === r.type.dtype ? this.small(r) : r);
      else this.pool.push(this.small(this.splat(r, this.pick([[8], [16]]))));
    }
  }

  scan(): void {
    const x = this.some();
    const { shape, dtype } = x.type as TileType;
    if (dtype === "bool") return;
    const kind = this.pick(["sum", "max", "min"]);
    const attrs = { kind, axis: this.choose(shape.length), reverse: this.choose(2) === 1 };
    this.pool.push(this.small(this.v("scan", [x], attrs)));
  }

  dot(): void {
    const [m, k, n] = [this.pick([1, 4, 8, 16]), this.pick([1, 2, 8, 16]), this.pick([1, 4, 8, 16])];
    const d = this.pick(this.dtypes.filter((x) => ["f32", "f64", "i32", "i64", "bf16", "i8"].includes(x)));
    if (!d) return;
    const accType: DType = d === "f64" || d === "i64" ? d : isFloat(d) ? "f32" : "i32";
    const side = (shape: number[]): Value => {
      const v = this.like({ kind: "tile", dtype: d, shape });
      return this.choose(3) === 0
        ? this.v("permute", [this.like({ kind: "tile", dtype: d, shape: [shape[1]!, shape[0]!] })], {
            order: [1, 0],
          })
        : v;
    };
    const acc = this.like({ kind: "tile", dtype: accType, shape: [m, n] });
    this.pool.push(this.small(this.v("dot", [side([m, k]), side([k, n]), acc])));
  }

  store(): void {
    const x = this.some();
    const { shape } = x.type as TileType;
    const buf = this.pick(this.buffers);
    const value = x.type.dtype === buf.type.dtype ? x : this.v("cast", [x], { dtype: buf.type.dtype });
    const operands = [buf, this.offsets(shape, this.choose(3) === 0), value];
    if (this.choose(2)) operands.push(this.mask(shape));
    this.b.create("store", operands);
  }

  atomic(): void {
    const buf = this.pick(this.buffers);
    if (!["i32", "f32", "i64", "u32"].includes(buf.type.dtype)) return;
    const { dtype } = buf.type;
    const shape = this.pick([[8], [4, 8], [1]]);
    const kind = this.pick(dtype === "f32" ? ["add", "max"] : ["add", "max", "min", "or", "xchg"]);
    const operands = [buf, this.offsets(shape, false), this.like({ kind: "tile", dtype, shape })];
    if (this.choose(2)) operands.push(this.mask(shape));
    this.pool.push(this.small(this.v("atomic", operands, { kind })));
  }

  /** A loop or a branch that carries tiles and a scalar. */
  control(depth: number): void {
    const carried = Array.from({ length: this.choose(3) + 1 }, () => this.some());
    const outer = this.pool;
    const b = this.b;
    const body = (block: Block, args: readonly Value[], counter: Value): void => {
      b.inside(block, () => {
        this.pool = [...outer, ...args];
        this.statements(1 + this.choose(4), depth + 1);
        // Swaps, values that stay, new values.
        const yields = carried.map((v, i) => {
          if (this.choose(4) === 0) {
            const other = args.find(
              (a, j) =>
                j !== i &&
                String(a.type.dtype + (a.type as TileType).shape) ===
                  String(v.type.dtype + (v.type as TileType).shape),
            );
            if (other) return other;
          }
          const x = this.like(v.type as TileType);
          return this.choose(2) && args[i] && v.type.dtype !== "bool"
            ? this.small(this.v("add", [x, args[i]]))
            : x;
        });
        b.create("yield", [...yields, counter]);
      });
    };
    const types = [...carried.map((v) => v.type), scalar("i32")];
    const start = b.constant(1, "i32");
    const next = (block: Block, c: Value): Value =>
      b.inside(block, () => this.v("add", [c, b.constant(2, "i32")]));
    let results: Value[];
    const form = this.choose(3);
    if (form === 0) {
      const block = new Block([scalar("i32"), ...types]);
      body(block, block.args.slice(1, -1), next(block, block.args.at(-1)!));
      const bounds = [b.constant(0, "i32"), b.constant(this.choose(4), "i32"), b.constant(1, "i32")];
      results = b.create("for", [...bounds, ...carried, start], {}, [block]).results;
    } else if (form === 1) {
      const [yes, no] = [new Block(), new Block()];
      body(yes, [], start);
      body(no, [], this.scalarArg);
      const c = this.v("cmp", [this.scalarArg, b.constant(this.choose(12), "i32")], { pred: "lt" });
      results = b.create("if", [c], {}, [yes, no]).results;
    } else {
      const [cond, block] = [new Block(types), new Block(types)];
      b.inside(cond, () => {
        const c = this.v("cmp", [cond.args.at(-1)!, b.constant(this.choose(7), "i32")], { pred: "lt" });
        b.create("condition", [c]);
      });
      body(block, block.args.slice(0, -1), next(block, block.args.at(-1)!));
      results = b.create("while", [...carried, start], {}, [cond, block]).results;
    }
    this.pool = [...outer, ...results.slice(0, -1), this.splat(results.at(-1)!, [8])];
  }

  statements(n: number, depth = 0): void {
    for (let i = 0; i < n; i++) this.statement(depth);
  }

  private statement(depth: number): void {
    const r = this.choose(20);
    if (r < 4) this.load();
    else if (r < 10) this.elementwise();
    else if (r < 12) this.view();
    else if (r < 14) this.reduce();
    else if (r < 16) this.store();
    else if (r === 16) this.dot();
    else if (r === 17) this.choose(2) ? this.scan() : this.atomic();
    else if (depth < 2) this.control(depth);
  }
}

/** A program of about `size` statements over a few buffers; every value still at hand at the end is stored. */
export function randomProgram(choose: Choose, size: number): RandomProgram {
  const dtypes = Array.from({ length: 3 }, () => DTYPES[choose(DTYPES.length)]!);
  const params = dtypes.map((d, i) => ({ name: `p${i}`, type: buffer(d) }));
  const func = new Func("random", [...params, { name: "n", type: scalar("i32") }]);
  const maker = new Maker(func, choose, dtypes);
  maker.statements(size);
  const { b } = maker;
  for (const v of maker.pool.slice(-6)) {
    const t = v.type as TileType;
    const buf = maker.buffers[choose(3)]!;
    b.create("store", [buf, maker.offsets(t.shape, false), b.cast(v, buf.type.dtype)]);
  }
  const args: Arg[] = dtypes.map((d, i) => [
    d,
    Array.from({ length: ROOM }, (_, k) => {
      const x = (k * 7 + i * 3) % 11;
      const s = /^u/.test(d) ? x : x - 5;
      return /64/.test(d) && d !== "f64" ? BigInt(s) : s;
    }),
  ]);
  return { func, args: [...args, choose(12)] };
}
