// Runs IR in plain JavaScript, element by element through the ops' own `fold`: for tests of the passes only.
// Nothing here is fast, and it is no chip.

import { is64, isInt } from "../../ir/dtype.js";
import type { Block, ConstValue, Func, Op, Value } from "../../ir/ir.js";
import { binary } from "../../ir/ops/arith-fold.js";
import { opDef } from "../../ir/ops/index.js";
import { roundTo } from "../../ir/rounding.js";
import { numel, type TileType } from "../../ir/type.js";

/** Elements by index; a Map stands for a buffer too long to allocate. */
export type TestBuffer = ConstValue[] | Map<number, ConstValue>;
export type TestArgument = ConstValue | TestBuffer;

export interface EvaluateOptions {
  readonly programId?: readonly number[];
  readonly numPrograms?: readonly number[];
  /** `fma` rounds once (as hardware does) instead of twice. */
  readonly fused?: boolean;
  /** Stops after so many ops, for programs that might not end. */
  readonly maxOps?: number;
  /** Sees every value that is computed. */
  readonly trace?: (v: Value, elements: readonly ConstValue[]) => void;
}

type Elements = readonly ConstValue[];

/** Runs one program of `func`; buffers are changed in place. */
export function evaluate(func: Func, args: readonly TestArgument[], options: EvaluateOptions = {}): void {
  const run = new Evaluation(options);
  func.body.args.forEach((v, i) => {
    const a = args[i]!;
    if (v.type.kind === "buffer") run.buffers.set(v, a as TestBuffer);
    else run.values.set(v, [roundTo(v.type.dtype, a as ConstValue)]);
  });
  run.block(func.body);
}

class Evaluation {
  readonly values = new Map<Value, Elements>();
  readonly buffers = new Map<Value, TestBuffer>();
  private steps = 0;
  constructor(private readonly options: EvaluateOptions) {}

  /** Runs the block and returns its terminator's operands. */
  block(block: Block): Elements[] {
    for (const op of block.ops) {
      if (++this.steps > (this.options.maxOps ?? 1e9)) throw new Error("too many ops");
      if (opDef(op.opcode).terminator) return op.operands.map((v) => this.of(v));
      this.op(op).forEach((r, i) => {
        this.values.set(op.results[i]!, r);
        this.options.trace?.(op.results[i]!, r);
      });
    }
    return [];
  }

  private of(v: Value): Elements {
    const e = this.values.get(v);
    if (!e) throw new Error(`${v.name ?? "a value"} has no elements yet`);
    return e;
  }

  private enter(block: Block, args: readonly Elements[]): Elements[] {
    block.args.forEach((v, i) => {
      this.values.set(v, args[i]!);
    });
    return this.block(block);
  }

  private op(op: Op): Elements[] {
    switch (op.opcode) {
      case "const": {
        const t = op.result.type as TileType;
        return [
          new Array<ConstValue>(numel(t.shape)).fill(roundTo(t.dtype, op.attrs["value"] as ConstValue)),
        ];
      }
      case "arange":
        return [
          Array.from(
            { length: numel((op.result.type as TileType).shape) },
            (_, i) => i + (op.attrs["start"] as number),
          ),
        ];
      case "programId":
        return [[this.options.programId?.[op.attrs["axis"] as number] ?? 0]];
      case "numPrograms":
        return [[this.options.numPrograms?.[op.attrs["axis"] as number] ?? 1]];
      case "splat":
        return [
          new Array<ConstValue>(numel(op.attrs["shape"] as number[])).fill(this.of(op.operands[0]!)[0]!),
        ];
      case "expandDims":
      case "reshape":
        return [this.of(op.operands[0]!)];
      case "broadcast":
      case "permute":
        return [this.gather(op)];
      case "for":
      case "if":
      case "while":
        return this.control(op);
      case "load":
      case "store":
      case "atomic":
      case "atomicCas":
        return this.memory(op);
      case "reduce":
      case "scan":
        return this.along(op);
      case "dot":
        return [this.dot(op)];
      case "fma":
        if (this.options.fused) {
          const [a, b, c] = op.operands.map((v) => this.of(v)) as [number[], number[], number[]];
          const dtype = op.result.type.dtype;
          return [
            a.map((x, i) => (dtype === "f64" ? fused(x, b[i]!, c[i]!) : roundTo(dtype, x * b[i]! + c[i]!))),
          ];
        }
        return [this.elementwise(op)];
      default:
        return [this.elementwise(op)];
    }
  }

