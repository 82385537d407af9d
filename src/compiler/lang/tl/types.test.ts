// What the type checker makes of kernels: these functions are never run.

import { describe, expectTypeOf, it } from "vitest";
import { constant, constexpr, helper, type KernelArgs, ptr } from "../markers.js";
import type { Tl } from "./index.js";

describe("types", () => {
  it("of the parameter object", () => {
    const params = {
      x: ptr,
      FLAG: constexpr.bool,
      N: constexpr,
      LIST: constexpr.list,
      EPS: constant(1e-5),
      act: helper((tl, v) => tl.exp(v)),
      pick: helper((tl, mask: boolean, v: number) => tl.where(mask, v, 0)),
      both: helper((_tl, a, b) => [a, b] as const),
    };
    type Args = KernelArgs<typeof params>;
    expectTypeOf<Args["x"]>().toEqualTypeOf<number>();
    expectTypeOf<Args["FLAG"]>().toEqualTypeOf<boolean>();
    expectTypeOf<Args["LIST"]>().toEqualTypeOf<readonly number[]>();
    expectTypeOf<Args["EPS"]>().toEqualTypeOf<number>();
    expectTypeOf<Args["act"]>().toEqualTypeOf<(v: number) => number>();
    expectTypeOf<Args["pick"]>().toEqualTypeOf<(mask: boolean, v: number) => number>();
    expectTypeOf<ReturnType<Args["both"]>>().toEqualTypeOf<readonly [number, number]>();
  });
  it("of tl", () => {
    expectTypeOf<Parameters<Tl["load"]>[0]>().toEqualTypeOf<number>();
    expectTypeOf<Parameters<Tl["load"]>[1]>().toEqualTypeOf<boolean | undefined>();
    expectTypeOf<Parameters<Tl["load"]>[2]>().toEqualTypeOf<number | boolean | undefined>();
    expectTypeOf<Tl["f32"]>().toEqualTypeOf<"f32">();
    expectTypeOf<Tl["rand"]>().toEqualTypeOf<(seed: number, offset: number) => number>();
    expectTypeOf<Tl["isnan"]>().returns.toEqualTypeOf<boolean>();
  });
});
