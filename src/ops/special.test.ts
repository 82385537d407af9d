// Special functions on every chip against values of mpmath 1.3 with 30 digits.

import { expect, it } from "vitest";
import { type Tensor, tensor } from "../tensor/index.js";
import "./index.js";
import { pointwise } from "./pointwise.js";
import {
  digamma,
  erfc,
  erfinv,
  lgamma,
  specialErfcx,
  specialI0e,
  specialI1e,
  specialZeta,
} from "./special.js";
import { numbers, onEachChip } from "./testing/chips.js";
import { atan, atan2 } from "./trigonometry.js";

type Points = readonly (readonly [number, number])[];

// biome-ignore format: a table
const SERIES: readonly [string, (x: Tensor) => Tensor, Points][] = [
  ["atan", atan, [[-1e6, -1.5707953267948966], [-3.5, -1.2924966677897853], [-1, -0.7853981633974483], [-0.3, -0.2914567944778671], [1e-9, 1e-9], [0.41, 0.3890972310552784], [0.9, 0.7328151017865066], [1.2, 0.8760580505981934], [50, 1.550798992821746]]],
  ["erfc", erfc, [[-4, 1.999999984582742], [-0.6, 1.6038560908479258], [-0.1, 1.1124629160182848], [0, 1], [0.3, 0.6713732405408726], [0.5, 0.4795001221869535], [1, 0.15729920705028513], [3, 2.209049699858544e-5], [5, 1.537459794428035e-12]]],
  ["erfcx", specialErfcx, [[-3, 16205.988853999586], [-0.5, 1.952360489182557], [0, 1], [0.2, 0.8090195199015807], [1, 0.427583576155807], [4, 0.13699945762506138], [30, 0.01879588886141675], [1e5, 5.6418958351954685e-6]]],
  ["erfinv", erfinv, [[-0.9, -1.1630871536766743], [-0.3, -0.2724627147267543], [1e-8, 8.86226925452758e-9], [0.2, 0.1791434546212917], [0.5, 0.4769362762044699], [0.75, 0.8134198475976185]]],
  ["lgamma", lgamma, [[-30.25, -74.02239745035548], [-3.7, -1.3797399049658245], [-0.5, 1.2655121234846454], [0.3, 1.0957979948180756], [1, 0], [1.5, -0.12078223763524522], [2, 0], [7.9, 8.32426586800881], [8, 8.525161361065415], [20, 39.339884187199495], [1e5, 1051287.7089736569]]],
  ["digamma", digamma, [[-30.25, 6.567526705172748], [-3.7, -0.8450768588704194], [-0.5, 0.03648997397857652], [0.3, -3.502524222200133], [1, -0.5772156649015329], [7.9, 2.002238487563571], [8, 2.01564147795561], [20, 2.970523992242149], [1e5, 11.512920464961896]]],
  ["i0e", specialI0e, [[-20, 0.08978031188482602], [-8, 0.14343178185685032], [-1, 0.46575960759364043], [0, 1], [0.5, 0.6450352704491501], [7.9, 0.14436986414104191], [8.1, 0.14251180948829528], [100, 0.03994437929909668]]],
  ["i1e", specialI1e, [[-20, -0.08750622218328867], [-8, -0.13414249329269817], [-1, -0.20791041534970844], [0, 0], [0.5, 0.1564208031848717], [7.9, 0.13489649943989376], [8.1, 0.13340068832583662], [100, 0.03974415302513025]]],
];
// biome-ignore format: a table
const ZETA: readonly (readonly [number, number, number])[] = [
  [1.1, 1, 10.584448464950801], [2, 1, 1.6449340668482264], [3, 0.25, 64.66386996876847], [5.5, 12, 3.71777872154821e-6],
  [2, -2.5, 9.539246644989124], [3, -9.75, 62.0173011704221], [10, 4, 1.0775400096550504e-6], [1.5, 100, 0.2005012499817719],
];

await onEachChip(() => {
  it.each(SERIES)("series of %s", async (_name, fn, points) => {
    for (const [dtype, bound] of [
      ["f64", 2e-14],
      ["f32", 3e-6],
    ] as const) {
      const x = tensor(
        points.map(([v]) => v),
        { dtype },
      );
      const got = await numbers(fn(x));
      points.forEach(([at, want], i) => {
        // The gamma functions are differences near their zeros: there the error is absolute.
        const size = Math.max(Math.abs(want), fn === lgamma || fn === digamma ? 1 : 1e-16);
        expect(
          Math.abs(got[i]! - want) / size,
          `${dtype} at ${at}: ${got[i]} instead of ${want}`,
        ).toBeLessThan(bound);
      });
    }
  });

  it("series of zeta", async () => {
    const column = (i: 0 | 1) =>
      tensor(
        ZETA.map((row) => row[i]),
        { dtype: "f64" },
      );
    const got = await numbers(specialZeta(column(0), column(1)));
    ZETA.forEach(([s, q, want], i) => {
      expect(Math.abs(got[i]! / want - 1), `zeta(${s}, ${q})`).toBeLessThan(1e-13);
    });
  });

  it("series of atan2 go round the circle, signed zeros too", async () => {
    const y = tensor([0, -0, 1, -1, 0, -0, 2, -2, 0, -0], { dtype: "f64" });
    const x = tensor([1, 1, 0, 0, -1, -1, -2, -2, 0, -0], { dtype: "f64" });
    const got = await numbers(atan2(y, x));
    [0, -0, 1, -1, 0, -0, 2, -2, 0, -0].forEach((v, i) => {
      const want = Math.atan2(v, [1, 1, 0, 0, -1, -1, -2, -2, 0, -0][i]!);
      expect(
        Object.is(got[i], want) || Math.abs(got[i]! - want) < 1e-15,
        `${v}: ${got[i]} instead of ${want}`,
      ).toBe(true);
    });
  });

  it("series of sinh and cosh are finite as far as the result", async () => {
    const ends = pointwise((tl, x) => [tl.sinh(x), tl.cosh(x)], { outputs: ["promoted", "promoted"] });
    const [s, c] = ends(tensor([1e-3, 0.5, 3, 89, -89], { dtype: "f32" })) as readonly [Tensor, Tensor];
    const [gotS, gotC] = [await numbers(s), await numbers(c)];
    [1e-3, 0.5, 3, 89, -89].forEach((v, i) => {
      expect(Math.abs(gotS[i]! / Math.sinh(v) - 1)).toBeLessThan(2e-5);
      expect(Math.abs(gotC[i]! / Math.cosh(v) - 1)).toBeLessThan(2e-5);
    });
  });
});