  private elementwise(op: Op): Elements {
    const { fold } = opDef(op.opcode);
    if (!fold) throw new Error(`${op.opcode} does not fold`);
    const operands = op.operands.map((v) => this.of(v));
    const out: ConstValue[] = [];
    const dtype = op.operands[0]!.type.dtype;
    const twice = op.opcode === "fma" && dtype !== "f64";
    for (let i = 0; i < operands[0]!.length; i++) {
      const args = operands.map((e) => e[i]!);
      out.push(
        twice ? binary("add", dtype, binary("mul", dtype, args[0]!, args[1]!)!, args[2]!)! : fold(args, op)!,
      );
    }
    return out;
  }

  /** Elements by their place in the operand. */
  private gather(op: Op): Elements {
    const from = op.operands[0]!.type as TileType;
    const to = op.result.type as TileType;
    const strides = rowMajor(from.shape);
    const order = op.attrs["order"] as number[] | undefined;
    const source = this.of(op.operands[0]!);
    const steps = to.shape.map((_, d) =>
      order ? strides[order[d]!]! : from.shape[d] === 1 ? 0 : strides[d]!,
    );
    return Array.from({ length: numel(to.shape) }, (_, i) => {
      let rest = i;
      let at = 0;
      for (let d = to.shape.length - 1; d >= 0; d--) {
        at += (rest % to.shape[d]!) * steps[d]!;
        rest = Math.floor(rest / to.shape[d]!);
      }
      return source[at]!;
    });
  }

  private control(op: Op): Elements[] {
    const operands = op.operands.map((v) => this.of(v));
    if (op.opcode === "if") return this.enter(op.regions[operands[0]![0] ? 0 : 1]!, []);
    if (op.opcode === "while") {
      let carried: Elements[] = operands;
      while (this.enter(op.regions[0]!, carried)[0]![0]) carried = this.enter(op.regions[1]!, carried);
      return carried;
    }
    const [lo, hi, step] = operands.slice(0, 3).map((e) => BigInt(e[0]!)) as [bigint, bigint, bigint];
    let carried: Elements[] = operands.slice(3);
    const dtype = op.operands[0]!.type.dtype;
    for (let i = lo; i < hi; i += step)
      carried = this.enter(op.regions[0]!, [[roundTo(dtype, i)], ...carried]);
    return carried;
  }

  private memory(op: Op): Elements[] {
    const buffer = this.buffers.get(op.operands[0]!)!;
    const [at, ...rest] = op.operands.slice(1).map((v) => this.of(v)) as [Elements, ...Elements[]];
    const dtype = op.operands[0]!.type.dtype;
    const zero = is64(dtype) && isInt(dtype) ? 0n : 0;
    const mask = op.opcode === "load" ? rest[0] : op.opcode === "atomicCas" ? undefined : rest[1];
    const out = at.map((where, i): ConstValue => {
      if (mask && !mask[i]) return (op.opcode === "load" && rest[1]?.[i]) || zero;
      const index = Number(where);
      const old = buffer instanceof Map ? (buffer.get(index) ?? zero) : buffer[index];
      if (old === undefined) throw new Error(`index ${index} is outside the buffer`);
      const put = (v: ConstValue) => {
        if (buffer instanceof Map) buffer.set(index, v);
        else buffer[index] = v;
      };
      if (op.opcode === "store") put(rest[0]![i]!);
      else if (op.opcode === "atomicCas") {
        if (old === rest[0]![i]) put(rest[1]![i]!);
      } else if (op.opcode === "atomic") {
        const kind = op.attrs["kind"] as string;
        put(kind === "xchg" ? rest[0]![i]! : binary(kind as "add", dtype, old, rest[0]![i]!)!);
      }
      return old;
    });
    return op.opcode === "store" ? [] : [out];
  }

