// Pointwise kernels as IR: loads the operands of a block, inlines the scalar function, stores the results.
// What the function computes is its own; which variant a launch needs is decided in `kernel.ts`.

import {
  Builder,
  buffer,
  type DType,
  Func,
  isNarrowFloat,
  scalar,
  type Type,
  type Value,
  verify,
} from "../../compiler/ir/index.js";
import type { ScalarFunction } from "../../compiler/lang/index.js";
import type { KernelSource, ParamSpec, Specialization } from "../../compiler/source.js";

/** Part of every content key: raise it when the same variant builds other IR. */
const VERSION = 5;

/**
 * How a launch walks its operands.
 * - `flat`: one dimension; every operand has stride 1 or 0.
 * - `linear`: the program's elements are numbered, and each number is split into coordinates: small problems and
 *   short innermost dimensions. All strides are arguments.
 * - `rows`: blocks of ROWS x BLOCK elements; only rows are split into coordinates.
 * - `turned`: the same, but the rows of a block are neighbours along the last dimension but one, along which some operand
 *   is dense; the dimensions before it are split into coordinates. Programs follow one another down the rows, in bands of BAND
 *   blocks, so that the pages of what is read and of what is written are both used up before others come.
 */
export type Layout = "flat" | "linear" | "rows" | "turned";

/** An operand's stride along the innermost dimension, where the layout compiles it in. */
export type Step = "zero" | "unit" | "any";

export interface InputSpec {
  /** The dtype that the function gets. */
  readonly compute: DType;
  /** For a plain number: the dtype of the kernel's parameter. */
  readonly scalar: DType | null;
}

export interface Variant {
  readonly fn: ScalarFunction;
  readonly inputs: readonly InputSpec[];
  readonly outputs: number;
  readonly layout: Layout;
  /** Dimensions of `linear`, `rows` and `turned`. */
  readonly rank: number;
  /** For each tensor operand, inputs before outputs: its innermost stride (`flat`, `rows`, `turned`). */
  readonly steps: readonly Step[];
  /** `turned`: for each tensor operand its stride along the rows. */
  readonly rowSteps: readonly Step[];
  /** Results go past the caches. */
  readonly stream: boolean;
}

/** The names of a variant's parameters, for those who fill in the arguments. */
export interface ParamNames {
  /** One for each input: a tensor or a number. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /**
   * Sizes: `flat` n; `linear` n and those of dimensions 1…; `rows` inner, blocks, outer and those of 1…rank-2; `turned`
   * inner, blocks, outer (of dimension rank-2), row groups and those of 1…rank-3.
   */
  readonly sizes: readonly string[];
  /** For each tensor operand the strides that are arguments, outermost first. */
  readonly strides: readonly (readonly string[])[];
}

export function paramNames(v: Variant): ParamNames {
  const inputs = v.inputs.map((_, i) => `x${i}`);
  const outputs = Array.from({ length: v.outputs }, (_, i) => `y${i}`);
  const tensors = [...inputs.filter((_, i) => v.inputs[i]!.scalar === null), ...outputs];
  const middle = (from: number, to: number): string[] => {
    const names: string[] = [];
    for (let d = from; d < to; d++) names.push(`size${d}`);
    return names;
  };
  const sizes =
    v.layout === "flat"
      ? ["n"]
      : v.layout === "linear"
        ? ["n", ...middle(1, v.rank)]
        : v.layout === "rows"
          ? ["inner", "blocks", "outer", ...middle(1, v.rank - 1)]
          : ["inner", "blocks", "outer", "groups", ...middle(1, v.rank - 2)];
  const strides = tensors.map((name, k) => {
    if (v.layout === "flat") return [];
    const all = Array.from({ length: v.rank }, (_, d) => `${name}_${d}`);
    if (v.layout === "linear") return all;
    const known = (d: number): boolean =>
      d === v.rank - 1
        ? v.steps[k] !== "any"
        : v.layout === "turned" && d === v.rank - 2 && v.rowSteps[k] !== "any";
    return all.filter((_, d) => !known(d));
  });
  return { inputs, outputs, sizes, strides };
}

