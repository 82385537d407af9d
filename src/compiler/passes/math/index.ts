// The expansions by opcode.

import type { Builder } from "../../ir/builder.js";
import type { Value } from "../../ir/ir.js";
import { exp, exp2, exp2Approx, expm1 } from "./exp.js";
import { log, log10, log1p, log2 } from "./log.js";
import { pow, rsqrt } from "./pow.js";
import { erf, sigmoid, tanh } from "./sigmoidal.js";
import { cos, sin, tan } from "./trig.js";

/** Emits the function's arithmetic at the builder; operands are f32 or f64 of one shape. */
export type Expansion = (b: Builder, ...operands: Value[]) => Value;

export const EXPANSIONS: Readonly<Record<string, Expansion>> = {
  rsqrt,
  exp,
  exp2,
  // A chip that computes it itself keeps the op.
  exp2Approx,
  sigmoidApprox: sigmoid,
  expm1,
  log,
  log2,
  log10,
  log1p,
  sin,
  cos,
  tan,
  tanh,
  erf,
  pow,
} as Readonly<Record<string, Expansion>>;
