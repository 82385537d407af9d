// The fused attentions against attention by plain operators, past the point where each feature and each way of cutting
// the work sets in: blocks, windows, masks, caps, packed sequences, dropout, parts of the keys.

import { expect, it } from "vitest";
import { Generator, memoryStats } from "../../runtime/index.js";
import { grad, type Tensor, tensor } from "../../tensor/index.js";
import "../index.js";
import { distance, noise, numbers, onEachChip } from "../testing/chips.js";
import { emptyHeads, emptyLogs, flashAttention, stridesOf, varlenAttention, type Window } from "./fused.js";
import { type AttentionCall, launchBackward, launchForward } from "./launch.js";
import { heads, reference, visible } from "./testing.js";

/** Results and gradients agree. */
async function expectSame(fast: Tensor, plain: Tensor, inputs: Tensor[], seed = 9): Promise<void> {
  expect(fast.shape).toEqual(plain.shape);
  expect(await distance(fast, plain)).toBeLessThan(3e-6);
  const w = noise(fast.shape, seed);
  const a = grad([fast], inputs, [w]) as Tensor[];
  const b = grad([plain], inputs, [w]) as Tensor[];
  for (const [i, g] of a.entries()) expect(await distance(g, b[i]!)).toBeLessThan(2e-5);
}

const leaves = (...list: Tensor[]): Tensor[] => list.map((t) => t.requiresGrad_() as Tensor);

