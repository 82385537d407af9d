// What operators take besides their results is given back when they return, without a scope around them: bytes in use are counted.

import { expect, it } from "vitest";
import { defaultChip, memoryStats } from "../runtime/index.js";
import { dispose, eachTensor, grad, noGrad, type Tensor, tensor, withInterceptor } from "../tensor/index.js";
import {
  adaptiveAvgPool2d,
  avgPool2d,
  batchNorm,
  cdist,
  conv2d,
  cosineSimilarity,
  crossEntropy,
  einsum,
  groupNorm,
  layerNorm,
  linear,
  logSoftmax,
  matmul,
  maxPool2d,
  mul,
  norm,
  pdist,
  rmsNorm,
  scaledDotProductAttention,
  sort,
  std,
  sum,
  topk,
} from "./index.js";
import { noise, numbers, onEachChip } from "./testing/chips.js";

const inUse = (): { allocated: number; count: number } => {
  const { allocated, count } = memoryStats(defaultChip());
  return { allocated, count };
};

/** Calls on tensors of several layouts, those that need copies among them. */
function calls(): Record<string, () => unknown> {
  const x = noise([2, 3, 8, 8], 1);
  const m = noise([2, 1, 8, 6], 2);
  const rows = noise([6, 8], 3);
  const turned = noise([8, 6], 4).t();
  const kernel = noise([4, 3, 3, 3], 5);
  const [eight, six] = [noise([8], 6), noise([6], 7)];
  const ids = tensor([1n, 0n, 7n, 2n, 3n, 3n], { dtype: "i64" });
  return {
    "products of batches": () => matmul(x, m),
    "a product with a vector": () => matmul(rows, eight),
    "an affine map": () => linear(turned, rows, six),
    "a contraction": () => einsum("ij,kj->ik", [rows, turned]),
    "a convolution": () => conv2d(x, kernel, null, 1, 1),
    "largest of windows": () => maxPool2d(x, [2, 2]),
    "means of windows": () => [avgPool2d(x, [2, 2]), adaptiveAvgPool2d(x, [3, 3])],
    "layer norm": () => layerNorm(turned, [8]),
    "rms norm": () => rmsNorm(turned, [8]),
    "group norm": () => groupNorm(x, 3),
    "batch norm": () => batchNorm(x, null, null, null, null, true),
    "p-norms": () => [1, 2, 3, Number.POSITIVE_INFINITY].map((p) => norm(turned, p, [1])),
    spread: () => std(turned, [0]),
    "an angle": () => cosineSimilarity(rows, turned),
    distances: () => [cdist(rows, turned), pdist(rows)],
    "log softmax": () => logSoftmax(turned, 0),
    "cross entropy": () => crossEntropy(turned, ids),
    attention: () => scaledDotProductAttention(x, x, x, { isCausal: true }),
    order: () => [sort(turned, 1), topk(turned, 3)],
  };
}

/** Bytes and buffers that a call leaves when its results are freed. */
function left(call: () => unknown): { allocated: number; count: number } {
  const before = inUse();
  const results: unknown[] = [call()];
  eachTensor(results, (t) => expect(t.storage.disposed).toBe(false), new Set());
  dispose(results);
  const after = inUse();
  return { allocated: after.allocated - before.allocated, count: after.count - before.count };
}

const NOTHING = { allocated: 0, count: 0 };

await onEachChip(() => {
  it("leaves nothing behind but the results", () => {
    for (const [name, call] of Object.entries(calls())) {
      const found = [left(call), left(call)];
      expect({ [name]: found }).toEqual({ [name]: [NOTHING, NOTHING] });
    }
  });

  it("keeps what a backward pass will read", async () => {
    const run = (): [Tensor, Tensor] => {
      const [a, b] = [noise([2, 3, 8, 8], 1).requiresGrad_(), noise([8, 6], 2).requiresGrad_()];
      const y = matmul(a.transpose(1, 2), b);
      return [sum(mul(y, norm(y, 2, [-1], true))), b];
    };
    const [loss, b] = run();
    for (const call of Object.values(calls()).slice(0, 4)) dispose(call());
    const [db] = grad([loss], [b]);
    const [fresh, weights] = run();
    expect(await numbers(db!)).toEqual(await numbers(grad([fresh], [weights])[0]!));
  });

  it("leaves a result that was a view to its owner, and what is written in place where it was", async () => {
    const [m, v] = [noise([5, 4], 1), noise([4], 2)];
    const y = noGrad(() => matmul(m, v));
    expect(y.ownsStorage).toBe(true);
    const half = y.view([5, 1]);
    y.mul_(2);
    expect(await numbers(half)).toEqual((await numbers(matmul(m, v))).map((x) => 2 * x));
  });

  it("frees nothing that somebody has seen on the way", () => {
    const seen: Tensor[] = [];
    const y = withInterceptor(
      (_op, _args, next) => {
        const result = next();
        eachTensor(result, (t) => seen.push(t), new Set());
        return result;
      },
      () => norm(noise([8, 6], 4).t(), 3, [1]),
    );
    expect(seen.length).toBeGreaterThan(1);
    for (const t of seen) expect(t.storage.disposed).toBe(false);
    expect(y.shape).toEqual([6]);
  });
});