  private along(op: Op): Elements[] {
    const t = op.operands[0]!.type as TileType;
    const axis = op.attrs["axis"] as number;
    const kind = op.attrs["kind"] as string;
    const source = this.of(op.operands[0]!);
    const n = t.shape[axis]!;
    const inner = numel(t.shape.slice(axis + 1));
    const outer = numel(t.shape.slice(0, axis));
    const values: ConstValue[] = new Array(op.opcode === "scan" ? source.length : outer * inner);
    const indices: number[] = [];
    const arg = kind.startsWith("arg");
    const code = { sum: "add", prod: "mul", argmax: "max", argmin: "min" }[kind] ?? kind;
    for (let o = 0; o < outer; o++)
      for (let k = 0; k < inner; k++) {
        let acc: ConstValue | undefined;
        let best = 0;
        for (let j = 0; j < n; j++) {
          const row = op.attrs["reverse"] ? n - 1 - j : j;
          const place = (o * n + row) * inner + k;
          const x = source[place]!;
          if (acc === undefined) acc = x;
          else if (arg) {
            if (Number.isNaN(acc)) continue;
            if (Number.isNaN(x) || (code === "max" ? x > acc : x < acc)) {
              acc = x;
              best = j;
            }
          } else acc = binary(code as "add", t.dtype, acc, x, op.attrs["nan"] === "ignore");
          if (op.opcode === "scan") values[place] = acc!;
        }
        if (op.opcode === "reduce") {
          values[o * inner + k] = acc!;
          indices[o * inner + k] = best;
        }
      }
    return arg ? [values, indices] : [values];
  }

  private dot(op: Op): Elements {
    const [a, b, c] = op.operands.map((v) => this.of(v)) as [Elements, Elements, Elements];
    const [m, k] = (op.operands[0]!.type as TileType).shape as [number, number];
    const n = (op.operands[1]!.type as TileType).shape[1]!;
    const dtype = op.result.type.dtype;
    const out: ConstValue[] = [];
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++) {
        let acc = c[i * n + j]!;
        for (let l = 0; l < k; l++)
          acc = binary("add", dtype, acc, binary("mul", dtype, a[i * k + l]!, b[l * n + j]!)!)!;
        out.push(acc);
      }
    return out;
  }
}

function rowMajor(shape: readonly number[]): number[] {
  const strides: number[] = new Array(shape.length);
  let step = 1;
  for (let d = shape.length - 1; d >= 0; d--) {
    strides[d] = step;
    step *= shape[d]!;
  }
  return strides;
}

/** `a * b + c` in f64 with (nearly always) one rounding, by exact products and sums. */
function fused(a: number, b: number, c: number): number {
  const p = a * b;
  if (
    !Number.isFinite(p) ||
    !Number.isFinite(c) ||
    Math.abs(p) < 1e-280 ||
    Math.abs(p) > 1e290 ||
    Math.abs(a) > 1e290 ||
    Math.abs(b) > 1e290
  )
    return p + c;
  const split = (x: number) => {
    const t = 134217729 * x;
    return t - (t - x);
  };
  const [ah, bh] = [split(a), split(b)];
  const [al, bl] = [a - ah, b - bh];
  const e = ah * bh - p + ah * bl + al * bh + al * bl;
  const s = p + c;
  const t = s - p;
  return s + (p - (s - t) + (c - t) + e);
}
