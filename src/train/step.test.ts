// One step in all its variants: in parts, with activations computed again, in bf16 with f32 copies, with dropout.

import { afterEach, describe, expect, it } from "vitest";
import { createModel, type ModelDType } from "../models/load.js";
import { RECOMPUTE, type Training } from "../models/training.js";
import type { LanguageModel } from "../models/transformer.js";
import { AdamW } from "../nn/index.js";
import "../chips/index.js";
import { defaultGenerator, loadChip, memoryStats, resetPeakMemory } from "../runtime/index.js";
import { makeBatch, splitBatch } from "./data/index.js";
import { StepRandom } from "./random.js";
import { computeGradients, trainStep } from "./step.js";

const chip = await loadChip("wasm");
const shape = { vocab_size: 41, hidden_size: 32, intermediate_size: 96, num_hidden_layers: 2, num_attention_heads: 4, max_position_embeddings: 64, initializer_range: 0.3 }; // biome-ignore format: a list
const FAMILIES: Record<string, Record<string, unknown>> = {
  llama: { ...shape, model_type: "llama", num_key_value_heads: 2 },
  gpt2: { model_type: "gpt2", vocab_size: 41, n_embd: 32, n_layer: 2, n_head: 4, n_positions: 64, initializer_range: 0.3 },
  "deepseek_v3, experts": { ...shape, model_type: "deepseek_v3", kv_lora_rank: 16, q_lora_rank: null, qk_nope_head_dim: 8, qk_rope_head_dim: 8, v_head_dim: 8, n_routed_experts: 4, n_shared_experts: 1, num_experts_per_tok: 2, moe_intermediate_size: 16, first_k_dense_replace: 1, n_group: 2, topk_group: 1 },
}; // biome-ignore format: a line each

/** Four sequences of unequal length, so that targets are spread unevenly over parts. */
const batch = makeBatch(
  [20, 7, 2, 13].map((n, r) => ({
    tokens: Array.from({ length: n }, (_, i) => (i * 17 + r * 5 + 3) % 41),
    learned: Array.from({ length: n }, (_, i) => Number(i >= r)),
  })),
  24,
  0,
);

const live: { dispose(): void }[] = [];
afterEach(() => {
  for (const l of live.splice(0)) l.dispose();
});
function make(raw: Record<string, unknown> = FAMILIES["llama"]!, dtype: ModelDType = "f32"): LanguageModel {
  const model = createModel(raw, { device: "wasm", seed: 5, dtype });
  live.push(model);
  return model;
}

interface Gradients {
  readonly loss: number;
  readonly grads: ReadonlyMap<string, readonly number[]>;
}

async function gradients(
  model: LanguageModel,
  options: { accumulate?: number; training?: Training } = {},
): Promise<Gradients> {
  const optimizer = new AdamW(model.namedParameters(), {
    betas: [0.9, 0.95],
    eps: 1e-8,
    weightDecay: 0,
    masterWeights: true,
  });
  const batches = splitBatch(batch, options.accumulate ?? 1);
  const { loss, scale } = await computeGradients({ model, optimizer }, batches, undefined, options.training);
  scale.dispose();
  const grads = new Map<string, readonly number[]>();
  for (const [name, p] of model.namedParameters()) {
    if (!p.grad) continue;
    expect(p.grad.dtype).toBe("f32");
    grads.set(name, [...((await p.grad.data()) as Float32Array)]);
    p.grad.dispose();
  }
  model.zeroGrad();
  return { loss, grads };
}

/** The largest difference of two sets of gradients, relative to the largest gradient. */
function distance(a: Gradients, b: Gradients): number {
  let [most, off] = [0, 0];
  for (const [name, xs] of a.grads)
    xs.forEach((x, i) => {
      most = Math.max(most, Math.abs(x));
      off = Math.max(off, Math.abs(x - b.grads.get(name)![i]!));
    });
  return off / most;
}

describe("accumulation", () => {
  it("gives the loss and the gradients of the whole batch, though parts have unequally many targets", async () => {
    const model = make();
    const whole = await gradients(model);
    for (const accumulate of [2, 4]) {
      const parts = await gradients(model, { accumulate });
      expect(Math.abs(parts.loss - whole.loss)).toBeLessThan(1e-6 * whole.loss);
      expect(distance(whole, parts)).toBeLessThan(1e-6);
    }
    expect(() => splitBatch(batch, 3)).toThrow(/a batch of 4 sequences does not fall into 3 equal parts/);
  });

  it("adds up bf16 gradients in f32", async () => {
    const model = make(undefined, "bf16");
    const parts = await gradients(model, { accumulate: 4 });
    const exact = await gradients(make());
    expect(Math.abs(parts.loss - exact.loss)).toBeLessThan(0.02 * exact.loss);
  });
});

