// GPTQ over a model that was trained for a moment: on text that it was not calibrated on it costs less than rounding to the nearest.

import * as fs from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import "../chips/index.js";
import { AdamW } from "../nn/index.js";
import { crossEntropy, dequantize } from "../ops/index.js";
import { loadChip, scope } from "../runtime/index.js";
import { noGrad, type Tensor, tensor } from "../tensor/index.js";
import { calibrated } from "./gptq.js";
import { createModel } from "./load.js";
import { perplexity } from "./perplexity.js";
import { bitsOf } from "./integers.js";
import { roundInPlace } from "./quantize.js";

const device = "wasm";
beforeAll(async () => {
  await loadChip(device);
});

const raw = {
  model_type: "llama",
  vocab_size: 128,
  hidden_size: 48,
  intermediate_size: 96,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 64,
  initializer_range: 0.1,
};
/** A text that stays as it is: the licence, a token per letter. */
const text = fs.readFileSync(join(import.meta.dirname, "../../LICENSE"), "ascii");
const ids = [...Buffer.from(text, "ascii")].map((b) => b & 127);
const heldOut = ids.slice(-1500);
const seen = ids.slice(0, -1500);
const piece = (at: number) => seen.slice(at % (seen.length - 66), (at % (seen.length - 66)) + 65);

/**
 * Some inputs of each matrix become 8 times as small and their weights as large, as in large models: what is computed
 * stays, but scales must span more.
 */
function outliers(parameters: Map<string, Tensor>): void {
  const readers = {
    input_layernorm: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    post_attention_layernorm: ["mlp.gate_proj", "mlp.up_proj"],
  };
  noGrad(() =>
    scope(() => {
      for (let layer = 0; layer < raw.num_hidden_layers; layer++)
        for (const [norm, matrices] of Object.entries(readers)) {
          const of = (name: string) => parameters.get(`model.layers.${layer}.${name}.weight`)!;
          of(norm).slice(0, 0, null, 16).div_(8);
          for (const m of matrices) of(m).slice(1, 0, null, 16).mul_(8);
        }
    }),
  );
}

it("costs less than rounding to the nearest", async () => {
  const model = createModel(raw, { device, seed: 1 });
  const adam = new AdamW(model.namedParameters(), { betas: [0.9, 0.99], eps: 1e-8, weightDecay: 0 });
  for (let step = 0; step < 140; step++)
    scope(() => {
      const rows = Array.from({ length: 8 }, (_, r) => piece((step * 8 + r) * 331));
      const list = (from: number) =>
        BigInt64Array.from(
          rows.flatMap((r) => r.slice(from, from + 64)),
          BigInt,
        );
      const logits = model.forward(tensor(list(0), { shape: [8, 64], device }));
      const loss = crossEntropy(logits.view([512, 128]), tensor(list(1), { shape: [512], device }));
      model.zeroGrad();
      loss.backward();
      adam.step(0.01, 1);
    });
  outliers(model.namedParameters());
  const trained = new Map(
    [...model.namedParameters()].map(([name, p]) => [name, noGrad(() => p.detach().clone())]),
  );
  const restore = () =>
    noGrad(() => {
      for (const [name, p] of model.namedParameters()) p.copy_(trained.get(name)!);
    });
  const before = await perplexity(model, heldOut);
  expect(before).toBeLessThan(20);

  roundInPlace(model, { bits: 4, groupSize: 0 });
  const nearest = await perplexity(model, heldOut);
  restore();

  const chosen = new Set(
    [...model.namedParameters()].filter(([n, p]) => bitsOf(n, p.shape, { bits: 4 })).map(([n]) => n),
  );
  expect(chosen.size).toBe(14);
  const samples = Array.from({ length: 32 }, (_, i) => piece(i * 577).slice(0, 64));
  const after = async (actOrder: boolean): Promise<number> => {
    const done: string[] = [];
    const options = { samples, bits: 4, groupSize: 0, actOrder } as const;
    for await (const [name, [packed, scales]] of calibrated(model, chosen, options)) {
      done.push(name);
      const weight = model.namedParameters().get(name)!;
      const stands = noGrad(() => dequantize(packed, scales, null, weight.shape[1]!, { groupSize: 0 }));
      // What is computed with from here on is what the integers stand for.
      const [a, b] = [await stands.data(), await weight.data()];
      expect(a.every((v, i) => Math.abs(Number(v) - Number(b[i])) < 1e-6)).toBe(true);
      for (const t of [packed, scales, stands]) t.dispose();
    }
    expect(new Set(done)).toEqual(chosen);
    const p = await perplexity(model, heldOut);
    restore();
    return p;
  };
  const [plain, ordered] = [await after(false), await after(true)];
  expect(nearest / before - 1).toBeGreaterThan(0.1);
  expect(plain / before - 1).toBeLessThan(0.5 * (nearest / before - 1));
  expect(ordered / before - 1).toBeLessThan(0.5 * (nearest / before - 1));
  const long = { samples: [new Array<number>(65).fill(1)], bits: 4, groupSize: 0 } as const;
  await expect(calibrated(model, chosen, long).next()).rejects.toThrow(
    /65 tokens does not fit the context of 64/,
  );
  model.dispose();
});
