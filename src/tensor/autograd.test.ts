// Gradients: the engine, in-place writes, views, second derivatives. Operators come from `testing/host-ops.ts`.

import { describe, expect, it } from "vitest";
import {
  customFunction,
  enableGrad,
  grad,
  noGrad,
  operator,
  tensor,
  type Operator,
  type Tensor,
} from "./index.js";
import { add, cast, cat, clone, copy, exp, mul, mulInPlace, sum } from "./testing/host-ops.js";

type Numbers = number | Numbers[];
const f = (data: Numbers, requiresGrad = true): Tensor => tensor(data, { dtype: "f64", requiresGrad });
const list = async (t: Tensor | null | undefined): Promise<unknown> => t!.tolist();

describe("backward", () => {
  it("adds up gradients over all paths", async () => {
    const x = f([1, 2, 3]);
    const y = mul(x, x);
    sum(add(y, mul(x, 3))).backward();
    expect(await list(x.grad)).toEqual([5, 7, 9]);
  });

  it("adds to .grad of earlier passes", async () => {
    const x = f([1, 2]);
    sum(mul(x, 2)).backward();
    sum(mul(x, 3)).backward();
    expect(await list(x.grad)).toEqual([5, 5]);
  });

  it("sums broadcast dimensions and casts to the input's dtype", async () => {
    const x = tensor([[1], [2]], { dtype: "f32", requiresGrad: true });
    const y = f([1, 2, 3]);
    sum(mul(x, y)).backward();
    expect(x.grad!.dtype).toBe("f32");
    expect(await list(x.grad)).toEqual([[6], [6]]);
    expect(await list(y.grad)).toEqual([3, 3, 3]);
  });

  it("passes a node only when all its gradients have arrived", async () => {
    const x = f(2);
    let a = x;
    for (let i = 0; i < 12; i++) a = add(a, a);
    a.backward();
    expect(await x.grad!.item()).toBe(4096);
  });

  it("goes through casts", async () => {
    const x = tensor([1.5, 2.5], { requiresGrad: true });
    sum(mul(cast(x, { dtype: "f64" }), 2)).backward();
    expect(x.grad!.dtype).toBe("f32");
    expect(await list(x.grad)).toEqual([2, 2]);
  });

  it("needs a gradient for more than one element, and of the right shape", () => {
    const x = f([1, 2]);
    expect(() => mul(x, 2).backward()).toThrow(/shape \[2\] needs a gradient/);
    expect(() => mul(x, 2).backward(f([1, 2, 3], false))).toThrow(/has shape \[3\], the tensor \[2\]/);
    expect(() => f([1], false).backward()).toThrow(/requires gradients/);
  });

  it("refuses a second pass after the first freed what it needs", async () => {
    const x = f([1, 2]);
    const y = sum(mul(x, x));
    y.backward(null, { retainGraph: true });
    y.backward();
    expect(await list(x.grad)).toEqual([4, 8]);
    expect(() => y.backward()).toThrow(/second backward pass came through `mul.Tensor`.*retainGraph/);
  });

  it("leaves out what noGrad computes, also inside it enableGrad records", () => {
    const x = f([1]);
    expect(noGrad(() => mul(x, 2)).requiresGrad).toBe(false);
    expect(noGrad(() => enableGrad(() => mul(x, 2))).requiresGrad).toBe(true);
    expect(mul(x.detach(), 2).requiresGrad).toBe(false);
    expect(() => noGrad(() => mul(x, f([1, 2, 3], false).view(5)))).toThrow();
    expect(mul(x, 2).requiresGrad).toBe(true);
  });

  it("keeps noGrad over an await", async () => {
    const x = f([1]);
    const y = await noGrad(async () => {
      await Promise.resolve();
      return mul(x, 2);
    });
    expect(y.requiresGrad).toBe(false);
    expect(mul(x, 2).requiresGrad).toBe(true);
  });

  it("keeps gradients of leaves apart that got the same tensor", async () => {
    const x = f([1]);
    const y = f([2]);
    sum(add(x, y)).backward();
    expect(x.grad!.storage).not.toBe(y.grad!.storage);
  });

  it("does not make the caller's gradient the leaf's own", async () => {
    for (const createGraph of [false, true]) {
      const x = f([1, 2]);
      const seed = f([3, 4], false);
      add(x, f([0, 0], false)).backward(seed, { createGraph });
      expect(x.grad!.storage).not.toBe(seed.storage);
      seed.dispose();
      expect(await list(x.grad)).toEqual([3, 4]);
    }
  });

  it("lets only float leaves require gradients", () => {
    expect(() => tensor([1, 2]).requiresGrad_()).toThrow(/only float tensors/);
    expect(() => mul(f([1]), 2).requiresGrad_(false)).toThrow(/only leaves/);
  });
});

