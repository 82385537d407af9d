// What is known of integers along each dimension of a tile: runs of consecutive or equal values, and powers of
// two that divide them. Lowerings use it to make vector accesses out of element offsets.

import { DTYPES, type DType, isInt } from "../ir/dtype.js";
import type { TileType } from "../ir/type.js";
import type { Block, Func, Op, Value } from "../ir/ir.js";
import type { HintKind } from "../ir/ops/hint.js";
import { constantOf, opDef } from "../ir/ops/index.js";
import { type Assumed, assumptions, MOST, powerOfTwoIn } from "./assumptions.js";

/**
 * One entry per dimension; all numbers are powers of two (true, but not always the largest). Along dimension `d`,
 * whatever the other indices:
 * - `contiguity[d]`: elements come in aligned groups of so many that count up by 1;
 * - `divisibility[d]`: divides the first element of every such group;
 * - `constancy[d]`: elements come in aligned groups of so many equal ones.
 *
 * A scalar has empty lists and `scalarDivisibility`. For a tile that divides every element. Buffers: the
 * address in bytes.
 */
export interface AxisInfo {
  readonly contiguity: readonly number[];
  readonly divisibility: readonly number[];
  readonly constancy: readonly number[];
  readonly scalarDivisibility: number;
  /** No element is below 0, as long as nothing overflows. */
  readonly nonNegative: boolean;
}

/** Facts about all values of the function. Uses {@link Func.paramFacts}. Offsets are taken not to overflow. */
export function analyzeAxes(func: Func): Map<Value, AxisInfo> {
  const analysis = new Analysis(func.claims?.assumed ?? assumptions(func), func.claims?.hints);
  func.body.args.forEach((v, i) => {
    const divisibility = powerOfTwoIn(func.paramFacts?.[i]?.divisibility ?? 1);
    analysis.set(v, { ...unknown(v), scalarDivisibility: divisibility });
  });
  analysis.block(func.body);
  return analysis.facts;
}

const shapeOf = (v: Value): readonly number[] => (v.type.kind === "tile" ? v.type.shape : []);

function unknown(v: Value): AxisInfo {
  const ones = shapeOf(v).map(() => 1);
  const nonNegative = DTYPES[v.type.dtype].kind === "uint" || v.type.dtype === "bool";
  return { contiguity: ones, divisibility: ones, constancy: ones, scalarDivisibility: 1, nonNegative };
}

/** All elements equal, and divisible by `divisibility`. */
function uniform(shape: readonly number[], divisibility: number, nonNegative: boolean): AxisInfo {
  return {
    contiguity: shape.map(() => 1),
    divisibility: shape.map(() => divisibility),
    constancy: [...shape],
    scalarDivisibility: divisibility,
    nonNegative,
  };
}

/** What divides the first element of every group of `size` along `d`. */
function divisibilityAt(a: AxisInfo, d: number, size: number): number {
  const run = a.contiguity[d]!;
  return Math.max(a.scalarDivisibility, size < run ? Math.min(a.divisibility[d]!, size) : a.divisibility[d]!);
}
/** What divides each element. */
const divisibilityOfEach = (a: AxisInfo): number => a.scalarDivisibility;

/** With a divisor of each element, and a sign, that the author assumed. */
function withAssumed(a: AxisInfo, more: Assumed): AxisInfo {
  const each = Math.max(a.scalarDivisibility, more.divisibility);
  return {
    ...a,
    divisibility: a.divisibility.map((x) => Math.max(x, each)),
    scalarDivisibility: each,
    nonNegative: a.nonNegative || more.nonNegative,
  };
}

/** What holds for both. */
function meet(a: AxisInfo, b: AxisInfo): AxisInfo {
  const contiguity = a.contiguity.map((c, d) => Math.min(c, b.contiguity[d]!));
  return {
    contiguity,
    divisibility: contiguity.map((c, d) => Math.min(divisibilityAt(a, d, c), divisibilityAt(b, d, c))),
    constancy: a.constancy.map((c, d) => Math.min(c, b.constancy[d]!)),
    scalarDivisibility: Math.min(a.scalarDivisibility, b.scalarDivisibility),
    nonNegative: a.nonNegative && b.nonNegative,
  };
}

const equal = (a: AxisInfo, b: AxisInfo): boolean => JSON.stringify(a) === JSON.stringify(b);

