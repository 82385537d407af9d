// What a training run takes of a chip's memory at least, from shapes alone: weights, gradients and optimizer exactly,
// activations as far as no implementation can do without them. A dry run measures the rest.

import type { Recompute } from "../models/training.js";

/** A run's sizes. */
export interface MemoryInputs {
  /** Every parameter by its name; `trained`: it has a gradient. */
  readonly parameters: Iterable<{
    readonly name: string;
    readonly shape: readonly number[];
    readonly bytes: number;
    readonly trained: boolean;
  }>;
  /** f32 copies of half weights, and f32 gradients. */
  readonly master: boolean;
  /** Tokens of the batch that is computed at once, padding too. */
  readonly tokens: number;
  /** Bytes of an element of the activations. */
  readonly activationBytes: number;
  readonly hiddenSize: number;
  readonly vocabSize: number;
  readonly recompute: Recompute;
  /** Experts that a token goes to, where a layer has experts. */
  readonly expertsPerToken: number;
  /** Layers that learn to predict further tokens. Default none. */
  readonly predictLayers?: number;
}

/** In bytes. */
export interface MemoryEstimate {
  readonly weights: number;
  readonly gradients: number;
  readonly optimizer: number;
  readonly activations: number;
}

const numel = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/**
 * The least. Activations: each matrix of a layer keeps its output for each token, each norm its input and output,
 * attention its result, the MLP its product; the loss has the logits and their gradient in f32. With `full`
 * recomputation a layer keeps its input, and one layer's activations are there at a time; with `selective`, the hidden
 * states around attention and MLP.
 */
export function estimateMemory(m: MemoryInputs): MemoryEstimate {
  let [weights, gradients, optimizer] = [0, 0, 0];
  /** Elements a token by layer. */
  const layers = new Map<string, number>();
  const { predictLayers = 0 } = m;
  const inLayer = predictLayers > 0 ? /^(?:model\.layers|predict)\.\d+\./ : /^model\.layers\.\d+\./;
  for (const { name, shape, bytes, trained } of m.parameters) {
    const n = numel(shape);
    weights += n * bytes;
    if (trained) {
      const copied = m.master && bytes < 4;
      gradients += n * (copied ? 4 : bytes);
      optimizer += n * (copied ? 12 : 8);
    }
    const layer = inLayer.exec(name)?.[0];
    if (layer === undefined) continue;
    const outputs =
      shape.length === 1
        ? /norm/.test(name) && /weight$/.test(name)
          ? 2 * shape[0]!
          : 0
        : shape.length === 2
          ? shape[0]!
          : shape[1]! * m.expertsPerToken;
    // Attention's result stands before o_proj, the MLP's product before down_proj: each is that matrix's input.
    const input = /(o_proj|down_proj)[^.]*\.?weight$/.test(name) ? shape.at(-1)! : 0;
    layers.set(layer, (layers.get(layer) ?? 0) + outputs + input);
  }
  const all = [...layers.values()];
  const most = all.reduce((a, b) => Math.max(a, b), 0);
  const h = m.hiddenSize;
  const kept =
    m.recompute === "none"
      ? all.reduce((a, b) => a + b, 0)
      : m.recompute === "full"
        ? all.length * h + most
        : all.length * 6 * h + most;
  // Hidden states into and out of the last norm, and the losses.
  const logits = (1 + predictLayers) * m.vocabSize;
  const activations = m.tokens * ((kept + 3 * h) * m.activationBytes + 2 * logits * 4);
  return { weights, gradients, optimizer, activations };
}

export const totalOf = (e: MemoryEstimate): number => e.weights + e.gradients + e.optimizer + e.activations;
