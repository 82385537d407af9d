// DeepSeek-V3's layers that predict further tokens, as a part of the training loss: what is summed, and where gradients go.

import { describe, expect, it } from "vitest";
import { createModel } from "../models/load.js";
import { RECOMPUTE, type Training } from "../models/training.js";
import type { LanguageModel } from "../models/transformer.js";
import { AdamW } from "../nn/index.js";
import "../chips/index.js";
import { loadChip, scope } from "../runtime/index.js";
import { noGrad, type Tensor, tensor } from "../tensor/index.js";
import { type Batch, IGNORE, makeBatch, splitBatch } from "./data/index.js";
import { StepRandom } from "./random.js";
import { computeGradients } from "./step.js";

await loadChip("wasm");
const VOCABULARY = 29;
const raw = { model_type: "deepseek_v3", vocab_size: VOCABULARY, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 2, max_position_embeddings: 32, initializer_range: 0.3, kv_lora_rank: 8, q_lora_rank: null, qk_nope_head_dim: 4, qk_rope_head_dim: 4, v_head_dim: 4, n_routed_experts: 4, n_shared_experts: 1, num_experts_per_tok: 2, moe_intermediate_size: 8, first_k_dense_replace: 1, n_group: 2, topk_group: 1, num_nextn_predict_layers: 2 }; // biome-ignore format: a list

/** Sequences of unequal length; one is shorter than what the last layer looks ahead, and prompts are not learned. */
const batch = makeBatch(
  [11, 6, 3, 9].map((n, r) => ({
    tokens: Array.from({ length: n }, (_, i) => (i * 11 + r * 7 + 2) % VOCABULARY),
    learned: Array.from({ length: n }, (_, i) => Number(i >= r)),
  })),
  10,
  0,
);

const weight = 0.3;
const make = (ahead = true): LanguageModel => createModel(raw, { device: "wasm", seed: 7, ahead });

async function gradients(
  model: LanguageModel,
  {
    parts = 1,
    mtp = { weight },
    ...training
  }: { parts?: number; mtp?: { weight: number } | null } & Training,
): Promise<{ loss: number; grads: Map<string, number[]> }> {
  const settings = { betas: [0.9, 0.95] as [number, number], eps: 1e-8, weightDecay: 0, masterWeights: true };
  const optimizer = new AdamW(model.namedParameters(), settings);
  const learner = { model, optimizer, mtp: mtp ?? undefined };
  const { loss, scale } = await computeGradients(learner, splitBatch(batch, parts), undefined, training);
  scale.dispose();
  const grads = new Map<string, number[]>();
  for (const [name, p] of model.namedParameters()) {
    if (!p.grad) continue;
    grads.set(name, [...((await p.grad.data()) as Float32Array)]);
  }
  scope(() => model.zeroGrad());
  optimizer.dispose();
  return { loss, grads };
}

/** The mean of -log softmax at the targets that stand `ahead` places further, in doubles. */
async function plainLoss(logits: Tensor, { rows, columns, targets }: Batch, ahead: number): Promise<number> {
  const values = (await logits.data()) as Float32Array;
  const width = columns - ahead;
  expect(logits.shape).toEqual([rows, width, VOCABULARY]);
  let [sum, count] = [0, 0];
  for (let row = 0; row < rows; row++)
    for (let i = 0; i < width; i++) {
      const target = Number(targets[row * columns + i + ahead]!);
      if (target === IGNORE) continue;
      const at = (row * width + i) * VOCABULARY;
      const line = [...values.subarray(at, at + VOCABULARY)];
      sum += Math.log(line.reduce((s, x) => s + Math.exp(x), 0)) - line[target]!;
      count++;
    }
  return sum / count;
}

