// Element indices of inner loops in 64 bits, for memories that are addressed with them: what does not change in the loop
// is added up before it, and the loop's variable is added in 64 bits. A 32-bit sum may wrap as far as the compiler
// behind us knows, so it would extend the sign of every index in every turn.
//
// The result is the same: an access that happens is at an index from 0 to 2^31, and the loop's part is smaller than that.

import type { Emitter } from "./emit.js";
import type { Operand, Reg, Stmt } from "./form.js";

/** `factor * iv + terms`, where the terms do not change in the loop. */
interface Linear {
  readonly factor: number;
  readonly terms: readonly { readonly of: Operand; readonly minus: boolean }[];
}

type Definition = Extract<Stmt, { s: "op" }>;
type Straight = Extract<Stmt, { s: "op" | "load" | "store" | "prefetch" }>;
type For = Extract<Stmt, { s: "for" }>;

/** Rewrites the innermost loops in a list of statements. */
export function widenAddresses(e: Emitter, list: readonly Stmt[]): Stmt[] {
  return list.flatMap((s): Stmt[] => {
    switch (s.s) {
      case "for": {
        if (isInnermost(s.body)) return widenLoop(e, s, s.body);
        return [{ ...s, body: widenAddresses(e, s.body) }];
      }
      case "while":
        return [{ ...s, cond: widenAddresses(e, s.cond), body: widenAddresses(e, s.body) }];
      case "if":
        // biome-ignore lint/suspicious/noThenProperty: a statement is no promise
        return [{ ...s, then: widenAddresses(e, s.then), else: widenAddresses(e, s.else) }];
      default:
        return [s];
    }
  });
}

const isInnermost = (body: readonly Stmt[]): body is readonly Straight[] =>
  body.every((s): s is Straight => s.s === "op" || s.s === "load" || s.s === "store" || s.s === "prefetch");

function widenLoop(e: Emitter, loop: For, straight: readonly Straight[]): Stmt[] {
  if (loop.iv.type.kind !== "i32") return [loop];
  const definitions = new Map<Reg, Definition | undefined>();
  for (const s of straight) {
    if (s.s !== "op" && s.s !== "load") continue;
    // What is assigned twice has no single meaning.
    definitions.set(s.dst, definitions.has(s.dst) || s.s !== "op" ? undefined : s);
  }
  const outside: Stmt[] = [];
  const start: Stmt[] = [];
  const known = new Map<string, Reg>();
  const wide = (list: Stmt[], op: "add" | "mul" | "convertS", args: Operand[]): Reg => {
    const dst = e.reg("i64");
    list.push({ s: "op", op, dst, args });
    return dst;
  };
  let iv: Reg | undefined;
  const indexOf = (at: Operand): Operand => {
    const linear = linearOf(at, loop.iv, definitions);
    if (!linear || linear.factor === 0 || at === loop.iv) return at;
    const { plus, terms } = apart(linear.terms);
    const key = `${linear.factor} ${terms.map(keyOf).join(" ")}`;
    const far = `${key} + ${plus}`;
    const before = known.get(far);
    if (before) return before;
    let index = known.get(key);
    if (!index) {
      iv ??= wide(start, "convertS", [loop.iv]);
      index = linear.factor === 1 ? iv : wide(start, "mul", [iv, BigInt(linear.factor)]);
      const base = sumOf(e, outside, terms);
      if (base !== undefined) index = wide(start, "add", [wide(outside, "convertS", [base]), index]);
      known.set(key, index);
    }
    if (plus > 0) index = wide(start, "add", [index, BigInt(plus)]);
    known.set(far, index);
    return index;
  };
  const body = straight.map((s) => (s.s === "op" ? s : { ...s, at: indexOf(s.at) }));
  if (known.size === 0) return [loop];
  return [...outside, { ...loop, body: [...start, ...body] }];
}

/**
 * What neighbours differ by, added in 64 bits: machines have it in the address. Less than 0 it stays with the terms, whose sum might
 * wrap without it.
 */
function apart(all: Linear["terms"]): { readonly plus: number; readonly terms: Linear["terms"] } {
  let plus = 0;
  for (const { of, minus } of all) if (typeof of !== "object") plus += minus ? -Number(of) : Number(of);
  if (plus < 0 || plus >= 2 ** 31) return { plus: 0, terms: all };
  return { plus, terms: all.filter(({ of }) => typeof of === "object") };
}

const keyOf = ({ of, minus }: Linear["terms"][number]): string =>
  `${minus ? "-" : "+"}${typeof of === "object" ? `r${of.id}` : of}`;

/** The index as a linear function of the loop's variable, as far as 32-bit sums and products by literals say. */
function linearOf(
  x: Operand,
  iv: Reg,
  definitions: ReadonlyMap<Reg, Definition | undefined>,
): Linear | undefined {
  if (x === iv) return { factor: 1, terms: [] };
  if (typeof x !== "object") return { factor: 0, terms: Number(x) === 0 ? [] : [{ of: x, minus: false }] };
  if (x.type.kind !== "i32" || x.type.lanes !== 1) return undefined;
  if (!definitions.has(x)) return { factor: 0, terms: [{ of: x, minus: false }] };
  const op = definitions.get(x);
  if (op?.op !== "add" && op?.op !== "sub" && op?.op !== "mul") return undefined;
  const [a, b] = op.args.map((y) => linearOf(y, iv, definitions)) as [Linear | undefined, Linear | undefined];
  if (!a || !b) return undefined;
  if (op.op === "mul") {
    const [variable, by] = typeof op.args[0] === "number" ? [b, op.args[0]] : [a, op.args[1]];
    return typeof by === "number" && variable.terms.length === 0
      ? { factor: variable.factor * by, terms: [] }
      : undefined;
  }
  const sign = op.op === "sub";
  const flipped = sign ? b.terms.map((t) => ({ ...t, minus: !t.minus })) : b.terms;
  return { factor: a.factor + (sign ? -b.factor : b.factor), terms: [...a.terms, ...flipped] };
}

/** Emits the sum of the terms in 32 bits; undefined if there are none. */
function sumOf(e: Emitter, list: Stmt[], terms: Linear["terms"]): Operand | undefined {
  let sum: Operand | undefined;
  for (const { of, minus } of terms) {
    if (sum === undefined && !minus && typeof of === "object") sum = of;
    else {
      const dst = e.reg("i32");
      list.push({ s: "op", op: minus ? "sub" : "add", dst, args: [sum ?? 0, of] });
      sum = dst;
    }
  }
  return sum;
}