class Analysis {
  readonly facts = new Map<Value, AxisInfo>();
  constructor(
    private readonly assumed: ReadonlyMap<Value, Assumed>,
    private readonly hints?: ReadonlyMap<Value, readonly Op[]>,
  ) {}

  /** Notes what is known of a value, and what its author says besides. */
  set(v: Value, info: AxisInfo): void {
    const more = this.assumed.get(v);
    let all = more ? withAssumed(info, more) : info;
    for (const op of this.hints?.get(v) ?? []) all = claimed(op, [all], v);
    this.facts.set(v, all);
  }

  of(v: Value): AxisInfo {
    return this.facts.get(v) ?? unknown(v);
  }

  block(block: Block): void {
    for (const op of block.ops) {
      if (op.regions.length > 0) this.control(op);
      else
        for (const v of op.results) {
          const isIntegral = isInt(v.type.dtype) || v.type.dtype === "bool";
          const rule = RULES[op.opcode];
          const args = op.operands.map((o) => this.of(o));
          const info =
            rule && (isIntegral || SHAPES.has(op.opcode))
              ? rule(op, args, v)
              : this.equalWhereOperandsAre(op, v);
          this.set(v, info);
        }
    }
  }

  /** For element-wise ops and loads: equal operands give equal results. */
  private equalWhereOperandsAre(op: Op, v: Value): AxisInfo {
    const shape = shapeOf(v);
    const tiles = op.operands.filter((o) => o.type.kind === "tile");
    const aligned = opDef(op.opcode).elementwise || op.opcode === "load";
    if (!aligned || tiles.length === 0 || !tiles.every((o) => shapeOf(o).length === shape.length))
      return unknown(v);
    return {
      ...unknown(v),
      constancy: shape.map((_, d) => Math.min(...tiles.map((o) => this.of(o).constancy[d]!))),
    };
  }

  private control(op: Op): void {
    if (op.opcode === "if") {
      for (const region of op.regions) this.block(region);
      const [a, b] = op.regions.map((r) => r.terminator!.operands);
      op.results.forEach((v, i) => {
        this.set(v, meet(this.of(a![i]!), this.of(b![i]!)));
      });
      return;
    }
    const isFor = op.opcode === "for";
    const inits = op.operands.slice(isFor ? 3 : 0);
    const body = op.regions.at(-1)!;
    if (isFor) {
      const [lo, , step] = op.operands.slice(0, 3).map((v) => this.of(v)) as [AxisInfo, AxisInfo, AxisInfo];
      this.set(body.args[0]!, meet(lo, { ...step, nonNegative: true }));
    }
    const carriedArgs = op.regions.map((r) => r.args.slice(isFor ? 1 : 0));
    // Starts from what holds at first and weakens it until a turn keeps it. Every change at least halves a number.
    let guess = inits.map((v) => this.of(v));
    for (let round = 0; ; round++) {
      if (round === 64) guess = inits.map((v) => unknown(v));
      for (const args of carriedArgs)
        args.forEach((v, i) => {
          this.set(v, guess[i]!);
        });
      for (const region of op.regions) this.block(region);
      if (round === 64) break;
      const next = guess.map((g, i) => meet(g, this.of(body.terminator!.operands[i]!)));
      if (next.every((n, i) => equal(n, guess[i]!))) break;
      guess = next;
    }
    op.results.forEach((v, i) => {
      this.set(v, guess[i]!);
    });
  }
}

type Rule = (op: Op, args: readonly AxisInfo[], result: Value) => AxisInfo;

function make(
  v: Value,
  each: number,
  nonNegative: boolean,
  at: (d: number) => [contiguity: number, divisibility: number, constancy: number],
): AxisInfo {
  const rows = shapeOf(v).map((_, d) => at(d));
  return {
    contiguity: rows.map((r) => r[0]),
    divisibility: rows.map((r) => Math.max(Math.min(r[1], MOST), each)),
    constancy: rows.map((r) => r[2]),
    scalarDivisibility: Math.min(each, MOST),
    nonNegative: nonNegative || unknown(v).nonNegative,
  };
}

const sum =
  (isSub: boolean): Rule =>
  (_op, [a, b], v) =>
    make(
      v,
      Math.min(a!.scalarDivisibility, b!.scalarDivisibility),
      !isSub && a!.nonNegative && b!.nonNegative,
      (d) => {
        const up = Math.min(a!.contiguity[d]!, b!.constancy[d]!);
        const run = isSub ? up : Math.max(up, Math.min(a!.constancy[d]!, b!.contiguity[d]!));
        return [
          run,
          Math.min(divisibilityAt(a!, d, run), divisibilityAt(b!, d, run)),
          Math.min(a!.constancy[d]!, b!.constancy[d]!),
        ];
      },
    );

