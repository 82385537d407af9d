// Fused operators against plain compositions (their references, or operators of the table) and numbers that torch and
// transformers gave for the same formulas; on every chip, forward and backward, past one block of each kernel.

import { describe, expect, it } from "vitest";
import { grad, noGrad, type OperatorRecord, type Tensor, tensor, useOps } from "../tensor/index.js";
import {
  adamwStep_,
  adamwSteps_,
  add,
  addRmsNorm,
  cat,
  crossEntropyRows,
  gatedHalves,
  gelu,
  geluMul,
  geluTanhMul,
  groupedMm,
  linearCrossEntropy,
  matmul,
  mm,
  moeApply,
  moeRoute,
  mul,
  penalize,
  rmsNorm,
  rotary,
  silu,
  siluMul,
  sortByExpert,
  sum,
} from "./index.js";
import { distance, noise, numbers, onEachChip } from "./testing/chips.js";
import { ROUTING } from "./testing/routing.js";

const leaf = (shape: readonly number[], seed: number, dtype: "f32" | "f64" = "f32"): Tensor =>
  (noise(shape, seed).to(dtype) as Tensor).detach().requiresGrad_();
/** Runs `fn` with an operator's kernel switched off, and makes sure that its reference ran. */
function plainly<T>(rule: string, fn: () => T): T {
  const ran: OperatorRecord[] = [];
  const result = useOps({ exclude: [rule], record: ran }, fn);
  expect(ran.some((r) => r.implementation === "reference")).toBe(true);
  return result;
}

/** Results and gradients of two ways to compute. */
async function same(
  fast: readonly Tensor[],
  plain: readonly Tensor[],
  leaves: readonly Tensor[],
  tolerance = 2e-5,
): Promise<void> {
  for (const [i, y] of fast.entries()) expect(await distance(y, plain[i]!)).toBeLessThan(tolerance);
  const seeds = fast.map((y, i) => noise(y.shape, 90 + i).to(y.dtype) as Tensor);
  const want = grad(plain, leaves, seeds, { retainGraph: true }) as Tensor[];
  for (const [i, d] of (grad(fast, leaves, seeds) as Tensor[]).entries())
    expect(await distance(d, want[i]!)).toBeLessThan(tolerance * 10);
}

