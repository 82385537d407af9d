// What outlives a scope: results with what their backward pass needs, gradients, kept state.

import { describe, expect, it } from "vitest";
import { scope } from "../runtime/scope.js";
import { dispose, keep, tensor, type Tensor } from "./index.js";
import { copy, exp, mul, mulInPlace, sum } from "./testing/host-ops.js";

const f = (data: number[], requiresGrad = true): Tensor => tensor(data, { dtype: "f64", requiresGrad });

describe("scope", () => {
  it("frees temporaries and keeps results, wherever they stand", () => {
    const inner: Tensor[] = [];
    const made = (): Tensor => {
      const t = f([1], false);
      inner.push(t);
      return t;
    };
    const view = scope(() => ({
      list: [made(), new Map([["k", made()]])],
      view: made().view(1, 1),
      n: 3,
      lost: made() && 1,
    }));
    expect(inner.map((t) => t.storage.disposed)).toEqual([false, false, false, true]);
    expect(view.view.dataSync()).toEqual(Float64Array.of(1));
  });

  it("keeps what backward needs, even through results that do not show it", async () => {
    const x = f([1, 2]);
    const loss = scope(() => sum(mul(exp(mul(x, 2)), 3)));
    loss.backward();
    const want = [1, 2].map((v) => expect.closeTo(6 * Math.exp(2 * v), 8));
    expect(await x.grad!.tolist()).toEqual(want);
  });

  it("keeps it through nested scopes and frees it with the outermost", () => {
    const x = f([1, 2]);
    let hidden: Tensor | undefined;
    scope(() => {
      const y = scope(() => {
        hidden = mul(x, 2);
        return sum(scope(() => exp(hidden!)));
      });
      const square = scope(() => mul(y, y));
      expect(hidden!.storage.disposed).toBe(true);
      square.backward();
      return 1;
    });
    expect(x.grad!.storage.disposed).toBe(false);
  });

  it("lets gradients live as long as their leaf", async () => {
    const x = f([1, 2]);
    scope(() => {
      sum(mul(x, x)).backward();
    });
    expect(await x.grad!.tolist()).toEqual([2, 4]);
    const before = x.grad!;
    scope(() => {
      sum(mul(x, x)).backward();
    });
    expect(await x.grad!.tolist()).toEqual([4, 8]);
    expect(before.storage.disposed).toBe(true);
    const last = x.grad!;
    scope(() => {
      x.grad = null;
      expect(last.storage.disposed).toBe(false);
    });
    expect(last.storage.disposed).toBe(true);
  });

  it("frees the gradients of a leaf that does not leave the scope", () => {
    const g = scope(() => {
      const x = f([1, 2]);
      scope(() => sum(mul(x, x)).backward());
      expect(x.grad!.storage.disposed).toBe(false);
      return [() => x.grad!];
    })[0]!();
    expect(g.storage.disposed).toBe(true);
  });

  it("keeps what a tensor from outside needs after it was written inside", async () => {
    const x = f([1, 2]);
    const cache = f([0, 0], false);
    scope(() => {
      copy(cache, mul(exp(x), 2));
    });
    sum(cache).backward();
    expect(await x.grad!.tolist()).toEqual([1, 2].map((v) => expect.closeTo(2 * Math.exp(v), 8)));
    const y = mul(x, 1);
    scope(() => mulInPlace(y, exp(x)) && undefined);
    sum(y).backward();
  });

  it("frees all but the result of an asynchronous function", async () => {
    let lost: Tensor | undefined;
    const t = await scope(async () => {
      lost = f([1], false);
      await Promise.resolve();
      return mul(lost, 5);
    });
    expect(await t.tolist()).toEqual([5]);
    expect(lost!.storage.disposed).toBe(true);
  });
});

it("keep takes tensors out of all scopes, dispose frees them", () => {
  class Cell {
    readonly weight = f([1]);
    parameters(): Tensor[] {
      return [this.weight];
    }
  }
  let cell: Cell | undefined;
  let state: Tensor | undefined;
  scope(() =>
    scope(() => {
      cell = keep(new Cell());
      state = keep({ m: f([2], false) }).m;
    }),
  );
  expect([cell!.weight.storage.disposed, state!.storage.disposed]).toEqual([false, false]);
  dispose([cell, state]);
  expect([cell!.weight.storage.disposed, state!.storage.disposed]).toEqual([true, true]);
});