await onEachChip((chip) => {
  const small = chip === "interpreter";

  // queries, keys, window, causal: windows within a block, over several, beside the diagonal, rows that see nothing.
  const windows: [number, number, Window, boolean][] = [
    [20, 20, [3, 0], false],
    [5, 23, [-1, -1], true],
    [23, 5, [-1, -1], true],
    [90, 150, [40, 0], false],
    [140, 140, [5, 70], false],
    [70, 70, [-1, 3], false],
    [33, 100, [80, -1], true],
    [70, 600, [300, -1], false],
    [300, 300, [-1, -1], true],
  ];
  it.each(windows)("%i queries, %i keys, window %s, causal %s", async (Sq, Sk, window, isCausal) => {
    if (small && Sq * Sk > 1000) return;
    const [q, k, v] = leaves(heads(1, 4, Sq, 8, 1), heads(1, 2, Sk, 8, 2), heads(1, 2, Sk, 8, 3)) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const fast = flashAttention(q, k, v, { window, isCausal });
    const seen = visible(Sq, Sk, isCausal ? [window[0], 0] : window);
    await expectSame(fast, reference(q, k, v, { seen }), [q, k, v]);
  });

  it("caps scores; values of another size than keys", async () => {
    const S = small ? 9 : 75;
    const [q, k, v] = leaves(heads(2, 2, S, 12, 1), heads(2, 1, S, 12, 2), heads(2, 1, S, 5, 3)) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const fast = flashAttention(q, k, v, { isCausal: true, softcap: 0.7, scale: 1.5 });
    await expectSame(fast, reference(q, k, v, { seen: visible(S, S, [-1, 0]), softcap: 0.7, scale: 1.5 }), [
      q,
      k,
      v,
    ]);
  });

  it("takes masks: bool and added, with dimensions that repeat", async () => {
    const [Sq, Sk] = small ? [6, 9] : [70, 130];
    const [q, k, v] = leaves(heads(2, 2, Sq, 8, 1), heads(2, 2, Sk, 8, 2), heads(2, 2, Sk, 8, 3)) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    // Padding: the second sequence has fewer keys.
    const padding = tensor(
      Uint8Array.from({ length: 2 * Sk }, (_, i) => (i < Sk || i - Sk < Sk - 4 ? 1 : 0)),
      { shape: [2, 1, 1, Sk], dtype: "bool" },
    );
    await expectSame(flashAttention(q, k, v, { attnMask: padding }), reference(q, k, v, { seen: padding }), [
      q,
      k,
      v,
    ]);
    const bias = noise([2, Sq, Sk], 5);
    const seen = visible(Sq, Sk, [-1, 0]);
    await expectSame(
      flashAttention(q, k, v, { attnMask: bias, isCausal: true }),
      reference(q, k, v, { seen, bias }),
      [q, k, v],
    );
  });

  it("drops the same weights forward and backward", async () => {
    const S = small ? 7 : 66;
    const [q, k] = leaves(heads(1, 2, S, 8, 1), heads(1, 2, S, 8, 2)) as [Tensor, Tensor];
    const draw = (v: Tensor): Tensor =>
      flashAttention(q, k, v, { dropoutP: 0.4, isCausal: true, generator: new Generator(7) });
    // With the unit matrix as values the result is the weights.
    const unit = tensor(
      Float32Array.from({ length: S * S }, (_, i) => (i % (S + 1) === 0 ? 1 : 0)),
      { shape: [1, 1, S, S] },
    );
    const weights = await numbers(draw(unit.expand([1, 2, S, S]).contiguous() as Tensor).detach());
    const kept = tensor(
      Uint8Array.from(weights, (x) => (x === 0 ? 0 : 1)),
      { shape: [1, 2, S, S], dtype: "bool" },
    );
    const below = weights.filter((_, i) => i % S <= Math.floor(i / S) % S);
    const share = below.filter((x) => x === 0).length / below.length;
    expect(Math.abs(share - 0.4)).toBeLessThan(small ? 0.2 : 0.04);
    const v = heads(1, 2, S, 6, 3).requiresGrad_() as Tensor;
    await expectSame(draw(v), reference(q, k, v, { seen: visible(S, S, [-1, 0]), kept, dropout: 0.4 }), [
      q,
      k,
      v,
    ]);
  });

  it("keeps to packed sequences, some of them empty", async () => {
    const lengths = small ? [3, 0, 5] : [70, 0, 5, 1, 66];
    const others = small ? [4, 2, 5] : [290, 3, 5, 7, 66];
    const sum = (list: number[]): number[] =>
      [0, ...list].map((_, i) => list.slice(0, i).reduce((a, n) => a + n, 0));
    const [sq, sk] = [sum(lengths), sum(others)];
    const starts = (list: number[]): Tensor => tensor(Int32Array.from(list), { dtype: "i32" });
    const [q, k, v] = leaves(
      noise([sq.at(-1)!, 4, 8], 1),
      noise([sk.at(-1)!, 2, 8], 2),
      noise([sk.at(-1)!, 2, 8], 3),
    ) as [Tensor, Tensor, Tensor];
    const w = noise(q.shape, 4);
    const options = { isCausal: true, window: [40, 0] as Window };
    const fast = varlenAttention(
      q,
      k,
      v,
      starts(sq),
      starts(sk),
      Math.max(...lengths),
      Math.max(...others),
      options,
    );
    const grads = grad([fast], [q, k, v], [w]) as Tensor[];
    for (const [i, n] of lengths.entries()) {
      if (n === 0) continue;
      const part = (t: Tensor, from: number[], count: number): Tensor =>
        t.detach().narrow(0, from[i]!, count).unsqueeze(0).transpose(1, 2).contiguous() as Tensor;
      const own = leaves(part(q, sq, n), part(k, sk, others[i]!), part(v, sk, others[i]!)) as [
        Tensor,
        Tensor,
        Tensor,
      ];
      const plain = reference(...own, { seen: visible(n, others[i]!, [40, 0]) });
      expect(await distance(part(fast, sq, n), plain)).toBeLessThan(3e-6);
      const plainGrads = grad([plain], own, [part(w, sq, n)]) as Tensor[];
      for (const [j, [from, count]] of (
        [
          [sq, n],
          [sk, others[i]!],
          [sk, others[i]!],
        ] as const
      ).entries())
        expect(await distance(part(grads[j]!, from, count), plainGrads[j]!)).toBeLessThan(2e-5);
    }
  });

  it.each(["f16", "bf16"] as const)("computes %s in f32", async (dtype) => {
    const S = small ? 6 : 70;
    const full = [heads(1, 2, S, 8, 1), heads(1, 1, S, 8, 2), heads(1, 1, S, 8, 3)].map(
      (t) => t.to(dtype) as Tensor,
    );
    const half = leaves(...full.map((t) => t.clone() as Tensor)) as [Tensor, Tensor, Tensor];
    const wide = leaves(...full.map((t) => t.to("f32") as Tensor)) as [Tensor, Tensor, Tensor];
    const fast = flashAttention(...half, { isCausal: true });
    const plain = flashAttention(...wide, { isCausal: true });
    const step = dtype === "f16" ? 2 ** -10 : 2 ** -7;
    expect(fast.dtype).toBe(dtype);
    expect(await distance(fast, plain)).toBeLessThan(step);
    const w = noise(fast.shape, 4);
    const a = grad([fast], half, [w.to(dtype) as Tensor]) as Tensor[];
    const b = grad([plain], wide, [(w.to(dtype) as Tensor).to("f32") as Tensor]) as Tensor[];
    for (const [i, g] of a.entries()) {
      const largest = Math.max(...(await numbers(b[i]!)).map(Math.abs));
      // The result itself, which the pass reads, is rounded.
      expect(await distance(g, b[i]!)).toBeLessThan(3 * step * largest);
    }
  });

  it("cuts the keys of few queries into parts and joins them", async () => {
    const Sk = small ? 530 : 1300;
    for (const [G, Sq] of [
      [1, 1],
      [3, 1],
      [2, 4],
    ] as const) {
      if (small && G === 2) continue;
      const [q, k, v] = leaves(heads(2, 2 * G, Sq, 8, 1), heads(2, 2, Sk, 8, 2), heads(2, 2, Sk, 8, 3)) as [
        Tensor,
        Tensor,
        Tensor,
      ];
      const fast = flashAttention(q, k, v, { isCausal: true });
      await expectSame(fast, reference(q, k, v, { seen: visible(Sq, Sk, [-1, 0]) }), [q, k, v]);
      // The first part is behind the window: it sees nothing.
      const window: Window = [40, 0];
      const near = flashAttention(q, k, v, { window });
      await expectSame(near, reference(q, k, v, { seen: visible(Sq, Sk, window) }), [q, k, v]);
    }
  });

  it("gives a sequence the same bits whoever else is in the batch", async () => {
    const [q, k, v] = [heads(3, 2, 1, 8, 1), heads(3, 2, 600, 8, 2), heads(3, 2, 600, 8, 3)] as const;
    const all = flashAttention(q, k, v).narrow(0, 1, 1) as Tensor;
    const one = (t: Tensor): Tensor => t.narrow(0, 1, 1) as Tensor;
    expect(await numbers(flashAttention(one(q), one(k), one(v)))).toEqual(await numbers(all));
  });

  it("has the same gradients in one pass, in one with several copies, and in two", async () => {
    const [Sq, Sk] = small ? [9, 20] : [70, 150];
    const [q, k, v, dy] = [
      heads(1, 2, Sq, 8, 1),
      heads(1, 1, Sk, 8, 2),
      heads(1, 1, Sk, 8, 3),
      heads(1, 2, Sq, 8, 4),
    ] as const;
    const mask = noise([1, 2, Sq, Sk], 5);
    const call: AttentionCall = {
      q, k, v, qs: stridesOf(q), ks: stridesOf(k), vs: stridesOf(v), batch: 1, heads: 2, keyHeads: 1, queries: Sq, keys: Sk,
      size: 8, valueSize: 8, offset: Sk - Sq, left: 60, right: 3, scale: 0.3, softcap: 2, mask,
      dropout: { p: 0.2, seed: 5n, offset: 3 },
    }; // biome-ignore format: one line per group
    const o = emptyHeads(q, 8);
    const { lse, strides } = emptyLogs(q);
    launchForward(call, o, stridesOf(o), lse, strides);
    const run = (most?: number): Tensor[] => {
      const [dq, dk, dv] = [emptyHeads(q, 8), emptyHeads(k, 8), emptyHeads(v, 8)];
      const out = { dq, dqs: stridesOf(dq), dk, dks: stridesOf(dk), dv, dvs: stridesOf(dv) };
      launchBackward(
        call,
        { dy, strides: stridesOf(dy) },
        { o, os: stridesOf(o), lse, ls: strides },
        out,
        most,
      );
      return [dq, dk, dv];
    };
    const [one, two] = [run(), run(0)];
    for (const [i, g] of one.entries()) expect(await distance(g, two[i]!)).toBeLessThan(2e-6);
  });

  it("leaves no memory behind once its results are disposed of", () => {
    const S = small ? 9 : 40;
    const [q, k, v] = leaves(heads(1, 2, S, 8, 1), heads(1, 2, S, 8, 2), heads(1, 2, S, 8, 3)) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const before = memoryStats(q.chip).count;
    flashAttention(q.detach(), k.detach(), v.detach()).dispose();
    expect(memoryStats(q.chip).count).toBe(before);
    const out = flashAttention(q, k, v);
    const held = memoryStats(q.chip).count;
    const w = noise(out.shape, 9);
    const kept = memoryStats(q.chip).count - held;
    for (const g of grad([out], [q, k, v], [w], { retainGraph: true })) g?.dispose();
    expect(memoryStats(q.chip).count - held).toBe(kept);
  });

  it("names what does not fit", () => {
    const [q, k] = [heads(1, 3, 2, 4, 1), heads(1, 2, 2, 4, 2)];
    expect(() => flashAttention(q, k, k)).toThrow(/share the key heads evenly, not 3 on 2/);
    expect(() => flashAttention(k, k, k, { window: [-2, 0] })).toThrow(
      /a window is two whole numbers from -1/,
    );
    const three = noise([4, 2, 8], 1);
    expect(() => varlenAttention(three, three, three, noise([2]), noise([2]), 4, 4)).toThrow(
      /cu_seqlens_q is a list of i32/,
    );
  });
});
