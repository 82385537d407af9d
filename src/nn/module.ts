// Module: a tree of parameters with names. It has no forward convention; each module calls itself as it needs.

import { Tensor } from "../tensor/index.js";

const snake = (name: string) => name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);

/**
 * A part of a model. Fields that are tensors are its parameters, fields that are modules (or arrays of modules)
 * its children; names are the fields' names in snake_case joined by dots, as in PyTorch's state dicts.
 *
 * @example
 * class Mlp extends Module {
 *   readonly upProj = new Linear(64, 256);     // parameter "up_proj.weight"
 *   forward(x: Tensor) { return this.upProj.forward(x); }
 * }
 */
export abstract class Module {
  /** Every parameter with its name; a parameter that stands in two places comes once, under its first name. */
  namedParameters(prefix = ""): Map<string, Tensor> {
    const out = new Map<string, Tensor>();
    const seen = new Set<Tensor>();
    this.#collect(prefix, out, seen);
    return out;
  }

  parameters(): Tensor[] {
    return [...this.namedParameters().values()];
  }

  #collect(prefix: string, out: Map<string, Tensor>, seen: Set<Tensor>): void {
    const visit = (name: string, value: unknown): void => {
      if (value instanceof Tensor) {
        if (!seen.has(value)) out.set(name, value);
        seen.add(value);
      } else if (value instanceof Module) value.#collect(`${name}.`, out, seen);
      else if (Array.isArray(value)) for (const [i, v] of value.entries()) visit(`${name}.${i}`, v);
    };
    for (const [key, value] of Object.entries(this)) visit(prefix + snake(key), value);
  }

  /** Every module below this one with its name. */
  namedModules(prefix = ""): Map<string, Module> {
    const out = new Map<string, Module>();
    const visit = (name: string, value: unknown): void => {
      if (value instanceof Module) {
        out.set(name, value);
        for (const [below, m] of value.namedModules(`${name}.`)) out.set(below, m);
      } else if (Array.isArray(value)) for (const [i, v] of value.entries()) visit(`${name}.${i}`, v);
    };
    for (const [key, value] of Object.entries(this)) visit(prefix + snake(key), value);
    return out;
  }

  /** Forgets all gradients. */
  zeroGrad(): void {
    for (const p of this.parameters()) p.grad = null;
  }

  /** Frees the memory of all parameters. */
  dispose(): void {
    for (const p of this.parameters()) p.dispose();
  }
}
