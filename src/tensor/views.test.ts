// Views against a plain model: an array of elements in row-major order and index arithmetic on it.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  collapseDims,
  contiguousStrides,
  ellipsis,
  empty,
  numelOf,
  slice,
  tensor,
  viewStrides,
  type Tensor,
} from "./index.js";
import "./testing/host-ops.js";

/** A tensor as the model knows it: the shape and the elements. */
interface Model {
  readonly shape: readonly number[];
  readonly data: readonly number[];
}

const at = (m: Model, index: readonly number[]): number =>
  m.data[index.reduce((sum, i, d) => sum * m.shape[d]! + i, 0)]!;

/** The model of `shape` whose elements `pick` finds in another by index. */
function build(shape: readonly number[], pick: (index: number[]) => number): Model {
  const data: number[] = [];
  const walk = (index: number[]): void => {
    if (index.length === shape.length) data.push(pick(index));
    else for (let i = 0; i < shape[index.length]!; i++) walk([...index, i]);
  };
  walk([]);
  return { shape, data };
}

interface Step {
  readonly name: string;
  readonly tensor: (t: Tensor) => Tensor;
  readonly model: (m: Model) => Model;
}

const without = (shape: readonly number[], d: number): number[] => shape.filter((_, i) => i !== d);
const insert = <T>(list: readonly T[], d: number, v: T): T[] => [...list.slice(0, d), v, ...list.slice(d)];
const put = (list: readonly number[], d: number, v: number): number[] =>
  list.map((x, i) => (i === d ? v : x));

/** A step that fits a shape, from three random numbers. */
function step(shape: readonly number[], kind: number, r: number, s: number): Step {
  const ndim = shape.length;
  const d = ndim > 0 ? r % ndim : 0;
  const n = shape[d] ?? 1;
  const negative = (s & 1) === 1;
  switch (ndim === 0 ? 1 : kind) {
    case 0: {
      if (n === 0) break;
      const i = s % n;
      return {
        name: `select ${d} ${i}`,
        tensor: (t) => t.select(negative ? d - ndim : d, negative ? i - n : i),
        model: (m) => build(without(m.shape, d), (ix) => at(m, insert(ix, d, i))),
      };
    }
    case 1: {
      const to = r % (ndim + 1);
      return {
        name: `unsqueeze ${to}`,
        tensor: (t) => t.unsqueeze(negative ? to - ndim - 1 : to),
        model: (m) => build(insert(m.shape, to, 1), (ix) => at(m, without(ix, to))),
      };
    }
    case 2: {
      const start = s % (n + 1);
      const step = 1 + (r % 3);
      const length = Math.ceil((n - start) / step);
      return {
        name: `slice ${d} ${start}:: ${step}`,
        tensor: (t) => t.slice(d, start, null, step),
        model: (m) => build(put(m.shape, d, length), (ix) => at(m, put(ix, d, start + ix[d]! * step))),
      };
    }
    case 3: {
      const e = s % ndim;
      const order = Array.from({ length: ndim }, (_, i) => (i === d ? e : i === e ? d : i));
      return {
        name: `permute ${order}`,
        tensor: (t) => (negative ? t.permute(order) : t.transpose(d, e)),
        model: (m) =>
          build(
            order.map((o) => m.shape[o]!),
            (ix) =>
              at(
                m,
                order.map((_, i) => ix[order.indexOf(i)]!),
              ),
          ),
      };
    }
    case 4: {
      const size = [2, ...shape.map((x) => (x === 1 ? 3 : x))];
      return {
        name: `expand ${size}`,
        tensor: (t) => t.expand(size.map((x, i) => (i > 0 && negative && shape[i - 1] !== 1 ? -1 : x))),
        model: (m) =>
          build(size, (ix) =>
            at(
              m,
              ix.slice(1).map((i, k) => (m.shape[k] === 1 ? 0 : i)),
            ),
          ),
      };
    }
    case 5:
      return {
        name: "squeeze",
        tensor: (t) => t.squeeze(),
        model: (m) => ({ shape: m.shape.filter((x) => x !== 1), data: m.data }),
      };
    case 6: {
      if (n === 0) break;
      const size = 1 + (s % n);
      const by = 1 + (r % 2);
      return {
        name: `unfold ${d} ${size} ${by}`,
        tensor: (t) => t.unfold(d, size, by),
        model: (m) =>
          build([...put(m.shape, d, Math.floor((n - size) / by) + 1), size], (ix) =>
            at(m, put(ix.slice(0, -1), d, ix[d]! * by + ix.at(-1)!)),
          ),
      };
    }
    case 7: {
      if (ndim < 2) break;
      const e = (d + 1) % ndim;
      const offset = (s % 5) - 2;
      const rest = shape.map((_, i) => i).filter((i) => i !== d && i !== e);
      const length = Math.max(
        0,
        offset >= 0 ? Math.min(n, shape[e]! - offset) : Math.min(n + offset, shape[e]!),
      );
      return {
        name: `diagonal ${offset} ${d} ${e}`,
        tensor: (t) => t.diagonal(offset, d, e),
        model: (m) =>
          build([...rest.map((i) => m.shape[i]!), length], (ix) => {
            const full = new Array<number>(ndim).fill(0);
            rest.forEach((i, k) => {
              full[i] = ix[k]!;
            });
            full[d] = ix.at(-1)! + Math.max(0, -offset);
            full[e] = ix.at(-1)! + Math.max(0, offset);
            return at(m, full);
          }),
      };
    }
    case 8:
      return {
        name: "flatten",
        tensor: (t) => t.flatten(d),
        model: (m) => ({ shape: [...m.shape.slice(0, d), numelOf(m.shape.slice(d))], data: m.data }),
      };
    default: {
      const pieces = Math.max(1, Math.min(n, 2));
      const size = Math.ceil(n / pieces);
      const last = Math.max(1, Math.ceil(n / Math.max(size, 1))) - 1;
      return {
        name: `chunk ${d}`,
        tensor: (t) => t.chunk(pieces, d)[n === 0 ? 0 : last]!,
        model: (m) =>
          build(put(m.shape, d, n === 0 ? 0 : n - last * size), (ix) =>
            at(m, put(ix, d, ix[d]! + last * size)),
          ),
      };
    }
  }
  return { name: "same", tensor: (t) => t.view(t.shape), model: (m) => m };
}

