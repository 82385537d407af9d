// Checkpointing: what a part of the forward pass saves for its derivatives is dropped and computed again when the
// backward pass comes to it (Chen et al., 2016, "Training deep nets with sublinear memory cost").
//
// The operators inside are recorded as always, so gradients flow to arguments and to what the function reads from
// around it, twice too; only their saved tensors are stand-ins until one is needed.

import { defaultGenerator, type Generator, type GeneratorState } from "../runtime/generator.js";
import { currentScope, scope } from "../runtime/scope.js";
import type { Storage } from "../runtime/storage.js";
import { enableGrad, isGradEnabled } from "./grad-mode.js";
import { SavedTensor, setSavedHooks, type SavedHooks, type SavedStandIn } from "./node.js";
import { NodeScope } from "./passing.js";
import { Tensor } from "./tensor.js";

export interface CheckpointOptions {
  /** Draw the same random numbers again (default true). */
  readonly preserveRandomState?: boolean;
  /** Generators besides the default one whose state to bring back. */
  readonly generators?: readonly Generator[];
}

/** Sets the handler of saved tensors while `fn` runs. */
function handling<T>(hooks: SavedHooks, fn: () => T): T {
  const before = setSavedHooks(hooks);
  try {
    return fn();
  } finally {
    setSavedHooks(before);
  }
}

/** What was saved, as far as it can be told without the tensor. */
const describe = (t: Tensor): string => `${t.dtype} [${t.shape.join(", ")}]`;

/** One checkpointed call. */
class Frame {
  /** What the tensors saved inside looked like, in order. */
  readonly #saved: string[] = [];
  /** How many of their stand-ins the backward pass still may ask. */
  #left = 0;
  #again: readonly Tensor[] | null = null;
  /** Memory that computing again took. */
  #memory: Storage[] = [];
  readonly #args: readonly unknown[];
  readonly #states: readonly (readonly [Generator, GeneratorState])[];

  constructor(
    readonly fn: (...args: unknown[]) => unknown,
    args: readonly unknown[],
    generators: readonly Generator[],
  ) {
    // An argument may itself be inside a checkpoint: then it is a stand-in, too.
    this.#args = args.map((a) => (a instanceof Tensor ? new SavedTensor(a) : a));
    this.#states = generators.map((g) => [g, g.getState()] as const);
  }

  forward(args: readonly unknown[]): unknown {
    return scope(() => {
      const own = currentScope();
      return handling(
        {
          pack: (tensor) => {
            // What lives anyway is kept as it is, and checked against in-place writes.
            if (tensor.storage.owner !== own) return null;
            const at = this.#saved.push(describe(tensor)) - 1;
            this.#left++;
            return this.#standIn(at);
          },
        },
        () => this.fn(...args),
      );
    });
  }

  #standIn(at: number): SavedStandIn {
    let released = false;
    return {
      unpack: (by) => this.#computeAgain(by)[at]!,
      kept: () => this.#args.flatMap((a) => (a instanceof SavedTensor ? a.kept() : [])),
      release: () => {
        if (released) return;
        released = true;
        if (--this.#left === 0) this.#free();
      },
    };
  }

  #computeAgain(by: string): readonly Tensor[] {
    if (this.#again !== null) return this.#again;
    const args = this.#args.map((a) => (a instanceof SavedTensor ? a.unpack(by) : a));
    const now = this.#states.map(([g]) => g.getState());
    for (const [g, state] of this.#states) g.setState(state);
    const found: Tensor[] = [];
    const memory = new Set<Storage>();
    try {
      // A scope tells what is made inside; its result takes all that was saved out of it.
      scope(() => {
        const own = currentScope();
        const hooks: SavedHooks = {
          pack: (tensor) => {
            if (tensor.storage.owner === own) {
              found.push(tensor);
              memory.add(tensor.storage);
            }
            return null;
          },
        };
        enableGrad(() => handling(hooks, () => this.fn(...args)));
        return found;
      });
    } finally {
      this.#states.forEach(([g], i) => {
        g.setState(now[i]!);
      });
    }
    const seen = found.map(describe);
    if (seen.join() !== this.#saved.join())
      throw new Error(
        `checkpoint: the function saved [${this.#saved.join("; ")}] when it first ran and [${seen.join("; ")}] ` +
          "when it ran again; it must do the same both times",
      );
    this.#again = found;
    this.#memory = [...memory];
    // Several nodes of the pass read it.
    const node = currentScope();
    if (node instanceof NodeScope) for (const storage of memory) node.keep(storage);
    return found;
  }

  #free(): void {
    for (const storage of this.#memory) storage.dispose();
    this.#memory = [];
    this.#again = null;
  }
}

/**
 * `fn(...args)` without keeping what its derivatives need: the backward pass runs `fn` again for it. Memory between
 * the forward and the backward pass shrinks to the arguments and results; the time grows by one more forward pass.
 *
 * `fn` must be synchronous and do the same each time it runs. Tensors made on the way are handed over as arguments; what lives
 * outside the open scopes anyway (parameters) may be read from around it.
 *
 * @throws Error in the backward pass if the second run differs from the first
 * @example for (const layer of layers) x = checkpoint((h) => layer.forward(h), [x]);
 */
export function checkpoint<A extends readonly unknown[], R>(
  fn: (...args: A) => R,
  args: A,
  options: CheckpointOptions = {},
): R {
  if (!isGradEnabled()) return fn(...args);
  const generators = [
    ...(options.preserveRandomState === false ? [] : [defaultGenerator]),
    ...(options.generators ?? []),
  ];
  const frame = new Frame(fn as unknown as (...args: unknown[]) => unknown, args, generators);
  const result = frame.forward(args);
  if (result instanceof Promise)
    throw new TypeError("checkpoint takes a synchronous function: this one returned a promise");
  return result as R;
}
