// Records operators into the gradient graph: makes nodes, joins them to their inputs', keeps in-place writes and
// views truthful. Walking the graph backwards is `engine.ts`.

import { implementation } from "./dispatch.js";
import { isFloatDType } from "./dtype.js";
import { zerosLike } from "./fill.js";
import { isGradEnabled, setGradEnabled, withGradMode } from "./grad-mode.js";
import { keepHistoryWith } from "./lifetime.js";
import { callOperator, type OperatorInfo } from "./operator.js";
import {
  GradNode,
  metaOf,
  SavedTensor,
  type BackwardContext,
  type Edge,
  type InputGradients,
  type TensorMeta,
} from "./node.js";
import { Tensor, type ViewOrigin } from "./tensor.js";

/** Whether some tensor among the arguments wants gradients and the operator is one to record. */
export function wantsRecording(op: OperatorInfo, args: readonly unknown[]): boolean {
  if (op.gradient === "composite" || op.gradient === "none") return false;
  const at = op.tensorArgs;
  for (let i = 0; i < at.length; i++) {
    const v = args[at[i]!];
    if (v instanceof Tensor) {
      if (v.requiresGrad) return true;
    } else if (Array.isArray(v)) {
      for (const t of v) if (t instanceof Tensor && t.requiresGrad) return true;
    }
  }
  return false;
}

/** Where a tensor's gradient goes; null if it wants none. A view whose memory was written since finds its new way. */
export function edgeOf(t: Tensor): Edge | null {
  const { origin } = t;
  if (origin?.tracked && t.gradVersion !== t.counter.value) {
    t.gradVersion = t.counter.value;
    if (edgeOf(origin.parent) !== null) {
      const fresh = withGradMode(true, () => origin.replay(origin.parent));
      t.gradNode = fresh.gradNode;
      t.gradIndex = fresh.gradIndex;
    } else t.gradNode = null;
  }
  if (t.gradNode !== null) return { node: t.gradNode, index: t.gradIndex };
  return t.wantsGrad ? { node: t.accumulator, index: 0 } : null;
}

/** Runs an operator and records it. */
export function record(op: OperatorInfo, args: unknown[]): unknown {
  const edges: (Edge | null)[] = [];
  const needs: boolean[] = [];
  for (const at of op.tensorArgs) {
    const v = args[at];
    if (Array.isArray(v)) {
      const list = v.map((t) => (t instanceof Tensor ? edgeOf(t) : null));
      edges.push(...list);
      needs.push(list.some((e) => e !== null));
    } else {
      const edge = v instanceof Tensor ? edgeOf(v) : null;
      edges.push(edge);
      needs.push(edge !== null);
    }
  }
  const written: Tensor[] = [];
  for (const at of op.writes) {
    const v = args[at];
    if (v instanceof Tensor) written.push(v);
    else if (Array.isArray(v)) for (const t of v) if (t instanceof Tensor) written.push(t);
  }
  for (const t of written) checkWritable(t, op.name);
  setGradEnabled(false);
  let result: unknown;
  let before: readonly Tensor[] = [];
  try {
    before = op.derivative?.saveBefore?.(args, needs) ?? before;
    result = implementation(op, args, true);
  } finally {
    setGradEnabled(true);
  }
  const finish = (value: unknown): unknown => {
    attach(op, args, edges, needs, before, written, value);
    return value;
  };
  return result instanceof Promise ? result.then(finish) : finish(result);
}

function attach(
  op: OperatorInfo,
  args: readonly unknown[],
  edges: readonly (Edge | null)[],
  needs: readonly boolean[],
  before: readonly Tensor[],
  written: readonly Tensor[],
  result: unknown,
): void {
  const outputs = (Array.isArray(result) ? result : [result]).filter((x): x is Tensor => x instanceof Tensor);
  if (!outputs.some((t) => isFloatDType(t.dtype))) return;
  const node = new OperatorNode(op, args, edges, needs, before, outputs);
  outputs.forEach((t, index) => {
    if (!isFloatDType(t.dtype)) return;
    if (written.includes(t)) rebase(t, node, index, op, args);
    else if (!args.includes(t)) setHistory(t, node, index);
  });
}

function setHistory(t: Tensor, node: GradNode, index: number): void {
  t.gradNode = node;
  t.gradIndex = index;
  t.gradVersion = t.counter.value;
}

function baseOf(t: Tensor): Tensor {
  let base = t;
  while (base.origin !== null) base = base.origin.parent;
  return base;
}

/** Throws if writing `t` in place would make gradients wrong. */
export function checkWritable(t: Tensor, by: string): void {
  const base = baseOf(t);
  if (t.wantsGrad || base.wantsGrad) {
    const what = t === base || t.wantsGrad ? "a leaf" : "a view of a leaf";
    throw new Error(
      `\`${by}\` cannot write ${what} that requires gradients in place while gradients are recorded; ` +
        `put it in noGrad(() => …), or write to a clone`,
    );
  }
  for (let v = t; v.origin !== null; v = v.origin.parent) {
    if (!v.origin.tracked) {
      throw new Error(
        `\`${by}\` cannot write a view that was taken inside noGrad in place while gradients are recorded`,
      );
    }
    if (v.origin.oneOfMany) {
      throw new Error(
        `\`${by}\` cannot write one of several views of one call (split, unbind, …) in place while gradients are recorded; take it with narrow or select`,
      );
    }
  }
}

