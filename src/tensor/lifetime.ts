// How long tensors live: what leaves a scope with a result, and what outlives scopes: gradients and kept state.
// Scopes themselves, and who frees what, are `runtime/scope.ts`.

import {
  currentScope,
  keep as keepStorage,
  keepLike,
  setReachability,
  type Scope,
} from "../runtime/scope.js";
import type { Storage } from "../runtime/storage.js";
import { AccumulateGrad, type GradNode } from "./node.js";
import { Tensor } from "./tensor.js";

/** How many `.grad`s stand on a storage. */
const gradientUses = new WeakMap<Storage, number>();

/** Whether some `.grad` already stands on this storage. */
export const isGradient = (storage: Storage): boolean => (gradientUses.get(storage) ?? 0) > 0;

/** Called when a tensor's `.grad` changes: the new one lives as long as `owner`, the old one as long as the open scope. */
export function assignGrad(owner: Tensor, before: Tensor | null, after: Tensor | null): void {
  if (before === after) return;
  if (after !== null) {
    gradientUses.set(after.storage, (gradientUses.get(after.storage) ?? 0) + 1);
    keepLike(after.storage, owner.storage);
    keepHistory(after, (storage) => keepLike(storage, owner.storage));
  }
  if (before !== null) {
    const uses = (gradientUses.get(before.storage) ?? 1) - 1;
    gradientUses.set(before.storage, uses);
    if (uses === 0) handOver(before.storage);
  }
}

/** Makes the open scope the one that frees a storage. */
function handOver(storage: Storage): void {
  const scope = currentScope();
  if (scope === null || storage.disposed || storage.owner === scope) return;
  storage.owner?.forget();
  scope.own(storage);
}

/**
 * Takes tensors out of all scopes, wherever they stand in `value` (arrays, objects, maps, modules): they live until
 * `dispose()`. For state that outlives the work that made it: parameters, caches, optimizer moments.
 *
 * @example this.cache = keep(zeros([1, heads, length, width]));
 */
export function keep<T>(value: T): T {
  walk(value, keepStorage, null);
  return value;
}

/** Frees every tensor in `value` at once; views of other tensors are left. */
export function dispose(value: unknown): void {
  const tensors = new Set<Tensor>();
  eachTensor(value, (t) => tensors.add(t), new Set());
  for (const t of tensors) t.dispose();
}

/** Visits every tensor in arrays, sets, maps, plain objects and modules (objects with `parameters()`). */
export function eachTensor(value: unknown, visit: (t: Tensor) => void, seen: Set<object>): void {
  if (typeof value !== "object" || value === null || seen.has(value)) return;
  if (value instanceof Tensor) {
    seen.add(value);
    visit(value);
    return;
  }
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return;
  seen.add(value);
  if (Array.isArray(value) || value instanceof Set) {
    for (const item of value) eachTensor(item, visit, seen);
  } else if (value instanceof Map) {
    for (const [key, item] of value) {
      eachTensor(key, visit, seen);
      eachTensor(item, visit, seen);
    }
  } else {
    const proto = Object.getPrototypeOf(value) as unknown;
    const isModule = "parameters" in value && typeof value.parameters === "function";
    if (isModule || proto === Object.prototype || proto === null) {
      for (const item of Object.values(value)) eachTensor(item, visit, seen);
    }
    if (isModule) eachTensor(moduleTensors(value, "parameters"), visit, seen);
    if ("buffers" in value && typeof value.buffers === "function") {
      eachTensor(moduleTensors(value, "buffers"), visit, seen);
    }
  }
}

function moduleTensors(module: object, method: string): unknown {
  const list = (module as Record<string, () => unknown>)[method]!();
  const iterable = typeof list === "object" && list !== null && Symbol.iterator in list;
  return iterable ? [...(list as Iterable<unknown>)] : list;
}

/** Visits the storages that `value` needs: its tensors, their gradients, and what their backward passes saved. */
function walk(value: unknown, visit: (storage: Storage) => void, scope: Scope | null): void {
  const nodes = new Set<GradNode>();
  const seen = new Set<object>();
  const visitTensor = (t: Tensor): void => {
    visit(t.storage);
    if (t.grad !== null && !seen.has(t.grad)) {
      seen.add(t.grad);
      visitTensor(t.grad);
    }
    if (t.gradNode !== null) walkGraph(t.gradNode, visit, nodes, scope);
  };
  eachTensor(value, visitTensor, seen);
}

/** Nodes made before the scope was opened saved nothing of the scope's: the search ends there. */
function walkGraph(
  root: GradNode,
  visit: (storage: Storage) => void,
  seen: Set<GradNode>,
  scope: Scope | null,
): void {
  const open: GradNode[] = [root];
  while (open.length > 0) {
    const node = open.pop()!;
    if (seen.has(node) || (scope !== null && node.scopes < scope.serial)) continue;
    seen.add(node);
    for (const t of node.kept()) visit(t.storage);
    if (node instanceof AccumulateGrad) {
      visit(node.leaf.storage);
      if (node.leaf.grad !== null) visit(node.leaf.grad.storage);
    }
    for (const edge of node.edges) if (edge !== null) open.push(edge.node);
  }
}

function keepHistory(t: Tensor, visit: (storage: Storage) => void): void {
  if (t.gradNode !== null) walkGraph(t.gradNode, visit, new Set(), null);
}

/**
 * Keeps what a backward pass through `t` needs as long as `t` lives: for a tensor from outside the open scope that an
 * operator inside it writes.
 */
export function keepHistoryWith(t: Tensor): void {
  const scope = currentScope();
  if (scope === null || t.gradNode === null || t.storage.owner === scope) return;
  walkGraph(
    t.gradNode,
    (storage) => storage.owner === scope && keepLike(storage, t.storage),
    new Set(),
    scope,
  );
}

setReachability((value, visit) => walk(value, visit, currentScope()));