const scaledBy = (a: AxisInfo, b: AxisInfo, v: Value, factor: number): AxisInfo => {
  const each = Math.min(MOST, divisibilityOfEach(a) * factor);
  return make(v, each, a.nonNegative && b.nonNegative, (d) => [
    1,
    each,
    Math.min(a.constancy[d]!, b.constancy[d]!),
  ]);
};

const least: Rule = (_op, [a, b], v) => {
  const each = Math.min(a!.scalarDivisibility, b!.scalarDivisibility);
  return make(v, each, a!.nonNegative && b!.nonNegative, (d) => [
    1,
    each,
    Math.min(a!.constancy[d]!, b!.constancy[d]!),
  ]);
};

/** A positive divisor known at compile time, or 0. */
const divisor = (op: Op): number => {
  const c = constantOf(op.operands[1]);
  return c !== undefined && c > 0 ? Number(c) : 0;
};

/** Comparing a run with an equal divisor-aligned bound: the whole run is on one side. */
const compare: Rule = (op, [a, b], v) => {
  const pred = op.attrs["pred"] as string;
  const [run, bound] = pred === "lt" || pred === "ge" ? [a!, b!] : [b!, a!];
  const runs = pred === "lt" || pred === "ge" || pred === "gt" || pred === "le";
  return make(v, 1, true, (d) => {
    const both = Math.min(a!.constancy[d]!, b!.constancy[d]!);
    const aligned = Math.min(
      run.contiguity[d]!,
      run.divisibility[d]!,
      bound.constancy[d]!,
      bound.scalarDivisibility,
    );
    return [1, 1, runs ? Math.max(both, aligned) : both];
  });
};

const keep: Rule = (_op, [a], v) =>
  make(v, a!.scalarDivisibility, a!.nonNegative, (d) => [
    a!.contiguity[d]!,
    a!.divisibility[d]!,
    a!.constancy[d]!,
  ]);

/** Rules that hold for floats as well: equal elements stay where they are. */
const SHAPES = new Set(["const", "splat", "broadcast", "expandDims", "permute", "reshape", "select"]);

/** What the op says holds, besides what is known. */
const claimed: Rule = (op, [a], v) => {
  const claim = (kind: HintKind, d: number, most = MOST): number =>
    Math.min(most, powerOfTwoIn((op.attrs[kind] as readonly number[] | undefined)?.[d] ?? 1));
  const { shape } = v.type as TileType;
  if (shape.length === 0)
    return { ...a!, scalarDivisibility: Math.max(a!.scalarDivisibility, claim("divisibility", 0)) };
  return make(v, a!.scalarDivisibility, a!.nonNegative, (d) => {
    const run = Math.max(a!.contiguity[d]!, claim("contiguity", d, shape[d]!));
    return [
      run,
      Math.max(divisibilityAt(a!, d, run), claim("divisibility", d)),
      Math.max(a!.constancy[d]!, claim("constancy", d, shape[d]!)),
    ];
  });
};