describe("hooks, retainGrad, grad()", () => {
  it("lets hooks see and replace gradients", async () => {
    const x = f([1, 2]);
    const y = mul(x, 3);
    const seen: unknown[] = [];
    y.registerHook((g) => {
      seen.push(g.dataSync());
      return mul(g, 10);
    });
    const remove = x.registerHook(() => {
      seen.push("x");
    });
    sum(y).backward(null, { retainGraph: true });
    expect(await list(x.grad)).toEqual([30, 30]);
    remove();
    sum(y).backward();
    expect(seen).toEqual([Float64Array.of(1, 1), "x", Float64Array.of(1, 1)]);
  });

  it("keeps gradients of non-leaves when asked to", async () => {
    const x = f([1, 2]);
    const y = mul(x, 3).retainGrad();
    sum(mul(y, y)).backward();
    expect(await list(y.grad)).toEqual([6, 12]);
  });

  it("gives gradients of chosen tensors and leaves .grad alone", async () => {
    const x = f([1, 2]);
    const z = f([5, 5]);
    const y = mul(x, x);
    const [dx, dy] = grad([sum(mul(y, z))], [x, y]);
    expect(await list(dx)).toEqual([10, 20]);
    expect(await list(dy)).toEqual([5, 5]);
    expect(x.grad).toBeNull();
    expect(() => grad([sum(x)], [z])).toThrow(/do not depend on input 0/);
    expect(grad([sum(x)], [z], undefined, { allowUnused: true })).toEqual([null]);
  });

  it("differentiates twice", async () => {
    const x = f([1, 2, 3]);
    const [dx] = grad([sum(mul(mul(x, x), x))], [x], undefined, { createGraph: true });
    expect(await list(dx)).toEqual([3, 12, 27]);
    sum(dx!).backward();
    expect(await list(x.grad)).toEqual([6, 12, 18]);
    const [de] = grad([sum(exp(x))], [x], undefined, { createGraph: true });
    const [dde] = grad([sum(de!)], [x]);
    expect(await list(dde)).toEqual([1, 2, 3].map((v) => expect.closeTo(Math.exp(v), 10)));
  });
});