/** A pointwise kernel as a source of IR. */
export class PointwiseSource implements KernelSource {
  readonly name: string;
  readonly params: readonly ParamSpec[];
  readonly names: ParamNames;
  readonly contentKey: string;

  constructor(readonly variant: Variant) {
    const v = variant;
    this.name = v.fn.name;
    const names = paramNames(v);
    this.names = names;
    const blocks =
      v.layout === "rows" ? ["BLOCK", "ROWS"] : v.layout === "turned" ? ["BLOCK", "ROWS", "BAND"] : ["BLOCK"];
    this.params = [
      ...names.inputs.map((name, i): ParamSpec => {
        const dtype = v.inputs[i]!.scalar;
        return dtype === null ? { name, kind: "ptr" } : { name, kind: "scalar", dtype };
      }),
      ...names.outputs.map((name): ParamSpec => ({ name, kind: "ptr" })),
      ...[...names.sizes, ...names.strides.flat()].map(
        (name): ParamSpec => ({ name, kind: "scalar", dtype: "i32" }),
      ),
      ...blocks.map((name): ParamSpec => ({ name, kind: "constexpr" })),
    ];
    this.contentKey = [
      `pointwise ${VERSION}`,
      v.fn.contentKey,
      v.layout,
      v.rank,
      v.outputs,
      v.steps.join(),
      v.rowSteps.join(),
      v.stream ? "stream" : "",
      v.inputs.map((x) => `${x.compute}${x.scalar === null ? "" : `:${x.scalar}`}`).join(),
    ].join(" ");
  }

  build(spec: Specialization): Func {
    const params: { name: string; type: Type }[] = [];
    const constants = new Map<string, number>();
    this.params.forEach((p, i) => {
      const facts = spec.params[i]!;
      if (facts.kind === "ptr") params.push({ name: p.name, type: buffer(facts.dtype) });
      else if (facts.kind === "constexpr") constants.set(p.name, facts.value as number);
      else params.push({ name: p.name, type: scalar(p.kind === "scalar" ? p.dtype : "i32") });
    });
    const func = new Func(this.name, params);
    const args = new Map(func.body.args.map((v, i) => [func.paramNames[i]!, v]));
    const block = constants.get("BLOCK")!;
    const at = new Place(new Builder(func.body), this.variant, this.names, args);
    const { layout } = this.variant;
    const rows = constants.get("ROWS")!;
    const { offsets, mask, shape } =
      layout === "rows"
        ? at.rows(block, rows)
        : layout === "turned"
          ? at.turned(block, rows, constants.get("BAND")!)
          : at.line(block);
    this.body(at.b, func, args, offsets, mask, shape);
    verify(func);
    return func;
  }

  private body(
    b: Builder,
    func: Func,
    args: ReadonlyMap<string, Value>,
    offsets: readonly Value[],
    mask: Value,
    shape: readonly number[],
  ): void {
    const { inputs, fn } = this.variant;
    let tensor = 0;
    const values = this.names.inputs.map((name, i) => {
      const { compute, scalar: number } = inputs[i]!;
      const arg = args.get(name)!;
      const v = number === null ? b.value("load", [arg, offsets[tensor++]!, mask]) : arg;
      return b.cast(v, compute);
    });
    const outs = this.names.outputs.map((name) => args.get(name)!.type.dtype);
    b.rounds = outs.every(isNarrowFloat) && values.every((v) => v.type.dtype === "f32");
    const results = fn.lower(b, values, func.sources);
    b.rounds = false;
    if (results.length !== this.variant.outputs)
      throw new Error(
        `pointwise ${this.name} returns ${results.length} values, but declares ${this.variant.outputs} outputs`,
      );
    this.names.outputs.forEach((name, i) => {
      const out = args.get(name)!;
      const value = b.splat(b.cast(results[i]!, out.type.dtype), shape);
      const hint: Record<string, string> = this.variant.stream ? { cache: "streaming" } : {};
      b.create("store", [out, offsets[tensor++]!, value, mask], hint);
    });
    b.create("yield", []);
  }
}

