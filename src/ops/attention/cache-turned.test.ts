// Norm, rotation and cache in one pass against the operators that it stands for.

import { expect, it } from "vitest";
import { arange, cos, mul, rmsNorm, rotary, sin } from "../index.js";
import { tensor, zeros } from "../../index.js";
import { noise, numbers, onEachChip } from "../testing/chips.js";
import { cacheTurned_, cacheWrite_ } from "./index.js";

await onEachChip(() => {
  for (const withNorm of [true, false])
    it(`heads ${withNorm ? "normed, " : ""}turned and cached`, async () => {
      const [tokens, heads, kvHeads, size] = [3, 4, 2, 6];
      const [q, k, v] = [heads, kvHeads, kvHeads].map((h, i) => noise([tokens, h, size], 5 + i)) as [ReturnType<typeof noise>, ReturnType<typeof noise>, ReturnType<typeof noise>]; // biome-ignore format: one line
      const angles = mul(arange(0, tokens, 1, { dtype: "f32" }).unsqueeze(1), tensor([1, 0.3, 0.1]));
      const [c, s] = [cos(angles), sin(angles)];
      const [wq, wk] = withNorm ? [noise([size], 9), noise([size], 10)] : [null, null];
      const slots = tensor(BigInt64Array.from([5n, 0n, 99n]), { shape: [tokens] });
      const caches = () => [zeros([2, 4, kvHeads, size]), zeros([2, 4, kvHeads, size])] as const;
      const [keys, values] = caches();
      const got = cacheTurned_(q, k, v, wq, wk, c, s, slots, keys, values, 1e-6);
      const turn = (x: typeof q, w: typeof wq) => {
        const n = w ? rmsNorm(x, [size], w, 1e-6) : x;
        return rotary(n.transpose(0, 1).unsqueeze(0), c, s).squeeze(0).transpose(0, 1);
      };
      const [wantKeys, wantValues] = caches();
      cacheWrite_(wantKeys, slots, turn(k, wk).contiguous());
      cacheWrite_(wantValues, slots, v);
      for (const [a, b] of [
        [got, turn(q, wq)],
        [keys, wantKeys],
        [values, wantValues],
      ] as const) {
        const [x, y] = [await numbers(a), await numbers(b)];
        expect(x.length).toBe(y.length);
        x.forEach(
          (n, i) => void expect(Math.abs(n - y[i]!)).toBeLessThanOrEqual(2e-6 * (1 + Math.abs(y[i]!))),
        );
      }
    });

  it("says what does not fit", () => {
    const x = noise([2, 2, 4], 1);
    const cache = zeros([1, 4, 2, 4]);
    const table = zeros([2, 2]);
    const slots = tensor(BigInt64Array.from([0n, 1n]), { shape: [2] });
    const call = (q: typeof x, t: typeof table) => () =>
      cacheTurned_(q, x, x, null, null, t, t, slots, cache, cache, 0);
    expect(call(x.transpose(0, 1), table)).toThrow(/heads side by side/);
    expect(call(x, zeros([2, 3]))).toThrow(/tables \[2, 2\]/);
  });
});