describe("in-place operators", () => {
  it("are recorded", async () => {
    const x = f([1, 2]);
    const y = mul(x, 3);
    mulInPlace(y, x);
    sum(y).backward();
    expect(await list(x.grad)).toEqual([6, 12]);
  });

  it("may not write leaves that require gradients, nor views of them", () => {
    const x = f([1, 2]);
    expect(() => mulInPlace(x, 2)).toThrow(/`mul_.Tensor` cannot write a leaf.*noGrad/);
    expect(() => mulInPlace(x.at(0), 2)).toThrow(/a view of a leaf/);
    noGrad(() => mulInPlace(x, 2));
    expect(x.dataSync()).toEqual(Float64Array.of(2, 4));
  });

  it("are caught when they change what backward needs", () => {
    const x = f([1, 2]);
    const y = mul(x, 2);
    const z = mul(y, y);
    mulInPlace(y, 3);
    expect(() => sum(z).backward()).toThrow(
      /derivative of `mul.Tensor` needs a tensor of shape \[2\].*modified in place by `mul_.Tensor`: it is at version 1, saved at version 0/,
    );
  });

  it("count for all tensors over the same memory", () => {
    const base = f(
      [
        [1, 2],
        [3, 4],
      ],
      false,
    );
    const row = base.at(0);
    const { version } = base;
    mulInPlace(row, 2);
    expect(base.version).toBe(version + 1);
    expect(base.detach().version).toBe(version + 1);
  });

  it("on a view give the base its gradient", async () => {
    const x = f([1, 2, 3, 4]);
    const w = f([10, 20]);
    const y = mul(x, 1);
    mulInPlace(y.narrow(0, 1, 2), w);
    sum(mul(y, y)).backward();
    expect(await list(x.grad)).toEqual([2, 400, 2400, 8]);
    expect(await list(w.grad)).toEqual([80, 360]);
  });

  it("on the base reach views that were taken before", async () => {
    const x = f([1, 2, 3]);
    const y = mul(x, 1);
    const tail = y.narrow(0, 1, 2);
    mulInPlace(y, 5);
    sum(tail).backward();
    expect(await list(x.grad)).toEqual([0, 5, 5]);
  });

  it("give history to a base that had none", async () => {
    const cache = f(
      [
        [0, 0],
        [0, 0],
      ],
      false,
    );
    const row = cache.at(1);
    const x = f([3, 4]);
    copy(row, mul(x, 2));
    expect(cache.requiresGrad).toBe(true);
    expect(row.requiresGrad).toBe(true);
    sum(mul(cache, 5)).backward(null, { retainGraph: true });
    expect(await list(x.grad)).toEqual([10, 10]);
    sum(row).backward();
    expect(await list(x.grad)).toEqual([12, 12]);
  });

  it("refuse one of several views, and views taken in noGrad", () => {
    const y = mul(f([1, 2, 3, 4]), 1);
    expect(() => mulInPlace(y.chunk(2)[0]!, 2)).toThrow(/one of several views/);
    const v = noGrad(() => y.view(2, 2));
    expect(v.requiresGrad).toBe(false);
    expect(() => mulInPlace(v, f([[1], [2]]))).toThrow(/taken inside noGrad/);
  });
});

describe("derivatives that are not there", () => {
  const half: Operator<(self: Tensor) => Tensor> = operator({
    schema: "test_half(Tensor self) -> Tensor",
    run: (self: Tensor) => mul(self, 0.5),
  });
  const flag: Operator<(self: Tensor) => Tensor> = operator({
    schema: "test_flag(Tensor self) -> Tensor",
    run: (self: Tensor) => cast(self, { dtype: "bool" }),
  });
  const wrong: Operator<(self: Tensor) => Tensor> = operator({
    schema: "test_wrong(Tensor self) -> Tensor",
    run: (self: Tensor) => mul(self, 0.5),
    derivative: { backward: (_ctx, g) => [g, g] },
  });

  it("are said when gradients come through", () => {
    expect(() => sum(half(f([1]))).backward()).toThrow(/`test_half` has no derivative/);
    expect(flag(f([1])).requiresGrad).toBe(false);
  });

  it("and so are wrong counts and shapes", () => {
    expect(() => sum(wrong(f([1]))).backward()).toThrow(/`test_wrong` gave 2 gradients for 1/);
  });
});

describe("customFunction", () => {
  const cube = customFunction({
    name: "cube",
    forward: (ctx, x: Tensor, scale: number) => {
      ctx.saveForBackward(x);
      ctx.state["scale"] = scale;
      return mul(mul(x, mul(x, x)), scale);
    },
    backward: (ctx, g) => [
      mul(g, mul(mul(ctx.saved[0]!, ctx.saved[0]!), 3 * (ctx.state["scale"] as number))),
      null,
    ],
  });

  it("uses its own derivative, which can be differentiated", async () => {
    const x = f([1, 2]);
    const [dx] = grad([sum(cube(x, 2))], [x], undefined, { createGraph: true });
    expect(await list(dx)).toEqual([6, 24]);
    const [ddx] = grad([sum(dx!)], [x]);
    expect(await list(ddx)).toEqual([12, 24]);
  });

  it("frees and checks what it saved", () => {
    const x = f([1, 2]);
    const y = mul(x, 1);
    const z = sum(cube(y, 1));
    mulInPlace(y, 2);
    expect(() => z.backward()).toThrow(/derivative of `cube`/);
    const w = sum(cube(x, 1));
    w.backward();
    expect(() => w.backward()).toThrow(/second backward pass/);
  });
});

