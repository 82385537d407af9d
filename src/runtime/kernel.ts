// A kernel that can be launched: a source of IR with the caches of its launches.

import { print } from "../compiler/ir/index.js";
import type { KernelSource } from "../compiler/source.js";
import { compileFresh } from "./compile.js";
import { type Grid, Launcher } from "./launch.js";

/**
 * A kernel with arguments of the type `A`. Made by `kernel()` from a function of the kernel language, or by
 * {@link kernelOf} from any source of IR.
 */
export class Kernel<A extends object = Record<string, unknown>> {
  private readonly launcher: Launcher;

  constructor(readonly source: KernelSource) {
    this.launcher = new Launcher(source);
  }

  get name(): string {
    return this.source.name;
  }

  /**
   * Enqueues one program for each point of the grid, on the chip of the tensors among the arguments. The first
   * launch with arguments of a new kind compiles; a grid of no programs does nothing.
   *
   * @param grid 1 to 3 numbers of programs, or a function of the arguments that gives them
   * @param args a value for each parameter, by name
   * @throws LaunchError for wrong arguments, CompileError when the kernel does not compile for them
   * @example softmax.launch([rows], { x, y, cols, BLOCK: 1024 });
   */
  launch(grid: Grid<A>, args: A): void {
    this.launcher.launch(grid, args);
  }

  /** The optimised IR and the chip's code for a launch with these arguments, as text. Launches nothing. */
  explain(args: A): string {
    const { chip, spec } = this.launcher.specialize(args as Record<string, unknown>);
    const { func, artifact } = compileFresh(this.source, spec, chip);
    const code = artifact.text ? `\n// code for ${chip.name} (${chip.description})\n${artifact.text}` : "";
    return `${print(func)}${code}`;
  }
}

/** A kernel from a source of IR that was not written in the kernel language. */
export const kernelOf = <A extends object = Record<string, unknown>>(source: KernelSource): Kernel<A> =>
  new Kernel<A>(source);