describe("recompute", () => {
  const dropout = { attention: 0.1, residual: 0.2, embedding: 0.1 };

  it.each(Object.entries(FAMILIES))("gives bit-equal gradients for %s, with dropout too", async (_n, raw) => {
    const model = make(raw);
    for (const rates of [undefined, dropout]) {
      const seen: Gradients[] = [];
      for (const recompute of RECOMPUTE)
        seen.push(
          await gradients(model, {
            training: { recompute, dropout: rates, generator: new StepRandom(1).at(3) },
          }),
        );
      expect(seen[1]).toEqual(seen[0]);
      expect(seen[2]).toEqual(seen[0]);
    }
  });

  it("keeps less for the backward pass the more it recomputes", async () => {
    const model = make({ ...FAMILIES["llama"], num_hidden_layers: 6 });
    const peaks: number[] = [];
    for (const recompute of RECOMPUTE) {
      await gradients(model, { training: { recompute } });
      const before = memoryStats(chip).allocated;
      resetPeakMemory(chip);
      await gradients(model, { training: { recompute } });
      peaks.push(memoryStats(chip).peak - before);
    }
    const [none, selective, full] = peaks as [number, number, number];
    expect(selective).toBeLessThan(0.8 * none);
    expect(full).toBeLessThan(0.9 * selective);
  });
});

describe("dropout", () => {
  const rates = { attention: 0.2, residual: 0.2, embedding: 0.2 };

  it("is decided by seed and step alone, and is off without", async () => {
    const model = make();
    const at = async (seed: number, step: number, dropout = rates) =>
      gradients(model, { training: { dropout, generator: new StepRandom(seed).at(step) } });
    const first = await at(1, 4);
    defaultGenerator.random();
    expect(await at(1, 4)).toEqual(first);
    expect((await at(1, 5)).loss).not.toBe(first.loss);
    expect((await at(2, 4)).loss).not.toBe(first.loss);
    expect(await at(1, 4, { attention: 0, residual: 0, embedding: 0 })).toEqual(await gradients(model));
  });

  it.each(["attention", "residual", "embedding"] as const)("reaches %s", async (part) => {
    const model = make();
    const dropout = { attention: 0, residual: 0, embedding: 0, [part]: 0.5 };
    const one = await gradients(model, { training: { dropout, generator: new StepRandom(1).at(1) } });
    expect(distance(await gradients(model), one)).toBeGreaterThan(0.01);
  });
});

describe("bf16 with f32 master weights", () => {
  it("takes updates that bf16 alone would round away", async () => {
    const moved = async (masterWeights: boolean) => {
      const model = make(undefined, "bf16");
      const optimizer = new AdamW(model.namedParameters(), {
        betas: [0.9, 0.95],
        eps: 1e-8,
        weightDecay: 0,
        masterWeights,
      });
      live.push(optimizer);
      const norm = model.namedParameters().get("model.norm.weight")!;
      // A bf16 next to 1 is 2^-8 or 2^-7 away: ten steps of 2^-11 only add up where they are kept.
      for (let i = 0; i < 10; i++) await trainStep(model, optimizer, batch, { learningRate: 2 ** -11 });
      const state = optimizer.stateTensors();
      expect(state.has("master.model.norm.weight")).toBe(masterWeights);
      const values = [...((await norm.data()) as Float32Array)];
      if (masterWeights) {
        const master = (await state.get("master.model.norm.weight")!.data()) as Float32Array;
        for (const [i, v] of values.entries()) expect(Math.abs(v - master[i]!)).toBeLessThanOrEqual(2 ** -8);
      }
      return values.filter((v) => v !== 1).length;
    };
    expect(await moved(true)).toBeGreaterThan(20);
    expect(await moved(false)).toBe(0);
  });

  it("learns as f32 does", async () => {
    const last = async (dtype: ModelDType) => {
      const model = make(undefined, dtype);
      const optimizer = new AdamW(model.namedParameters(), {
        betas: [0.9, 0.95],
        eps: 1e-8,
        weightDecay: 0.1,
        masterWeights: true,
      });
      live.push(optimizer);
      let loss = 0;
      for (let i = 0; i < 12; i++)
        ({ loss } = await trainStep(model, optimizer, batch, {
          learningRate: 0.01,
          clipNorm: 1,
          accumulate: 2,
        }));
      return loss;
    };
    const [f32, bf16] = [await last("f32"), await last("bf16")];
    expect(Math.abs(bf16 - f32)).toBeLessThan(0.05 * f32);
  });
});