describe("derivatives of views", () => {
  const base = (): Tensor =>
    f([
      [
        [1, 2, 3, 4],
        [5, 6, 7, 8],
        [9, 1, 2, 3],
      ],
      [
        [4, 5, 6, 7],
        [8, 9, 1, 2],
        [3, 4, 5, 6],
      ],
    ]);
  const cases: Record<string, (x: Tensor) => Tensor> = {
    view: (x) => x.view(6, 4),
    reshape: (x) => x.transpose(0, 2).reshape(-1),
    permute: (x) => x.permute(2, 0, 1),
    transpose: (x) => x.transpose(0, -1),
    expand: (x) => x.unsqueeze(1).expand(2, 3, 3, 4),
    squeeze: (x) => x.narrow(0, 1, 1).squeeze(0),
    select: (x) => x.select(1, -1),
    slice: (x) => x.slice(1, 1, 3),
    narrow: (x) => x.narrow(2, 1, 2),
    steps: (x) => x.slice(2, 0, null, 3),
    diagonal: (x) => x.diagonal(1, 1, 2),
    unfold: (x) => x.unfold(2, 3, 1),
    asStrided: (x) => x.asStrided([3, 3], [2, 3], 1),
    movedim: (x) => x.movedim(0, 2),
    flatten: (x) => x.flatten(1),
    unflatten: (x) => x.unflatten(2, [2, -1]),
    split: (x) => x.split(3, 2)[1]!,
    chunk: (x) => cat([...x.chunk(2, 2)].reverse(), 2),
    unbind: (x) => x.unbind(1)[2]!,
    T: (x) => x.T,
    mT: (x) => x.mT,
    selectScatter: (x) =>
      x.selectScatter(
        f(
          [
            [1, 1, 1, 1],
            [2, 2, 2, 2],
            [3, 3, 3, 3],
          ],
          false,
        ),
        0,
        1,
      ),
  };
  for (const [name, take] of Object.entries(cases)) {
    it(`${name}: first and second order agree with differences`, async () => {
      // sum(w * v * v) with weights that tell all elements apart
      const weigh = (v: Tensor): Tensor => {
        const w = f(
          Array.from({ length: v.numel }, (_, i) => Math.cos(i)),
          false,
        ).view(v.shape);
        return sum(mul(w, mul(v, mul(v, v))));
      };
      const value = (data: Float64Array): number =>
        Number(weigh(take(tensor(data, { shape: [2, 3, 4] }))).itemSync());
      const x = base();
      const [dx] = grad([weigh(take(x))], [x], undefined, { createGraph: true });
      const at = x.dataSync() as Float64Array;
      const eps = 1e-4;
      const slope = at.map((_, i) => {
        const up = at.slice();
        const down = at.slice();
        up[i]! += eps;
        down[i]! -= eps;
        return (value(up) - value(down)) / (2 * eps);
      });
      const got = dx!.dataSync() as Float64Array;
      expect(got.every((v, i) => Math.abs(v - slope[i]!) < 1e-5)).toBe(true);
      const [ddx] = grad([sum(dx!)], [x]);
      const shifted = (i: number, by: number): number => {
        const y = at.slice();
        y[i]! += by;
        const leaf = tensor(y, { shape: [2, 3, 4], requiresGrad: true });
        const [d] = grad([weigh(take(leaf))], [leaf]);
        return (d!.dataSync() as Float64Array).reduce((a, b) => a + b, 0);
      };
      const second = ddx!.dataSync() as Float64Array;
      for (let i = 0; i < at.length; i += 5) {
        expect(second[i]).toBeCloseTo((shifted(i, eps) - shifted(i, -eps)) / (2 * eps), 4);
      }
    });
  }

  it("clone and contiguous", async () => {
    const x = f([
      [1, 2],
      [3, 4],
    ]);
    sum(
      mul(
        clone(x.t()),
        f(
          [
            [1, 2],
            [3, 4],
          ],
          false,
        ),
      ),
    ).backward();
    expect(await list(x.grad)).toEqual([
      [1, 3],
      [2, 4],
    ]);
  });
});
