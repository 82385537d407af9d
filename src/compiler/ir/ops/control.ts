// Structured control flow. Every region is one block; `yield` hands its operands to the op around it.

import type { Block } from "../ir.js";
import { isScalar, sameType, showType, type Type } from "../type.js";
import { defineOp, IrTypeError } from "./define.js";

const yielded = (b: Block | undefined): Type[] =>
  b?.terminator?.opcode === "yield" ? b.terminator.operands.map((v) => v.type) : [];

function fits(got: readonly Type[], want: readonly Type[], what: string): void {
  if (got.length !== want.length)
    throw new IrTypeError(`${what}: ${got.length} values where ${want.length} are needed`);
  got.forEach((t, i) => {
    if (!sameType(t, want[i]!))
      throw new IrTypeError(`${what}: value ${i} is ${showType(t)}, not ${showType(want[i]!)}`);
  });
}

/**
 * `for {stages?, unroll?, split?, programs?, …}(lo, hi, step, …init) (iv, …carried) { … yield(…next) }`: counts `iv` from `lo`
 * while it is below `hi`; `step` is positive. Results: the carried values after the last turn. The attributes are hints:
 * `stages`, `unroll`, `split`, `programs`, `flatten`, `warpSpecialize`, `disallowAccMultiBuffer`, and `disableLicm`, which keeps ops in the loop.
 */
defineOp({
  opcode: "for",
  pure: false,
  arity: [3, Number.POSITIVE_INFINITY],
  infer: (o, _a, r) => {
    const inits = o.slice(3);
    for (const t of o.slice(0, 3))
      if (!isScalar(t) || !sameType(t, o[0]!))
        throw new IrTypeError("the bounds of a for are integer scalars of one dtype");
    fits(
      r[0]!.args.map((v) => v.type),
      [o[0]!, ...inits],
      "the arguments of a for body",
    );
    fits(yielded(r[0]), inits, "the yield of a for body");
    return [...inits];
  },
});

/** `if(cond) { … yield } { … yield }`: `cond` is a bool scalar; only one region runs. */
defineOp({
  opcode: "if",
  pure: false,
  arity: 1,
  infer: (o, _a, r) => {
    if (!isScalar(o[0]!) || o[0]!.dtype !== "bool")
      throw new IrTypeError(`the condition of an if must be a bool scalar, not ${showType(o[0]!)}`);
    const types = yielded(r[0]);
    fits(yielded(r[1]), types, "the two branches of an if");
    return types;
  },
});

/**
 * `while(…init) (…carried) { … condition(cond) } (…carried) { … yield(…next) }`: the first region decides
 * whether another turn runs. Results: the carried values when it said no.
 */
defineOp({
  opcode: "while",
  pure: false,
  infer: (o, _a, r) => {
    fits(
      r[0]!.args.map((v) => v.type),
      o,
      "the arguments of a while condition",
    );
    fits(
      r[1]!.args.map((v) => v.type),
      o,
      "the arguments of a while body",
    );
    fits(yielded(r[1]), o, "the yield of a while body");
    return [...o];
  },
});

/**
 * `assert {message}(cond)`: what a kernel's author claims of every element of a bool tile or scalar. A chip that
 * checks stops the program where it does not hold; one that does not leaves it out.
 */
defineOp({
  opcode: "assert",
  pure: false,
  arity: 1,
  infer: (o) => {
    if (o[0]!.kind !== "tile" || o[0]!.dtype !== "bool")
      throw new IrTypeError(`an assert takes a mask, not ${showType(o[0]!)}`);
    return [];
  },
});

/** `print {label}(…values)`: shows scalars and tiles while the kernel runs, on chips that can. */
defineOp({ opcode: "print", pure: false, infer: () => [] });

defineOp({ opcode: "yield", pure: false, terminator: true, infer: () => [] });
defineOp({
  opcode: "condition",
  pure: false,
  arity: 1,
  terminator: true,
  infer: (o) => {
    if (!isScalar(o[0]!) || o[0]!.dtype !== "bool") throw new IrTypeError("a condition is a bool scalar");
    return [];
  },
});