const RULES: Readonly<Record<string, Rule>> = {
  const: (op, _args, v) => {
    const value = constantOf(op.result)!;
    return uniform(shapeOf(v), isInt(v.type.dtype) ? powerOfTwoIn(value) : 1, value >= 0);
  },
  arange: (op, _args, v) => {
    const start = op.attrs["start"] as number;
    return make(v, 1, start >= 0, (d) => [shapeOf(v)[d]!, powerOfTwoIn(start), 1]);
  },
  programId: (_op, _args, v) => ({ ...unknown(v), nonNegative: true }),
  numPrograms: (_op, _args, v) => ({ ...unknown(v), nonNegative: true }),
  splat: (_op, [a], v) => uniform(shapeOf(v), a!.scalarDivisibility, a!.nonNegative),
  expandDims: (op, [a], v) => {
    const axis = op.attrs["axis"] as number;
    const insert = (list: readonly number[], x: number) => [...list.slice(0, axis), x, ...list.slice(axis)];
    return {
      contiguity: insert(a!.contiguity, 1),
      divisibility: insert(a!.divisibility, a!.scalarDivisibility),
      constancy: insert(a!.constancy, 1),
      scalarDivisibility: a!.scalarDivisibility,
      nonNegative: a!.nonNegative || unknown(v).nonNegative,
    };
  },
  broadcast: (op, [a], v) => {
    const from = shapeOf(op.operands[0]!);
    return make(v, a!.scalarDivisibility, a!.nonNegative, (d) =>
      from[d] === shapeOf(v)[d]
        ? [a!.contiguity[d]!, a!.divisibility[d]!, a!.constancy[d]!]
        : [1, a!.divisibility[d]!, shapeOf(v)[d]!],
    );
  },
  permute: (op, [a], v) => {
    const order = op.attrs["order"] as readonly number[];
    return make(v, a!.scalarDivisibility, a!.nonNegative, (d) => [
      a!.contiguity[order[d]!]!,
      a!.divisibility[order[d]!]!,
      a!.constancy[order[d]!]!,
    ]);
  },
  reshape: (op, [a], v) => {
    const isUniform = a!.constancy.every((c, d) => c === shapeOf(op.operands[0]!)[d]);
    if (isUniform) return uniform(shapeOf(v), a!.scalarDivisibility, a!.nonNegative);
    return make(v, a!.scalarDivisibility, a!.nonNegative, () => [1, a!.scalarDivisibility, 1]);
  },
  hint: claimed,
  add: sum(false),
  sub: sum(true),
  mul: (op, [a, b], v) => {
    if (constantOf(op.operands[1]) !== undefined && Number(constantOf(op.operands[1])) === 1) return a!;
    return scaledBy(a!, b!, v, divisibilityOfEach(b!));
  },
  shl: (op, [a, b], v) => {
    const n = constantOf(op.operands[1]);
    const factor = n !== undefined && n >= 0 && n < 31 ? 2 ** Number(n) : 1;
    return scaledBy(a!, b!, v, factor);
  },
  div: (op, [a, b], v) => {
    const c = divisor(op);
    const power = c ? powerOfTwoIn(c) : 1;
    // Exact division keeps the other factors of two.
    const each = c === power ? Math.max(1, divisibilityOfEach(a!) / power) : 1;
    return make(v, each, a!.nonNegative && c > 0, (d) => {
      const same = Math.min(a!.constancy[d]!, b!.constancy[d]!);
      if (c === 1) return [a!.contiguity[d]!, a!.divisibility[d]!, a!.constancy[d]!];
      const inside = a!.nonNegative ? Math.min(a!.contiguity[d]!, a!.divisibility[d]!, power) : 1;
      return [1, each, Math.max(same, inside)];
    });
  },
  rem: (op, [a, b], v) => {
    const c = divisor(op);
    const power = c ? powerOfTwoIn(c) : divisibilityOfEach(b!);
    const each = Math.min(divisibilityOfEach(a!), power);
    return make(v, each, a!.nonNegative, (d) => {
      const same = Math.min(a!.constancy[d]!, b!.constancy[d]!);
      const run = c > 0 && a!.nonNegative ? Math.min(a!.contiguity[d]!, a!.divisibility[d]!, power) : 1;
      return [run, run > 1 ? Math.min(divisibilityAt(a!, d, run), power) : each, same];
    });
  },
  min: least,
  max: (op, args, v) => {
    const info = least(op, args, v);
    return { ...info, nonNegative: info.nonNegative || args.some((a) => a.nonNegative) };
  },
  neg: (_op, [a], v) =>
    make(v, a!.scalarDivisibility, false, (d) => [1, a!.scalarDivisibility, a!.constancy[d]!]),
  cmp: compare,
  select: (_op, [c, a, b], v) => {
    const each = Math.min(a!.scalarDivisibility, b!.scalarDivisibility);
    return make(v, each, a!.nonNegative && b!.nonNegative, (d) => {
      const run = Math.min(a!.contiguity[d]!, b!.contiguity[d]!, Math.max(1, c!.constancy[d]!));
      return [
        run,
        Math.min(divisibilityAt(a!, d, run), divisibilityAt(b!, d, run)),
        Math.min(a!.constancy[d]!, b!.constancy[d]!, c!.constancy[d]!),
      ];
    });
  },
  cast: (op, args, v) => {
    const from: DType = op.operands[0]!.type.dtype;
    // Narrow integers wrap, which would break runs.
    if (isInt(from) && isInt(v.type.dtype) && DTYPES[v.type.dtype].bits >= 32) return keep(op, args, v);
    const constancy = args[0]!.constancy;
    return { ...unknown(v), constancy };
  },
};
