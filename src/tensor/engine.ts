// The backward pass: walks the graph from outputs to leaves, adds up gradients on the way. Recording is `record.ts`.

import { scope } from "../runtime/scope.js";
import { AnomalyError, anomalyMode } from "./anomaly.js";
import { isFloatDType } from "./dtype.js";
import { constantTensor } from "./fill.js";
import { withGradMode } from "./grad-mode.js";
import { sameShape, showShape } from "./layout.js";
import { isGradient } from "./lifetime.js";
import { AccumulateGrad, type Edge, type GradNode, type TensorMeta } from "./node.js";
import { callOperator, hasOperator } from "./operator.js";
import { Passing } from "./passing.js";
import { isTensor, type Tensor } from "./tensor.js";

export interface BackwardOptions {
  /** Keep what was saved, so that another pass may come through. Default: as `createGraph`. */
  readonly retainGraph?: boolean;
  /** Record the pass itself, so that its gradients can be differentiated. */
  readonly createGraph?: boolean;
}

export interface GradOptions extends BackwardOptions {
  /** Give null for inputs that the outputs do not depend on, instead of an error. */
  readonly allowUnused?: boolean;
}

/** The nodes from `roots` on, inputs before outputs reversed: each comes after everything that leads to it. */
function reachable(roots: readonly Edge[]): GradNode[] {
  const seen = new Set<GradNode>();
  const open = roots.map((r) => r.node);
  while (open.length > 0) {
    const node = open.pop()!;
    if (seen.has(node)) continue;
    seen.add(node);
    for (const edge of node.edges) if (edge !== null && !seen.has(edge.node)) open.push(edge.node);
  }
  return [...seen].sort((a, b) => b.id - a.id);
}

/** Those of `nodes` (in backward order) from which one of `targets` can be reached. */
function leadingTo(nodes: readonly GradNode[], targets: readonly Edge[]): Set<GradNode> {
  const useful = new Set<GradNode>(targets.map((t) => t.node));
  for (let i = nodes.length - 1; i >= 0; i--) {
    const node = nodes[i]!;
    if (node.edges.some((e) => e !== null && useful.has(e.node))) useful.add(node);
  }
  return useful;
}

const addUp = (a: Tensor, b: Tensor): Tensor => callOperator("add.Tensor", a, b) as Tensor;

const addsInPlace = (a: Tensor, b: Tensor): boolean =>
  a.storage !== b.storage && a.dtype === b.dtype && hasOperator("add_.Tensor");

/** A gradient in the shape and dtype of what it belongs to: broadcast dimensions summed, dtype cast. */
function fitted(grad: Tensor, meta: TensorMeta, by: string): Tensor {
  let g = grad;
  if (!sameShape(g.shape, meta.shape)) {
    const lead = g.ndim - meta.shape.length;
    const fits = lead >= 0 && meta.shape.every((n, i) => n === g.shape[lead + i] || n === 1);
    if (!fits) {
      throw new Error(
        `the derivative of \`${by}\` gave a gradient of shape ${showShape(g.shape)} for an input of shape ${showShape(meta.shape)}`,
      );
    }
    const dims: number[] = [];
    for (let d = 0; d < g.ndim; d++)
      if (d < lead || (meta.shape[d - lead] === 1 && g.shape[d] !== 1)) dims.push(d);
    g = callOperator("sum.dim_IntList", g, dims, true) as Tensor;
    if (lead > 0) g = callOperator("view", g, meta.shape) as Tensor;
  }
  if (g.dtype !== meta.dtype) g = callOperator("_to_copy", g, { dtype: meta.dtype }) as Tensor;
  if (g.device !== meta.device) {
    throw new Error(
      `the derivative of \`${by}\` gave a gradient on ${g.device} for an input on ${meta.device}`,
    );
  }
  return g;
}

/** What a pass collects: gradients of chosen edges, instead of adding to the leaves. */
interface Capture {
  readonly edges: readonly (Edge | null)[];
  readonly grads: (Tensor | null)[];
}

