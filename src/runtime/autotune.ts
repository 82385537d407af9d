// `autotune` and `heuristics`: kernels that find some of their constexprs themselves. The search stands in
// `tuner.ts`, what makes repeated launches cheap in `choose.ts`.

import type { ConstexprValue } from "../compiler/source.js";
import type { ArgumentFacts, Config, Heuristic, Rules, TuningRule } from "./choose.js";
import type { Capabilities } from "./driver.js";
import { Kernel } from "./kernel.js";

export interface AutotuneOptions<A, C> {
  /** Values of constexprs to choose from, or a function of arguments and chip that gives them. All set the same names. */
  readonly configs:
    | readonly C[]
    | ((args: ArgumentFacts<Omit<A, keyof C>>, capabilities: Capabilities) => readonly C[]);
  /** Names that `configs` set, where that is a function. */
  readonly names?: readonly (keyof C & string)[];
  /**
   * What the best configuration depends on: names of arguments that are numbers, or a function that gives values (so
   * that lengths can be rounded). Dtypes always count.
   */
  readonly key:
    | readonly (Exclude<keyof A, keyof C> & string)[]
    | ((args: ArgumentFacts<Omit<A, keyof C>>) => readonly ConstexprValue[]);
  /** Keeps a configuration for these arguments; without it all are tried. */
  prune?(config: C, args: ArgumentFacts<Omit<A, keyof C>>, capabilities: Capabilities): boolean;
  /** Tensors that a launch changes and reads: they are put back after every measured launch. */
  readonly restore?: readonly (Exclude<keyof A, keyof C> & string)[];
  /** Milliseconds that one search may take, compilers included; default 5000. At least one configuration is measured. */
  readonly budget?: number;
  /** A configuration this many times slower than the best so far is given up after two samples; default 1.3. */
  readonly giveUp?: number;
}

/**
 * A kernel whose constexprs are chosen by measuring: the first launch with a new key tries the configurations, and
 * the answer is kept on disk for all processes of this user. On chips that cannot be waited for in place `launch`
 * takes the first configuration until `await kernel.tune(grid, args)` has run.
 *
 * `VEXIL_AUTOTUNE=off` takes known answers and else the first configuration; `VEXIL_TUNE_BUDGET` limits the
 * milliseconds of a process; `VEXIL_DEBUG=tune` prints each search; `kernel.explain(args)` and {@link tuningSpend}
 * show what was found and what it took.
 *
 * @param kernel the kernel, which may already have heuristics: they may read the chosen configuration
 * @example
 * const tuned = autotune(softmax, {
 *   configs: [{ BLOCK: 256 }, { BLOCK: 1024 }],
 *   key: ["cols"],
 * });
 * tuned.launch([rows], { x, y, cols });
 */
export function autotune<A extends object, const C extends { readonly [K in keyof A]?: A[K] }>(
  kernel: Kernel<A>,
  options: AutotuneOptions<A, C>,
): Kernel<Omit<A, keyof C>> {
  if (kernel.rules?.tuning) throw new TypeError(`kernel ${kernel.name} has a tuner already`);
  const { configs } = options;
  const names = options.names ?? (typeof configs === "function" ? [] : Object.keys(configs[0] ?? {}));
  if (names.length === 0)
    throw new TypeError(
      typeof configs === "function"
        ? `autotune of ${kernel.name}: say in \`names\` which constexprs the configurations set`
        : `autotune of ${kernel.name}: \`configs\` must list at least one configuration that sets something`,
    );
  if (typeof configs !== "function")
    for (const c of configs)
      if (Object.keys(c).sort().join() !== [...names].sort().join())
        throw new TypeError(
          `autotune of ${kernel.name}: all configurations must set the same names (${names.join(", ")}), not ${Object.keys(c).join(", ")}`,
        );
  const tuning: TuningRule = {
    names,
    configs: configs as TuningRule["configs"],
    key: options.key as TuningRule["key"],
    prune: options.prune as ((c: Config, args: never, capabilities: Capabilities) => boolean) | undefined,
    restore: options.restore ?? [],
    budget: options.budget ?? 5000,
    giveUp: options.giveUp ?? 1.3,
  };
  return new Kernel(kernel.source, { heuristics: kernel.rules?.heuristics ?? [], tuning });
}

/**
 * A kernel whose constexprs are computed from its other arguments, in the order they are written: a later rule may
 * read what an earlier one gave, and what a tuner chose. A rule is a pure function: it runs again only when an
 * argument changes that it has read.
 *
 * @example
 * const even = heuristics(copy, { EVEN: ({ n, BLOCK }) => n % BLOCK === 0 });
 * even.launch([Math.ceil(n / 64)], { x, y, n, BLOCK: 64 });
 */
export function heuristics<
  A extends object,
  H extends { readonly [K in keyof A]?: (args: ArgumentFacts<A>, capabilities: Capabilities) => A[K] },
>(kernel: Kernel<A>, rules: H): Kernel<Omit<A, keyof H>> {
  const taken = kernel.rules?.heuristics ?? [];
  const added = Object.entries(rules) as unknown as [string, Heuristic][];
  for (const [name] of added)
    if (taken.some(([n]) => n === name) || kernel.rules?.tuning?.names.includes(name))
      throw new TypeError(`kernel ${kernel.name}: ${name} is found by another rule already`);
  const all: Rules = { tuning: kernel.rules?.tuning, heuristics: [...taken, ...added] };
  return new Kernel(kernel.source, all);
}