interface Spot {
  /** The offset tile of each tensor operand. */
  readonly offsets: Value[];
  readonly mask: Value;
  readonly shape: readonly number[];
}

/** Computes where the elements of a program stand. */
class Place {
  constructor(
    readonly b: Builder,
    readonly variant: Variant,
    readonly names: ParamNames,
    readonly args: ReadonlyMap<string, Value>,
  ) {}

  private arg(name: string): Value {
    return this.args.get(name)!;
  }

  /** `a op b`, scalars spread to tiles. */
  private op(opcode: string, a: Value, c: Value, shape: readonly number[]): Value {
    return this.b.value(opcode, [this.b.splat(a, shape), this.b.splat(c, shape)]);
  }

  private below(a: Value, limit: Value, shape: readonly number[]): Value {
    return this.b.value("cmp", [a, this.b.splat(limit, shape)], { pred: "lt" });
  }

  private range(n: number): Value {
    return this.b.value("arange", [], { start: 0, end: n });
  }

  /** The sum of coordinates times strides; a coordinate that is missing counts as 0. */
  private offset(
    coordinates: readonly (Value | undefined)[],
    strides: readonly string[],
    shape: readonly number[],
  ): Value {
    let sum: Value | undefined;
    strides.forEach((name, d) => {
      const c = coordinates[d];
      if (c === undefined) return;
      const term = this.op("mul", c, this.arg(name), shape);
      sum = sum === undefined ? term : this.op("add", sum, term, shape);
    });
    return sum ?? this.b.constant(0, "i32", shape);
  }

  /** Splits a linear index over dimensions 0…count-1; `size` names the sizes of dimensions 1…. */
  private split(index: Value, count: number, size: (d: number) => string, shape: readonly number[]): Value[] {
    const coordinates: Value[] = new Array<Value>(count);
    let rest = index;
    for (let d = count - 1; d > 0; d--) {
      const n = this.arg(size(d));
      coordinates[d] = this.op("rem", rest, n, shape);
      rest = this.op("div", rest, n, shape);
    }
    coordinates[0] = rest;
    return coordinates;
  }

  /** `flat` and `linear`. */
  line(block: number): Spot {
    const { b, variant, names } = this;
    const shape = [block];
    const first = b.value("mul", [b.value("programId", [], { axis: 0 }), b.constant(block, "i32")]);
    const at = this.op("add", first, this.range(block), shape);
    const mask = this.below(at, this.arg("n"), shape);
    if (variant.layout === "flat") {
      const zero = b.constant(0, "i32", shape);
      return { offsets: variant.steps.map((s) => (s === "unit" ? at : zero)), mask, shape };
    }
    const coordinates = this.split(at, variant.rank, (d) => `size${d}`, shape);
    return { offsets: names.strides.map((s) => this.offset(coordinates, s, shape)), mask, shape };
  }