function run(
  roots: readonly Edge[],
  seeds: readonly Tensor[],
  options: BackwardOptions,
  capture: Capture | null,
  /** What the caller handed in: never becomes a leaf's gradient itself, since the caller may write or free it. */
  handed: readonly (Tensor | null)[] = [],
): void {
  const createGraph = options.createGraph ?? false;
  const retain = options.retainGraph ?? createGraph;
  let nodes = reachable(roots);
  if (capture !== null) {
    const useful = leadingTo(
      nodes,
      capture.edges.filter((e): e is Edge => e !== null),
    );
    nodes = nodes.filter((n) => useful.has(n));
  }
  const wanted = new Set(nodes);
  const pending = new Map<GradNode, (Tensor | null)[]>();
  // A recorded pass saves what it makes; it is freed with the pass's scope, or with its results.
  const passing = createGraph ? null : new Passing();
  const give = (edge: Edge, grad: Tensor): void => {
    let slots = pending.get(edge.node);
    if (slots === undefined) {
      slots = new Array<Tensor | null>(edge.node.outputs.length).fill(null);
      pending.set(edge.node, slots);
    }
    const before = slots[edge.index] ?? null;
    if (before !== null && passing?.isOwn(before) && addsInPlace(before, grad)) {
      callOperator("add_.Tensor", before, grad);
      return;
    }
    const sum = before === null ? grad : addUp(before, grad);
    passing?.hold(sum);
    if (before !== null) passing?.drop(before);
    slots[edge.index] = sum;
  };
  /** Adds what a node has for one of its inputs to what waits there already, where that is cheaper than to make it. */
  const addInto = (node: GradNode, grads: readonly (Tensor | null)[]): boolean => {
    const [edge, ...others] = node.edges;
    if (!node.addInto || !edge || !wanted.has(edge.node) || others.some((e) => e !== null)) return false;
    const waiting = pending.get(edge.node)?.[edge.index];
    return waiting != null && passing?.isOwn(waiting) === true && node.addInto(waiting, grads);
  };
  const visit = (node: GradNode, grads: readonly (Tensor | null)[]): void => {
    if (anomalyMode() === null && addInto(node, grads)) return;
    const { edges } = node;
    const inputs = anomalyMode() === null ? node.apply(grads) : watched(node, grads);
    for (let i = 0; i < edges.length; i++) {
      const edge = edges[i];
      const grad = inputs[i];
      if (edge && grad && wanted.has(edge.node))
        give(edge, fitted(grad, edge.node.outputs[edge.index]!, node.name));
    }
  };
  withGradMode(createGraph, () => {
    for (let i = 0; i < roots.length; i++) if (wanted.has(roots[i]!.node)) give(roots[i]!, seeds[i]!);
    for (const node of nodes) {
      const grads = pending.get(node);
      if (grads === undefined) continue;
      pending.delete(node);
      const arrived = grads.slice();
      // What hooks see they may keep.
      if (node.hooks !== null || !node.forgets) for (const g of arrived) if (g) passing?.share(g);
      callHooks(node, grads);
      capture?.edges.forEach((edge, i) => {
        if (edge?.node !== node) return;
        const grad = grads[edge.index] ?? null;
        capture.grads[i] = grad;
        if (grad) passing?.share(grad);
      });
      if (node instanceof AccumulateGrad) {
        if (capture === null) {
          const [grad] = grads;
          accumulate(node.leaf, grad!, createGraph, handed);
          if (node.leaf.grad?.storage === grad!.storage) passing?.share(grad!);
          for (const hook of node.after.slice()) hook(node.leaf);
        }
      } else if (capture === null || node.edges.some((e) => e !== null && wanted.has(e.node))) {
        if (passing && node.forgets) passing.within(() => visit(node, grads));
        else visit(node, grads);
        if (!retain) node.release();
      }
      for (const g of arrived) if (g) passing?.drop(g);
    }
  });
}

/** Where the forward call stood, in words. */
const forwardCall = (node: GradNode): string =>
  node.line === null
    ? `the forward call of \`${node.name}\` was made outside anomaly mode, so its line is not known`
    : `the forward call of \`${node.name}\` stands at ${node.line}`;

/** Applies a node in anomaly mode: what fails, and what makes NaN of gradients without, is named. */
function watched(node: GradNode, grads: readonly (Tensor | null)[]): readonly (Tensor | null | undefined)[] {
  let inputs: readonly (Tensor | null | undefined)[];
  try {
    inputs = node.apply(grads);
  } catch (e) {
    if (e instanceof AnomalyError) throw e;
    throw new AnomalyError(`${e instanceof Error ? e.message : String(e)}; ${forwardCall(node)}`, {
      cause: e,
    });
  }
  if (anomalyMode()?.checkNan)
    inputs.forEach((g, i) => {
      if (g && node.edges[i] && hasNan(g))
        throw new AnomalyError(
          `the derivative of \`${node.name}\` made NaN in the gradient of its input ${i} ${showShape(g.shape)}; ${forwardCall(node)}`,
        );
    });
  return inputs;
}

