// A kernel that can be launched: a source of IR with the caches of its launches.

import { print } from "../compiler/ir/index.js";
import type { KernelSource, Specialization } from "../compiler/source.js";
import { type BenchOptions, type BenchResult, benchResult } from "./bench.js";
import { ChoosingLauncher, type Rules } from "./choose.js";
import { compileFresh } from "./compile.js";
import type { Chip } from "./driver.js";
import { type Grid, Launcher } from "./launch.js";
import { unobserved } from "./observe.js";
import { noteSource } from "./signatures.js";
import { finish, measuring } from "./timing.js";

/**
 * A kernel with arguments of the type `A`. Made by `kernel()` from a function of the kernel language, or by
 * {@link kernelOf} from any source of IR; `autotune` and `heuristics` make kernels that need fewer arguments.
 */
export class Kernel<A extends object = Record<string, unknown>> {
  private readonly launcher: Launcher;
  private readonly choosing: ChoosingLauncher | undefined;

  constructor(
    readonly source: KernelSource,
    /** How constexprs that are not arguments are found. */
    readonly rules?: Rules,
  ) {
    this.choosing = rules ? new ChoosingLauncher(source, rules) : undefined;
    this.launcher = this.choosing ?? new Launcher(source);
    noteSource(source);
  }

  get name(): string {
    return this.source.name;
  }

  /**
   * Enqueues one program for each point of the grid, on the chip of the tensors among the arguments. The first
   * launch with arguments of a new kind compiles; a grid of no programs does nothing.
   *
   * @param grid 1 to 3 numbers of programs, or a function of the arguments that gives them; it also sees the
   *   constexprs that heuristics and the tuner chose
   * @param args a value for each parameter, by name
   * @throws LaunchError for wrong arguments, CompileError when the kernel does not compile for them
   * @example softmax.launch([rows], { x, y, cols, BLOCK: 1024 });
   */
  launch(grid: Grid<A>, args: A): void {
    this.launcher.launch(grid, args);
  }

  /**
   * The same launch by the full path: signature, heuristics, tuner and lookup anew, as if no launch had been before.
   * For measuring what the cached path saves.
   */
  launchUncached(grid: Grid<A>, args: A): void {
    this.launcher.launchUncached(grid, args);
  }

  /**
   * Finds the best configuration for these arguments now. `launch` does so by itself on chips that can be waited for
   * in place; on others it takes the first configuration until this has run. Without a tuner it does nothing.
   */
  async tune(grid: Grid<A>, args: A): Promise<void> {
    await this.choosing?.tune(grid as Grid<Record<string, unknown>>, args as Record<string, unknown>);
  }

  /**
   * Times the launch on its chip. The kernel runs many times over the same memory.
   *
   * @param options `bytes` and `flops` that one launch moves and computes turn times into rates
   * @example console.log(String(await softmax.bench([rows], args, { bytes: 8 * rows * cols })));
   */
  async bench(grid: Grid<A>, args: A, options: BenchOptions = {}): Promise<BenchResult> {
    const { chip } = this.launcher.specialize(args as Record<string, unknown>);
    this.launch(grid, args);
    const run = (): void => unobserved(() => this.launch(grid, args));
    return benchResult(this.name, chip, await finish(chip, measuring(run, options)), options);
  }

  /** The chip and the facts for which a launch with these arguments is compiled. Launches nothing. */
  specialize(args: A): { chip: Chip; spec: Specialization } {
    return this.launcher.specialize(args as Record<string, unknown>);
  }

  /**
   * The optimised IR and the chip's code for a launch with these arguments, as text; before them what heuristics and
   * the tuner choose, and why. Launches nothing.
   */
  explain(args: A): string {
    const { chip, spec } = this.launcher.specialize(args as Record<string, unknown>);
    const { func, artifact } = compileFresh(this.source, spec, chip);
    const choice = this.choosing?.explainChoice(args as Record<string, unknown>);
    const why = choice ? `${choice.replace(/^/gm, "// ")}\n` : "";
    const code = artifact.text ? `\n// code for ${chip.name} (${chip.description})\n${artifact.text}` : "";
    return `${why}${print(func)}${code}`;
  }
}

/** A kernel from a source of IR that was not written in the kernel language. */
export const kernelOf = <A extends object = Record<string, unknown>>(source: KernelSource): Kernel<A> =>
  new Kernel<A>(source);