const shapes = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 });
const moves = fc.array(fc.tuple(fc.nat(9), fc.nat(50), fc.nat(50)), { minLength: 1, maxLength: 6 });

describe("views", () => {
  it("agree with the model through any chain", async () => {
    await fc.assert(
      fc.asyncProperty(shapes, moves, async (shape, list) => {
        const data = Array.from({ length: numelOf(shape) }, (_, i) => i + 1);
        let m: Model = { shape, data };
        let t = tensor(data, { shape, dtype: "i32" });
        const { storage } = t;
        let shares = true;
        for (const [kind, r, s] of list) {
          const next = step(m.shape, kind, r, s);
          if (numelOf(m.shape) > 4000) break;
          m = next.model(m);
          t = next.tensor(t);
          shares &&= next.name !== "flatten";
          expect(t.shape).toEqual(m.shape);
          expect([...(await t.data())]).toEqual(m.data);
          if (shares) expect(t.storage).toBe(storage);
        }
      }),
      { numRuns: 400 },
    );
  });

  it("view wherever the strides allow it, and only there", () => {
    fc.assert(
      fc.property(
        shapes,
        fc.array(fc.nat(20), { maxLength: 4 }),
        fc.array(fc.nat(9), { maxLength: 5 }),
        (shape, cut, order) => {
          const t = tensor(
            Array.from({ length: numelOf(shape) }, (_, i) => i),
            { shape, dtype: "i32" },
          );
          const dims = shape.map((_, i) => i).sort((a, b) => (order[a] ?? 0) - (order[b] ?? 0));
          const p = t.permute(dims);
          // A random factorisation of the number of elements.
          const target: number[] = [];
          let rest = p.numel;
          for (const c of cut) {
            const factors = Array.from({ length: rest }, (_, i) => i + 1).filter((x) => rest % x === 0);
            if (factors.length === 0) break;
            target.push(factors[c % factors.length]!);
            rest /= target.at(-1)!;
          }
          target.push(rest);
          const strides = viewStrides(p.shape, p.strides, target);
          const want = p.dataSync();
          if (strides !== undefined) expect(p.view(target).dataSync()).toEqual(want);
          else {
            expect(() => p.view(target)).toThrow(/use reshape/);
            // No strides at all give these elements: element i must lie i steps on within each dimension.
            const places = [...want].map(Number);
            const inner = contiguousStrides(target);
            const fits = target.map((n, d) => (n > 1 ? places[inner[d]!]! - places[0]! : 0));
            const model = build(target, (ix) => places[0]! + ix.reduce((sum, i, d) => sum + i * fits[d]!, 0));
            expect(model.data).not.toEqual(places);
          }
          expect(p.reshape(target).dataSync()).toEqual(want);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("collapse to fewer dimensions with the same elements", () => {
    expect(
      collapseDims(
        [2, 3, 4],
        [
          [12, 4, 1],
          [0, 0, 0],
        ],
      ),
    ).toEqual({ shape: [24], strides: [[1], [0]] });
    expect(collapseDims([2, 1, 4], [[8, 4, 1]])).toEqual({ shape: [2, 4], strides: [[8, 1]] });
    expect(collapseDims([], [[]])).toEqual({ shape: [], strides: [[]] });
  });

  it.each<[(t: Tensor) => unknown, RegExp]>([
    [(t) => t.view(5, -1), /shape \[5, -1\] does not hold 24 elements/],
    [(t) => t.view(-1, -1), /more than one -1/],
    [(t) => t.t(), /at most 2 dimensions, not 3/],
    [(t) => t.select(3, 0), /dimension 3 is out of range for a tensor of 3 dimensions \(allowed: -3 to 2\)/],
    [(t) => t.select(0, 2), /index 2 is out of range for dimension 0 of length 2/],
    [(t) => t.narrow(1, 2, 2), /not within dimension 1 of length 3/],
    [(t) => t.expand(2, 4, 4), /does not expand to \[2, 4, 4\]/],
    [(t) => t.permute(0, 1), /names 2 dimensions of a tensor that has 3/],
    [(t) => t.permute(0, 1, 1), /names one twice/],
    [(t) => t.split([1, 1], 1), /do not add up to 3/],
    [(t) => t.asStrided([5, 5], [6, 1]), /is not within the 24 elements/],
    [(t) => t.unfold(1, 4, 1), /do not fit dimension 1 of length 3/],
    [(t) => t.slice(0, 0, 2, 0), /step must be 1 or more/],
    [(t) => t.at(0, 0, 0, 0), /4 indices for a tensor of 3 dimensions/],
    [(t) => t.hsplit(2), /2 sections do not divide the length 3/],
  ])("refuse what does not fit (%#)", (call, message) => {
    expect(() =>
      call(
        tensor(
          Array.from({ length: 24 }, (_, i) => i),
          { shape: [2, 3, 4] },
        ),
      ),
    ).toThrow(message);
  });
});

describe("indexing", () => {
  const t = tensor(
    Array.from({ length: 24 }, (_, i) => i),
    { shape: [2, 3, 4] },
  );

  it("takes numbers, slices, null and ellipsis", async () => {
    expect(await t.at(1, -1, 2).item()).toBe(22n);
    expect(t.at(null, ellipsis, 0).shape).toEqual([1, 2, 3]);
    expect(await t.at(0, slice(1), slice(null, null, 3)).tolist()).toEqual([
      [4n, 7n],
      [8n, 11n],
    ]);
    expect(t.at(slice(-1, null), null, slice(5, 9)).shape).toEqual([1, 1, 0, 4]);
    expect(t.at().shape).toEqual([2, 3, 4]);
    expect(t.T.shape).toEqual([4, 3, 2]);
    expect(t.mT.shape).toEqual([2, 4, 3]);
  });

  it("says what it cannot take", () => {
    expect(() => t.index(tensor([true, false]))).toThrow(/depends on its data/);
    expect(() => t.at(ellipsis, ellipsis)).toThrow(/one ellipsis/);
    expect(() => t.at("x" as unknown as number)).toThrow(/not string/);
    expect(() => t.index([0, 1])).toThrow(/no operator `index.Tensor`/);
  });
});

it("empty checks shapes", () => {
  expect(() => empty([2, -1])).toThrow(/lengths of 0 or more/);
  expect(empty([0, 3]).dataSync().length).toBe(0);
});
