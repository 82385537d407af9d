// The fused attention kernels against attention by plain operators: shapes around the blocks, shared heads, strides,
// both directions.

import { expect, it } from "vitest";
import { grad, type Tensor, tensor } from "../../tensor/index.js";
import "../index.js";
import { distance, noise, numbers, onEachChip } from "../testing/chips.js";
import { whyNotFused } from "./fused.js";
import { plainAttention, scaledDotProductAttention } from "./sdpa.js";

/** `[batch, heads, tokens, size]`, its rows laid out as a projection leaves them. */
const heads = (b: number, h: number, s: number, d: number, seed: number): Tensor =>
  noise([b, s, h, d], seed).transpose(1, 2);

const lowerTriangle = (rows: number, cols: number): Tensor =>
  tensor(
    Uint8Array.from({ length: rows * cols }, (_, i) => (i % cols <= Math.floor(i / cols) ? 1 : 0)),
    { shape: [rows, cols], dtype: "bool" },
  );

await onEachChip((chip) => {
  // batch, heads, key heads, queries, keys, size
  const cases: [number, number, number, number, number, number, boolean][] = [
    [1, 1, 1, 1, 1, 1, true],
    [2, 4, 2, 9, 9, 8, true],
    [1, 2, 1, 3, 7, 5, true],
    [1, 2, 2, 7, 3, 5, true],
    [1, 4, 1, 1, 70, 16, false],
    [1, 2, 1, 65, 66, 20, true],
    [2, 2, 2, 40, 130, 33, false],
    [1, 3, 3, 20, 20, 200, false],
  ];
  it.each(cases)(
    "%i batches, %i heads on %i, %i queries, %i keys of %i, causal %s",
    async (B, H, KH, Sq, Sk, D, causal) => {
      if (chip === "interpreter" && Sq * Sk * D > 50000) return;
      const [q, k, v] = [heads(B, H, Sq, D, 1), heads(B, KH, Sk, D, 2), heads(B, KH, Sk, D, 3)];
      const w = heads(B, H, Sq, D, 4);
      for (const t of [q, k, v]) t.requiresGrad_();
      expect(whyNotFused(q, k, v)).toBeUndefined();
      const fast = scaledDotProductAttention(q, k, v, { isCausal: causal, enableGqa: H !== KH });
      const plain = plainAttention(q, k, v, {
        mask: causal ? lowerTriangle(Sq, Sk) : null,
        dropout: 0,
        causal: false,
        scale: 1 / Math.sqrt(D),
        groups: H / KH,
      });
      expect(await distance(fast, plain)).toBeLessThan(2e-6);
      const a = grad([fast], [q, k, v], [w]) as Tensor[];
      const b = grad([plain], [q, k, v], [w]) as Tensor[];
      for (const [i, g] of a.entries()) expect(await distance(g, b[i]!)).toBeLessThan(1e-5);
    },
  );

  it("rounds half types only at the end", async () => {
    const [q, k, v] = [1, 2, 3].map((seed) => heads(1, 2, 12, 8, seed).to("f16")) as [Tensor, Tensor, Tensor];
    const got = scaledDotProductAttention(q, k, v);
    const wide = scaledDotProductAttention(q.to("f32"), k.to("f32"), v.to("f32"));
    expect(got.dtype).toBe("f16");
    expect(await distance(got, wide.to("f16"))).toBeLessThan(1e-3);
  });

  it("takes masks of both kinds; a query that sees nothing gives zeros", async () => {
    const [q, k, v] = [heads(1, 1, 2, 4, 1), heads(1, 1, 3, 4, 2), heads(1, 1, 3, 4, 3)];
    const keep = tensor([
      [true, false, true],
      [false, false, false],
    ]);
    const added = tensor(
      [
        [0, Number.NEGATIVE_INFINITY, 0],
        [0, 0, 0],
      ],
      { dtype: "f32" },
    );
    const a = await numbers(scaledDotProductAttention(q, k, v, { attnMask: keep }));
    const b = await numbers(scaledDotProductAttention(q, k, v, { attnMask: added }));
    expect(a.slice(4)).toEqual([0, 0, 0, 0]);
    a.slice(0, 4).forEach((x, i) => {
      expect(x).toBeCloseTo(b[i]!, 6);
    });
  });

  it("drops weights at random and keeps their mean", async () => {
    const zeros = tensor(new Float32Array(64 * 64), { shape: [1, 1, 64, 64] });
    const ones = tensor(new Float32Array(64 * 8).fill(1), { shape: [1, 1, 64, 8] });
    const y = await numbers(scaledDotProductAttention(zeros, zeros, ones, { dropoutP: 0.5 }));
    const rows = y.filter((_, i) => i % 8 === 0);
    // Each row is twice the share of its 64 keys that was kept: 1 on average, with deviation 1/8.
    expect(Math.abs(rows.reduce((s, v) => s + v, 0) / 64 - 1)).toBeLessThan(5 / 64);
    expect(new Set(rows).size).toBeGreaterThan(3);
    for (const v of rows) expect(v * 32).toBeCloseTo(Math.round(v * 32), 3);
  });

  it("names what does not fit", () => {
    const [q, k] = [heads(1, 3, 2, 4, 1), heads(1, 2, 2, 4, 2)];
    expect(() => scaledDotProductAttention(q, k, k, { enableGqa: true })).toThrow(/3 heads do not share 2/);
    expect(() =>
      scaledDotProductAttention(k, k, k, { isCausal: true, attnMask: lowerTriangle(2, 2) }),
    ).toThrow(/a mask or isCausal, not both/);
  });
});
