// What is said when a kernel has failed while it ran. CUDA tells it late, of some later call, and refuses everything from
// then on; so the launches that nobody has waited for yet are remembered.

/** Status codes (cuda.h) of errors that come from running kernels and stay. */
const STICKY = new Set([214, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719]);

export const isSticky = (status: number): boolean => STICKY.has(status);

/** Of a launched kernel, or of a captured graph of several. */
export interface Launched {
  readonly name: string;
  readonly definition?: (() => string | undefined) | undefined;
}

/** More launches than this are not remembered. */
const REMEMBERED = 32;

/** The last launches of a stream, which runs them in order. */
export class LaunchLog {
  private readonly recent: Launched[] = [];
  /** Launches so far. */
  count = 0;
  private done = 0;

  add(kernel: Launched): void {
    this.recent[this.count++ % REMEMBERED] = kernel;
  }

  /** The first `count` launches have run. */
  ended(count: number): void {
    if (count > this.done) this.done = count;
  }

  /** The kernels of which nobody knows that they have run, in the order of their launch; the oldest may be missing. */
  running(): Launched[] {
    const from = Math.max(this.done, this.count - REMEMBERED);
    const list = Array.from({ length: this.count - from }, (_, i) => this.recent[(from + i) % REMEMBERED]!);
    return [...new Set(list)];
  }
}

function show(kernel: Launched): string {
  let where: string | undefined;
  try {
    where = kernel.definition?.();
  } catch {
    // A definition that cannot be found is left out.
  }
  return kernel.name + (where ? `, defined at ${where}` : "");
}

/** @param running the kernels that may have failed, oldest first */
export function lostMessage(
  device: string,
  status: string,
  running: readonly Launched[],
  synchronous: boolean,
): string {
  const last = synchronous ? running.slice(-1) : running;
  const which =
    last.length === 0
      ? ["  which one is not known"]
      : last.length === 1
        ? [`  kernel ${show(last[0]!)}`]
        : [
            "  one of these, which were launched since the GPU was last waited for:",
            ...last.map((k) => `    kernel ${show(k)}`),
            "  VEXIL_DEBUG=sync waits after each launch and names the one.",
          ];
  return [
    `a kernel failed on ${device}: ${status}`,
    ...which,
    "  The GPU's context is lost: what this process has on it cannot be read, and every later call on it says this again.",
    "  Start the process anew. `debug(kernel, …)` runs one program in the interpreter, which names the access and its line.",
  ].join("\n");
}