const hasNan = (g: Tensor): boolean =>
  isFloatDType(g.dtype) && (g.dataSync() as Float32Array).some(Number.isNaN);

function callHooks(node: GradNode, grads: (Tensor | null)[]): void {
  if (node.hooks === null) return;
  for (const [index, hooks] of node.hooks) {
    for (const hook of hooks) {
      const grad = grads[index];
      if (!grad) continue;
      const other = hook(grad);
      if (isTensor(other)) grads[index] = other;
    }
  }
}

function accumulate(
  leaf: Tensor,
  grad: Tensor,
  createGraph: boolean,
  handed: readonly (Tensor | null)[],
): void {
  const before = leaf.grad;
  if (before !== null) {
    leaf.grad = addUp(before, grad);
    return;
  }
  // A gradient of its own memory: what arrives may be an expanded constant, a view of the caller's or another's too.
  const foreign = handed.some((t) => t?.storage === grad.storage);
  const own =
    !foreign && (createGraph || (grad.ownsStorage && grad.isContiguous && !isGradient(grad.storage)));
  leaf.grad = own || !hasOperator("clone") ? grad : (callOperator("clone", grad) as Tensor);
}

function prepare(
  outputs: readonly Tensor[],
  gradOutputs: readonly (Tensor | null | undefined)[] | undefined,
): { roots: Edge[]; seeds: Tensor[] } {
  const roots: Edge[] = [];
  const seeds: Tensor[] = [];
  outputs.forEach((out, i) => {
    const edge = out.edge;
    if (edge === null) {
      throw new Error(
        "backward needs a tensor that requires gradients: none of the tensors it was computed from does, or it was computed inside noGrad",
      );
    }
    let seed = gradOutputs?.[i] ?? null;
    if (seed === null) {
      if (out.numel !== 1 || !isFloatDType(out.dtype)) {
        throw new Error(
          `backward of a tensor of shape ${showShape(out.shape)} needs a gradient of that shape; only for one element it may be left out`,
        );
      }
      seed = constantTensor(out.shape, 1, out.dtype, out.device);
    } else if (!sameShape(seed.shape, out.shape)) {
      throw new Error(
        `the gradient handed to backward has shape ${showShape(seed.shape)}, the tensor ${showShape(out.shape)}`,
      );
    }
    roots.push(edge);
    seeds.push(seed.dtype === out.dtype ? seed : fitted(seed, edge.node.outputs[edge.index]!, "backward"));
  });
  return { roots, seeds };
}

/**
 * Adds the gradients of the sum of `outputs` (weighted by `gradOutputs`, by default 1 for outputs of one element) to
 * the `.grad` of every leaf that requires gradients. Frees what was saved unless `retainGraph`.
 */
export function backward(
  outputs: readonly Tensor[],
  gradOutputs?: readonly (Tensor | null)[],
  options: BackwardOptions = {},
): void {
  scope(() => {
    const { roots, seeds } = prepare(outputs, gradOutputs);
    run(roots, seeds, options, null, gradOutputs);
  });
}

/**
 * The gradients of the sum of `outputs` with respect to `inputs`, leaving every `.grad` alone.
 *
 * @example const [dx] = grad([loss], [x], undefined, { createGraph: true });
 */
export function grad(
  outputs: readonly Tensor[],
  inputs: readonly Tensor[],
  gradOutputs?: readonly (Tensor | null)[],
  options: GradOptions = {},
): (Tensor | null)[] {
  return scope(() => {
    const { roots, seeds } = prepare(outputs, gradOutputs);
    const edges = inputs.map((t) => t.edge);
    edges.forEach((e, i) => {
      if (e === null) throw new Error(`input ${i} of grad() does not require gradients`);
    });
    const capture: Capture = { edges, grads: inputs.map(() => null) };
    run(roots, seeds, options, capture);
    capture.grads.forEach((g, i) => {
      if (g === null && !options.allowUnused) {
        throw new Error(
          `the outputs do not depend on input ${i} of grad(); pass { allowUnused: true } to get null for it`,
        );
      }
    });
    return capture.grads;
  });
}