  /** Programs are numbered block by block along the innermost dimension, then row group by row group. */
  rows(block: number, rows: number): Spot {
    const { b, variant, names } = this;
    const { rank } = variant;
    const id = b.value("programId", [], { axis: 0 });
    const blocks = this.arg("blocks");
    const [slow, fast] = [b.value("div", [id, blocks]), b.value("rem", [id, blocks])];
    const group = slow;
    const start = b.value("mul", [fast, b.constant(block, "i32")]);
    const column = this.op("add", start, this.range(block), [block]);
    const inside = this.below(column, this.arg("inner"), [block]);
    const line = rows === 1 ? [] : [rows];
    const row =
      rows === 1
        ? group
        : this.op("add", b.value("mul", [group, b.constant(rows, "i32")]), this.range(rows), line);
    const coordinates = this.split(row, rank - 1, (d) => `size${d}`, line);
    const shape = rows === 1 ? [block] : [rows, block];
    const across = (v: Value): Value =>
      rows === 1 ? v : b.value("broadcast", [b.value("expandDims", [v], { axis: 0 })], { shape });
    const down = (v: Value): Value =>
      rows === 1
        ? b.splat(v, shape)
        : b.value("broadcast", [b.value("expandDims", [v], { axis: 1 })], { shape });
    const offsets = names.strides.map((strides, k) => {
      const step = variant.steps[k]!;
      const base = down(this.offset(coordinates, strides.slice(0, rank - 1), line));
      if (step === "zero") return base;
      const columns =
        step === "unit" ? column : this.op("mul", column, this.arg(strides[rank - 1]!), [block]);
      return b.value("add", [base, across(columns)]);
    });
    if (rows === 1) return { offsets, mask: inside, shape };
    const rowInside = this.below(row, this.arg("outer"), line);
    return { offsets, mask: b.value("and", [down(rowInside), across(inside)]), shape };
  }

  /**
   * The row group and the block of a program, and the number of its plane of all of them: programs are numbered along the blocks
   * of a band, then by row groups, then by bands (the last of which may have fewer blocks).
   */
  private inBands(band: number): { group: Value; block: Value; plane: Value } {
    const { b } = this;
    const id = b.value("programId", [], { axis: 0 });
    const [groups, blocks] = [this.arg("groups"), this.arg("blocks")];
    if (band === 1) {
      const rest = b.value("div", [id, groups]);
      const group = b.value("rem", [id, groups]);
      return { group, block: b.value("rem", [rest, blocks]), plane: b.value("div", [rest, blocks]) };
    }
    const width = b.constant(band, "i32");
    const [all, each] = [b.value("mul", [groups, blocks]), b.value("mul", [groups, width])];
    const inPlane = b.value("rem", [id, all]);
    const first = b.value("mul", [b.value("div", [inPlane, each]), width]);
    const inBand = b.value("rem", [inPlane, each]);
    const own = b.value("min", [b.value("sub", [blocks, first]), width]);
    return {
      group: b.value("div", [inBand, own]),
      block: b.value("add", [first, b.value("rem", [inBand, own])]),
      plane: b.value("div", [id, all]),
    };
  }

  turned(block: number, rows: number, band: number): Spot {
    const { b, variant, names } = this;
    const { rank } = variant;
    const shape = [rows, block];
    const place = this.inBands(band);
    const line = (group: Value, n: number): Value =>
      this.op("add", b.value("mul", [group, b.constant(n, "i32")]), this.range(n), [n]);
    const down = (v: Value): Value =>
      b.value("broadcast", [b.value("expandDims", [v], { axis: 1 })], { shape });
    const across = (v: Value): Value =>
      b.value("broadcast", [b.value("expandDims", [v], { axis: 0 })], { shape });
    const row = line(place.group, rows);
    const column = line(place.block, block);
    const before = this.split(place.plane, rank - 2, (d) => `size${d}`, []);
    const offsets = names.strides.map((strides, k) => {
      const left = strides.slice(rank - 2);
      const term = (v: Value, step: Step, n: number): Value =>
        step === "zero"
          ? b.constant(0, "i32", [n])
          : step === "unit"
            ? v
            : this.op("mul", v, this.arg(left.shift()!), [n]);
      const base = this.offset(before, strides.slice(0, rank - 2), []);
      const along = this.op("add", base, term(row, variant.rowSteps[k]!, rows), [rows]);
      return b.value("add", [down(along), across(term(column, variant.steps[k]!, block))]);
    });
    const inside = across(this.below(column, this.arg("inner"), [block]));
    const rowInside = down(this.below(row, this.arg("outer"), [rows]));
    return { offsets, mask: b.value("and", [rowInside, inside]), shape };
  }
}