await onEachChip((chip) => {
  const slow = chip === "interpreter";

  describe("addRmsNorm", () => {
    it.each([
      [1, 1],
      [37, 33],
      [3, 5000],
    ])("%i rows of %i", async (rows, cols) => {
      if (slow && rows * cols > 10000) return;
      const [x, r, w] = [leaf([rows, cols], 1), leaf([rows, cols], 2), leaf([cols], 3)];
      await same(
        addRmsNorm(x, r, w, 1e-5),
        plainly("add_rms_norm:vexil", () => addRmsNorm(x, r, w, 1e-5)),
        [x, r, w],
      );
      const [y, s] = addRmsNorm(x, r, w, 1e-5);
      const t = add(x, r);
      await same([y, s], [rmsNorm(t, [cols], w, 1e-5), t], [x, r, w]);
    });

    it("rounds the sum as the plain way does, and lets one result go unused", async () => {
      const [x, r, w] = [noise([5, 64], 1).to("bf16") as Tensor, noise([5, 64], 2).to("bf16") as Tensor, noise([64], 3).to("bf16") as Tensor]; // biome-ignore format: one line
      const [y, s] = addRmsNorm(x, r, w);
      expect([y.dtype, s.dtype]).toEqual(["bf16", "bf16"]);
      expect(await distance(s, add(x, r))).toBe(0);
      expect(await distance(y, rmsNorm(add(x, r), [64], w, 1e-6))).toBe(0);
      const a = leaf([2, 8], 4);
      await same([addRmsNorm(a, a)[1]], [add(a, a)], [a]);
      expect(() => addRmsNorm(a, noise([2, 9]))).toThrow(/must have one shape and dtype/);
    });
  });

  describe("rotary", () => {
    it.each([false, true])("interleaved %s, forward and backward", async (interleaved) => {
      const x = leaf([2, 3, 5, 8], 1);
      const [cos, sin] = [noise([5, 4], 2), noise([5, 4], 3)];
      const fast = rotary(x, cos, sin, false, interleaved);
      await same([fast], [plainly("rotary:vexil", () => rotary(x, cos, sin, false, interleaved))], [x]);
      const back = rotary(x, cos, sin, true, interleaved);
      await same([back], [plainly("rotary:vexil", () => rotary(x, cos, sin, true, interleaved))], [x]);
    });

    it("interleaved turns pairs of neighbours, as the complex product does", async () => {
      const x = tensor([1, 2, 3, 4], { shape: [1, 1, 1, 4], dtype: "f64" });
      const [a, b] = [0.3, 1.1];
      const y = rotary(
        x,
        tensor([[Math.cos(a), Math.cos(b)]], { dtype: "f64" }),
        tensor([[Math.sin(a), Math.sin(b)]], { dtype: "f64" }),
        false,
        true,
      );
      const want = [
        Math.cos(a) - 2 * Math.sin(a),
        Math.sin(a) + 2 * Math.cos(a),
        3 * Math.cos(b) - 4 * Math.sin(b),
        3 * Math.sin(b) + 4 * Math.cos(b),
      ];
      (await numbers(y)).forEach((v, i) => {
        expect(v).toBeCloseTo(want[i]!, 12);
      });
    });
  });

  describe("gated activations", () => {
    it("are the activation times what it lets through", async () => {
      const [g, u] = [leaf([7, 13], 1), leaf([7, 13], 2)];
      await same([geluMul(g, u)], [mul(gelu(g), u)], [g, u]);
      await same([geluTanhMul(g, u)], [mul(gelu(g, { approximate: "tanh" }), u)], [g, u]);
      await same([siluMul(g, u)], [mul(mul(g, g.sigmoid()), u)], [g, u]);
      const x = leaf([3, 10], 3);
      await same([gatedHalves(x)], [siluMul(x.narrow(1, 0, 5), x.narrow(1, 5, 5))], [x]);
      expect(() => gatedHalves(noise([2, 3]))).toThrow(/must be even, not 3/);
    });

    it("have the gradients of f32, rounded, in 16 bits", async () => {
      for (const dtype of ["bf16", "f16"] as const) {
        const [g, u] = [noise([7, 13], 1).to(dtype), noise([7, 13], 2).to(dtype)];
        const gradients = async (run: (g: Tensor, u: Tensor) => Tensor, wide: boolean): Promise<number[]> => {
          const [a, b] = [g, u].map((t) => (wide ? t.to("f32") : t.clone()).requiresGrad_()) as [
            Tensor,
            Tensor,
          ];
          run(a, b).to("f32").sum().backward();
          return [...(await numbers(a.grad!)), ...(await numbers(b.grad ?? g))];
        };
        for (const run of [siluMul, (x: Tensor) => silu(x), (x: Tensor) => x.sigmoid()]) {
          const want = await gradients(run, true);
          (await gradients(run, false)).forEach((v, i) => {
            expect(Math.abs(v - want[i]!)).toBeLessThan(
              (dtype === "bf16" ? 2 ** -7 : 2 ** -9) * (Math.abs(want[i]!) + 0.1),
            );
          });
        }
      }
    });
  });

  describe("linearCrossEntropy", () => {
    it("gives what the whole logits give, whatever the chunk", async () => {
      const [h, w] = [leaf([19, 12], 1), leaf([50, 12], 2)];
      const target = tensor(Array.from({ length: 19 }, (_, i) => (i === 4 ? -100 : (i * 7) % 50)));
      for (const chunk of [0, 1, 4, 19, 64]) {
        const [loss, lse] = linearCrossEntropy(h, w, target, { chunk });
        const [l, e] = crossEntropyRows(mm(h, w.t()), target);
        expect(await distance(lse, e)).toBeLessThan(1e-5);
        await same([loss], [l], [h, w]);
      }
      expect(() => linearCrossEntropy(h, noise([50, 11]), target)).toThrow(
        /linear_cross_entropy: needs hidden/,
      );
    });

    it("goes its plain way by rule", async () => {
      const x = leaf([6, 9], 1);
      const target = tensor([0, 8, -100, 3, 3, 1]);
      const fast = crossEntropyRows(x, target);
      const plain = plainly("cross_entropy_rows:vexil", () => crossEntropyRows(x, target));
      for (const i of [0, 1] as const) expect(await distance(fast[i], plain[i])).toBeLessThan(1e-5);
    });
  });

  describe("adamwSteps_", () => {
    it("updates many tensors as one after the other", async () => {
      const sizes = [3, 1, 700, 40, 5, 0, 1200, 2, 9];
      const make = () => sizes.map((n, i) => noise([n], 10 + i));
      const [a, b, ma, mb] = [make(), make(), make(), make()];
      const square = (list: Tensor[]): Tensor[] => list.map((t) => mul(t, t));
      const [va, vb] = [square(ma), square(mb)];
      const grads = sizes.map((n, i) => noise([n], 50 + i));
      const options = { lr: 0.1, beta1: 0.9, beta2: 0.95, eps: 1e-8, step: 3 };
      const scale = tensor(0.5, { dtype: "f32" });
      noGrad(() => {
        adamwSteps_(a, grads, ma, va, {
          ...options,
          weightDecay: sizes.map((_, i) => i / 10),
          gradScale: scale,
        });
        for (const [i, p] of b.entries())
          adamwStep_(p, grads[i]!, mb[i]!, vb[i]!, { ...options, weightDecay: i / 10, gradScale: scale });
      });
      for (const i of sizes.keys())
        for (const [x, y] of [[a, b], [ma, mb], [va, vb]] as const) expect(await distance(x[i]!, y[i]!)).toBe(0); // biome-ignore format: one line
      expect(a[2]!.version).toBe(1);
      expect(() => adamwSteps_(a, grads.slice(1), ma, va, { ...options, weightDecay: [] })).toThrow(
        /adamw: 9 parameters/,
      );
    });
  });

  describe("moeRoute", () => {
    const logits = () => tensor([...ROUTING.logits], { shape: [3, 12], dtype: "f32", requiresGrad: true });
    it.each(ROUTING.cases)("$name, as torch", async ({ options, k, weights, experts, dlogits }) => {
      const x = logits();
      const bias = options.bias ? tensor([...ROUTING.bias], { dtype: "f32" }) : null;
      const [w, e] = moeRoute(x, k, { ...options, bias });
      expect(await numbers(e)).toEqual(experts);
      (await numbers(w)).forEach((v, i) => {
        expect(v).toBeCloseTo(weights[i]!, 5);
      });
      const seed = tensor(
        Float32Array.from({ length: 3 * k }, (_, i) => Math.cos(i)),
        { shape: [3, k] },
      );
      const [dx] = grad([w], [x], [seed]);
      (await numbers(dx!)).forEach((v, i) => {
        expect(v).toBeCloseTo(dlogits[i]!, 5);
      });
    });

    it("refuses what does not fit", () => {
      const x = noise([2, 12]);
      expect(() => moeRoute(x, 13)).toThrow(/topK is between 1 and the 12 experts/);
      expect(() => moeRoute(x, 5, { groups: 3, topGroups: 1 })).toThrow(/the 4 experts/);
      expect(() => moeRoute(x, 2, { groups: 5 })).toThrow(/do not fall into 5 equal groups/);
    });
  });

  describe("groupedMm", () => {
    it.each([
      [[3, 0, 5, 1], 4, 6],
      [[70, 1, 0, 200], 40, 72],
      [[0, 0], 8, 8],
    ] as const)("groups %j", async (lengths, K, N) => {
      if (slow && K > 20) return;
      const rows = lengths.reduce<number>((a, b) => a + b, 0);
      const [x, w] = [leaf([rows, K], 1), leaf([lengths.length, K, N], 2)];
      let end = 0;
      const ends = tensor(lengths.map((n) => (end += n)));
      const y = groupedMm(x, w, ends);
      expect(y.shape).toEqual([rows, N]);
      if (rows === 0) return;
      const parts: Tensor[] = [];
      let start = 0;
      for (const [g, n] of lengths.entries()) {
        if (n > 0) parts.push(mm(x.narrow(0, start, n), w.select(0, g)));
        start += n;
      }
      const plain = cat(parts);
      const seed = noise([rows, N], 9);
      expect(await distance(y, plain)).toBeLessThan(1e-4);
      const want = grad([plain], [x, w], [seed]) as Tensor[];
      const got = grad([y], [x, w], [seed]) as Tensor[];
      for (const i of [0, 1]) expect(await distance(got[i]!, want[i]!)).toBeLessThan(5e-4);
      // Strided weights, as their transposes are.
      const turned = w.detach().transpose(1, 2).contiguous().transpose(1, 2);
      expect(await distance(groupedMm(x.detach(), turned, ends), y)).toBeLessThan(1e-5);
    });

    it("serves a layer of experts", async () => {
      const [T, n, m, E, K] = [9, 8, 6, 5, 2];
      const [x, router, up, down] = [
        leaf([T, n], 1),
        leaf([n, E], 2),
        leaf([E, n, m], 3),
        leaf([E, m, n], 4),
      ];
      const [w, e] = moeRoute(matmul(x, router), K);
      const [order, ends] = sortByExpert(e, E);
      const flat = await numbers(e);
      const sorted = (await numbers(order)).map((i) => flat[i]!);
      expect(sorted).toEqual([...flat].sort((a, b) => a - b));
      expect(await numbers(ends)).toEqual(
        Array.from({ length: E }, (_, g) => flat.filter((v) => v <= g).length),
      );
      const y = moeApply(x, w, e, E, (rows, stops) => groupedMm(groupedMm(rows, up, stops), down, stops));
      // Each expert on every token, weighted by 0 where it was not chosen.
      let plain: Tensor | undefined;
      for (let g = 0; g < E; g++) {
        const share = sum(mul(w, e.eq(g).to("f32") as Tensor), [1], true);
        const part = mul(mm(mm(x, up.select(0, g)), down.select(0, g)), share);
        plain = plain ? add(plain, part) : part;
      }
      await same([y], [plain!], [x, router, up, down], 1e-4);
    });
  });

  describe("penalize", () => {
    it("follows the formulas, counts repeats and passes over the filling", async () => {
      const logits = tensor([[1, -2, 3, -4, 5], [0.5, 0.5, 0.5, 0.5, 0.5]], { dtype: "f32" }); // biome-ignore format: one line
      const prompt = tensor([[0, 1, -1], [4, 4, 4]]); // biome-ignore format: one line
      const output = tensor([[2, 3, 2, 2], [4, -1, -1, -1]]); // biome-ignore format: one line
      const y = penalize(logits, prompt, output, { repetition: 2, presence: 0.25, frequency: 0.5 });
      expect(await numbers(y)).toEqual([0.5, -4, 1.5 - 0.25 - 1.5, -8 - 0.25 - 0.5, 5, 0.5, 0.5, 0.5, 0.5, 0.25 - 0.75]); // biome-ignore format: one line
      const none = tensor([], { dtype: "i64", shape: [2, 0] });
      expect(await distance(penalize(logits, none, none, { repetition: 2 }), logits)).toBe(0);
      expect(() => penalize(logits, none, none, { repetition: 0 })).toThrow(/above 0, not 0/);
      expect(() => penalize(logits, tensor([1]), none)).toThrow(/the prompt holds token ids/);
    });
  });
});