/** Gives a tensor written in place its new history; for a view, its base. */
function rebase(
  t: Tensor,
  node: OperatorNode,
  index: number,
  op: OperatorInfo,
  args: readonly unknown[],
): void {
  if (t.origin === null) {
    setHistory(t, node, index);
    keepHistoryWith(t);
    return;
  }
  const base = baseOf(t);
  let at = 0;
  for (const i of op.tensorArgs) {
    const v = args[i];
    if (v === t) break;
    at += Array.isArray(v) ? v.length : 1;
  }
  setHistory(base, new WriteSliceNode(node, index, at, base, edgeOf(base), t), 0);
  keepHistoryWith(base);
  // The view renews its way through the base when it is next asked.
  t.gradNode = null;
  t.gradVersion = -1;
}

/** A recorded operator of the table. */
export class OperatorNode extends GradNode {
  override readonly forgets = true;
  readonly name: string;
  readonly outputs: readonly TensorMeta[];
  #saved: readonly SavedTensor[] | null;
  readonly #args: readonly unknown[];
  /** Number of inputs per tensor argument; -1 for one that is no list. */
  readonly #counts: readonly number[];

  constructor(
    readonly op: OperatorInfo,
    args: readonly unknown[],
    readonly edges: readonly (Edge | null)[],
    readonly needs: readonly boolean[],
    before: readonly Tensor[],
    outputs: readonly Tensor[],
  ) {
    super();
    this.name = op.name;
    this.outputs = outputs.map(metaOf);
    const saved = op.derivative?.save?.(args, outputs, needs) ?? [];
    this.#saved = [...before, ...saved].map((t) => new SavedTensor(t));
    this.#counts = op.tensorArgs.map((at) => {
      const v = args[at];
      return Array.isArray(v) ? v.length : -1;
    });
    this.#args = args.map((v) =>
      v instanceof Tensor
        ? metaOf(v)
        : Array.isArray(v)
          ? v.map((t) => (t instanceof Tensor ? metaOf(t) : t))
          : v,
    );
  }

  override apply(grads: readonly (Tensor | null)[]): readonly (Tensor | null | undefined)[] {
    const { derivative } = this.op;
    if (derivative === null) {
      throw new Error(
        `the operator \`${this.name}\` has no derivative: detach its input, or leave it out of the loss`,
      );
    }
    const saved = this.#saved;
    if (saved === null) {
      throw new Error(
        `a second backward pass came through \`${this.name}\` after the first freed what it needs; ` +
          `pass { retainGraph: true } to the first`,
      );
    }
    const full = derivative.nullGrads ? grads : grads.map((g, i) => g ?? zerosLike(this.outputs[i]!));
    return this.#flatten(derivative.backward(this.#context(saved), ...(full as Tensor[])));
  }

  override addInto(into: Tensor, grads: readonly (Tensor | null)[]): boolean {
    const derivative = this.op.derivative;
    if (!derivative?.addInto || this.#saved === null || grads.includes(null)) return false;
    return derivative.addInto(into, this.#context(this.#saved), ...(grads as Tensor[]));
  }

  #context(saved: readonly SavedTensor[]): BackwardContext {
    const args = this.#args;
    return {
      saved: saved.map((s) => s.unpack(this.name)),
      args,
      needs: this.needs,
      outputs: this.outputs,
      meta: (i) => args[i] as TensorMeta,
    };
  }

  #flatten(result: InputGradients): (Tensor | null | undefined)[] {
    if (result.length !== this.#counts.length) {
      throw new Error(
        `the derivative of \`${this.name}\` gave ${result.length} gradients for ${this.#counts.length} tensor arguments`,
      );
    }
    const flat: (Tensor | null | undefined)[] = [];
    result.forEach((g, i) => {
      const count = this.#counts[i]!;
      if (count < 0) flat.push(g as Tensor | null | undefined);
      else if (Array.isArray(g)) flat.push(...(g as Tensor[]));
      else flat.push(...new Array<null>(count).fill(null));
    });
    return flat;
  }

  override release(): void {
    if (this.#saved === null || this.#saved.length === 0) return;
    for (const s of this.#saved) s.release();
    this.#saved = null;
  }
  override kept(): readonly Tensor[] {
    return this.#saved?.flatMap((s) => s.kept()) ?? [];
  }
}

/** The history of a base after one of its views was written in place by `inner`. */
class WriteSliceNode extends GradNode {
  readonly name: string;
  readonly edges: readonly (Edge | null)[];
  readonly outputs: readonly TensorMeta[];
  /** The views from the base to the written one. */
  readonly #path: readonly ViewOrigin[];

  constructor(
    readonly inner: OperatorNode,
    readonly index: number,
    /** Which of the inner node's edges is the written view. */
    readonly at: number,
    base: Tensor,
    before: Edge | null,
    view: Tensor,
  ) {
    super();
    this.name = `${inner.name} on a view`;
    this.edges = [before, ...inner.edges.filter((_, i) => i !== at)];
    this.outputs = [metaOf(base)];
    const path: ViewOrigin[] = [];
    for (let v = view; v.origin !== null; v = v.origin.parent) path.unshift(v.origin);
    this.#path = path;
  }

  override apply([grad]: readonly (Tensor | null)[]): readonly (Tensor | null | undefined)[] {
    const whole = callOperator("clone", grad) as Tensor;
    const part = this.#path.reduce((t, origin) => origin.replay(t), whole);
    const grads = new Array<Tensor | null>(this.inner.outputs.length).fill(null);
    grads[this.index] = callOperator("clone", part) as Tensor;
    const inner = this.inner.apply(grads);
    const own = inner[this.at] ?? zerosLike(metaOf(part));
    callOperator("copy_", part, own);
    return [whole, ...inner.filter((_, i) => i !== this.at)];
  }
  override release(): void {
    this.inner.release();
  }
  override kept(): readonly Tensor[] {
    return this.inner.kept();
  }
}

/** What `customFunction`'s forward may use. */
export interface CustomContext {
  /** Keeps tensors for backward; checked against in-place writes. */
  saveForBackward(...tensors: Tensor[]): void;
  readonly saved: readonly Tensor[];
  /** Anything else to hand from forward to backward. */
  state: Record<string, unknown>;
}

export interface CustomFunction<A extends readonly unknown[], R extends Tensor | readonly Tensor[]> {
  readonly name?: string;
  /** Runs without recording. */
  forward(ctx: CustomContext, ...args: A): R;
  /** One gradient per argument of forward; null where it is no tensor or wants none. */
  backward(ctx: CustomContext, ...grads: Tensor[]): readonly (Tensor | null)[];
}

class CustomNode extends GradNode {
  constructor(
    readonly name: string,
    readonly edges: readonly (Edge | null)[],
    readonly outputs: readonly TensorMeta[],
    readonly state: { saved: SavedTensor[] | null },
    readonly run: (grads: Tensor[]) => readonly (Tensor | null)[],
  ) {
    super();
  }
  override apply(grads: readonly (Tensor | null)[]): readonly (Tensor | null)[] {
    const result = this.run(grads.map((g, i) => g ?? zerosLike(this.outputs[i]!)));
    if (result.length !== this.edges.length) {
      throw new Error(
        `backward of \`${this.name}\` gave ${result.length} gradients for ${this.edges.length} arguments`,
      );
    }
    return result;
  }
  override release(): void {
    if (this.state.saved === null || this.state.saved.length === 0) return;
    for (const s of this.state.saved) s.release();
    this.state.saved = null;
  }
  override kept(): readonly Tensor[] {
    return this.state.saved?.flatMap((s) => s.kept()) ?? [];
  }
}

/**
 * A function with a derivative of its own.
 *
 * @example
 * const cube = customFunction({
 *   forward: (ctx, x: Tensor) => { ctx.saveForBackward(x); return mul(x, mul(x, x)); },
 *   backward: (ctx, grad) => [mul(grad, mul(3, mul(ctx.saved[0]!, ctx.saved[0]!)))],
 * });
 */
export function customFunction<A extends readonly unknown[], R extends Tensor | readonly Tensor[]>(
  fn: CustomFunction<A, R>,
): (...args: A) => R {
  const name = fn.name ?? "customFunction";
  return (...args: A): R => {
    const state: { saved: SavedTensor[] | null } = { saved: [] };
    const ctx: CustomContext = {
      saveForBackward: (...tensors) => {
        state.saved = tensors.map((t) => new SavedTensor(t));
      },
      get saved() {
        if (state.saved === null) {
          throw new Error(
            `a second backward pass came through \`${name}\` after the first freed what it needs; ` +
              `pass { retainGraph: true } to the first`,
          );
        }
        return state.saved.map((s) => s.unpack(name));
      },
      state: {},
    };
    const edges = isGradEnabled() ? args.map((v) => (v instanceof Tensor ? edgeOf(v) : null)) : [];
    const result = withGradMode(false, () => fn.forward(ctx, ...args));
    if (!edges.some((e) => e !== null)) return result;
    const results: readonly Tensor[] = result instanceof Tensor ? [result] : result;
    const outputs = results.map((t) => (args.includes(t) ? t.detach() : t));
    const node = new CustomNode(name, edges, outputs.map(metaOf), state, (grads) =>
      fn.backward(ctx, ...grads),
    );
    outputs.forEach((t, i) => {
      if (isFloatDType(t.dtype)) setHistory(t, node, i);
    });
    return (result instanceof Tensor ? outputs[0] : outputs) as unknown as R;
  };
}
