// The memory of a backward pass while it runs: what a node makes on the way is freed when it has run, and a gradient as soon
// as the last node has read it. Memory that has just been read is then written next, while the caches still hold it, and a
// pass takes no more of it than two layers need. Walking the graph is `engine.ts`.

import { Scope } from "../runtime/scope.js";
import type { Storage } from "../runtime/storage.js";
import { isGradient } from "./lifetime.js";
import type { Tensor } from "./tensor.js";

/** The scope of one node of a pass. What is to outlive the node goes to the scope around, which is the pass's. */
export class NodeScope extends Scope {}

/** The gradients on their way through one pass. */
export class Passing {
  /** How many waiting gradients stand on memory that the pass itself has made and shown to nobody. */
  readonly #uses = new Map<Storage, number>();
  #node: NodeScope | null = null;

  /** Runs a node that keeps nothing to itself; what it gives to {@link hold} meanwhile outlives it. */
  within(run: () => void): void {
    const node = new NodeScope();
    this.#node = node;
    try {
      run();
    } finally {
      this.#node = null;
      node.close();
    }
  }

  /** A gradient begins to wait for its node. */
  hold(grad: Tensor): void {
    const { storage } = grad;
    if (this.#node !== null && storage.owner === this.#node) {
      this.#node.keep(storage);
      this.#uses.set(storage, 0);
    }
    const uses = this.#uses.get(storage);
    if (uses !== undefined) this.#uses.set(storage, uses + 1);
  }

  /** A gradient waits no longer. */
  drop(grad: Tensor): void {
    const { storage } = grad;
    const uses = this.#uses.get(storage);
    if (uses === undefined) return;
    if (uses > 1) this.#uses.set(storage, uses - 1);
    else {
      this.#uses.delete(storage);
      if (!isGradient(storage)) storage.dispose();
    }
  }

  /** Somebody else has seen the gradient, and may read it until the pass ends. */
  share(grad: Tensor): void {
    this.#uses.delete(grad.storage);
  }

  /** Whether nobody but its waiting node will read the gradient, so that it may be written. */
  isOwn(grad: Tensor): boolean {
    const { storage } = grad;
    return this.#uses.get(storage) === 1 && grad.ownsStorage && grad.isContiguous && !isGradient(storage);
  }
}