describe("further tokens in the loss", () => {
  it("adds the mean of the layers' losses, times the weight, to the next token's", async () => {
    const model = make();
    const ids = tensor(batch.inputs, { shape: [batch.rows, batch.columns], device: "wasm" });
    const logits = noGrad(() => scope(() => model.forwardAhead(ids)));
    const [next, second, third] = await Promise.all(logits.map((l, i) => plainLoss(l, batch, i)));
    const { loss } = await gradients(model, {});
    expect(Math.abs(loss - (next! + (weight * (second! + third!)) / 2))).toBeLessThan(1e-5);
    expect(Math.abs((await gradients(model, { mtp: null })).loss - next!)).toBeLessThan(1e-5);
    model.dispose();
  });

  it("gives gradients to those layers, and through them to the model", async () => {
    const model = make();
    const [plain, more] = [await gradients(model, { mtp: null }), await gradients(model, {})];
    const names = [...model.namedParameters().keys()].filter((n) => !n.endsWith("e_score_correction_bias"));
    expect([...more.grads.keys()].sort()).toEqual(names.sort());
    expect(names.filter((n) => n.startsWith("predict.")).length).toBeGreaterThan(20);
    expect([...plain.grads.keys()].filter((n) => n.startsWith("predict."))).toEqual([]);
    for (const [name, g] of more.grads) {
      if (/experts/.test(name)) continue;
      expect([name, g.some((x) => x !== 0)]).toEqual([name, true]);
      expect([name, g.every(Number.isFinite)]).toEqual([name, true]);
    }
    expect(more.grads.get("model.layers.0.self_attn.o_proj.weight")).not.toEqual(
      plain.grads.get("model.layers.0.self_attn.o_proj.weight"),
    );
    model.dispose();
  });

  it("has the slope of the loss in a weight of the last such layer", async () => {
    const model = make();
    const name = "predict.1.eh_proj.weight";
    const p = model.namedParameters().get(name)!;
    const slope = (await gradients(model, {})).grads.get(name)!;
    const at = slope.reduce((best, x, i) => (Math.abs(x) > Math.abs(slope[best]!) ? i : best), 0);
    const values = (await p.data()) as Float32Array;
    const lossAt = async (shift: number): Promise<number> => {
      const moved = values.slice();
      moved[at]! += shift;
      noGrad(() => scope(() => p.copy_(tensor(moved, { shape: p.shape, device: "wasm" }))));
      return (await gradients(model, {})).loss;
    };
    const h = 0.02;
    const measured = ((await lossAt(h)) - (await lossAt(-h))) / (2 * h);
    expect(Math.abs(measured - slope[at]!)).toBeLessThan(0.03 * Math.abs(slope[at]!));
    model.dispose();
  });

  it("is the same in parts, and with activations computed again", async () => {
    const model = make();
    const whole = await gradients(model, {});
    const parts = await gradients(model, { parts: 4 });
    expect(Math.abs(parts.loss - whole.loss)).toBeLessThan(1e-6 * whole.loss);
    for (const [name, g] of whole.grads)
      g.forEach((x, i) => {
        expect(Math.abs(parts.grads.get(name)![i]! - x)).toBeLessThan(1e-5);
      });
    const dropout = { attention: 0.1, residual: 0.2, embedding: 0.1 };
    const seen = [];
    for (const recompute of RECOMPUTE)
      seen.push(await gradients(model, { recompute, dropout, generator: new StepRandom(1).at(3) }));
    expect(seen[1]).toEqual(seen[0]);
    expect(seen[2]).toEqual(seen[0]);
    expect(seen[0]!.loss).not.toBe(whole.loss);
    model.dispose();
  });

  it("refuses what has no such layers, or too few tokens for them", () => {
    const ids = tensor([[1n, 2n]], { device: "wasm" });
    const without = make(false);
    expect(() => without.forwardAhead(ids)).toThrow(/no layers that predict further tokens/);
    without.dispose();
    const model = make();
    expect(() => model.forwardAhead(ids)).toThrow(/2 tokens are too few for 2 layers that look ahead/);
    model.dispose();
  });
});
