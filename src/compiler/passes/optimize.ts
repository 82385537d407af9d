// The order in which the passes run.

import type { Func } from "../ir/ir.js";
import { verify } from "../ir/verify.js";
import { cse } from "./cse.js";
import { dce } from "./dce.js";
import { expandMath } from "./expand-math.js";
import { foldControl } from "./fold-control.js";
import { licm } from "./licm.js";
import { simplify } from "./simplify.js";

export interface OptimizeOptions {
  /** Approximate functions that the target computes itself on f32. Default: none. */
  readonly nativeMath?: readonly string[] | undefined;
  /** Verifies the function after every pass. Default: no. */
  readonly verifyEach?: boolean;
  /** Called after every pass that changed something. */
  readonly dump?: (pass: string, func: Func) => void;
}

/** Rounds of the cheap passes: enough for what real kernels need, and a bound for all others. */
const MAX_ROUNDS = 8;

/**
 * Simplifies, expands math, merges common subexpressions, moves invariant code out of loops and removes dead
 * code, in place. Afterwards only ops that every chip computes exactly remain (no `exp`, `pow`, …). The
 * meaning of floats is kept: nothing is reassociated.
 */
export function optimize(func: Func, options: OptimizeOptions = {}): void {
  const run = (name: string, pass: (func: Func) => boolean): boolean => {
    const changed = pass(func);
    if (options.verifyEach) verify(func);
    if (changed) options.dump?.(name, func);
    return changed;
  };
  const settle = () => {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      let changed = run("simplify", simplify);
      changed = run("fold-control", foldControl) || changed;
      changed = run("cse", cse) || changed;
      changed = run("dce", dce) || changed;
      if (!changed) return;
    }
  };
  settle();
  run("licm", licm);
  run("expand-math", (f) => expandMath(f, options.nativeMath));
  settle();
  // What the expansions made of constants and invariant values leaves the loops too.
  if (run("licm", licm)) settle();
}
