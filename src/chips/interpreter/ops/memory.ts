// Loads, stores and atomics, each access checked against the buffer.

// biome-ignore-all lint/suspicious/noSelfCompare: `x !== x` finds NaN in numbers and holds for bigints

import { type Op, is64, type Value } from "../../../compiler/ir/index.js";
import { type Elements, isNarrow } from "../elements.js";
import { type Binding, type Emit, interpret, type Step, tileType } from "../emit.js";
import { fault } from "../fault.js";
import { bitArray, narrowBits, narrowBitsOf, narrowValues } from "../narrow.js";
import { A, specialize } from "../loops.js";

// The loops return the position of the first access outside the buffer, or -1.

type Load = (o: A, view: A, base: number, at: A, n: number, mask: A | null, other: A | null) => number;

const loadAll: Load = (o, view, base, at, n) => {
  const size = view.length;
  for (let i = 0; i < n; i++) {
    const k = base + at[i]!;
    if (!(k >= 0 && k < size)) return i;
    o[i] = view[k]!;
  }
  return -1;
};
/** `other` is never null here: a tile of zeros where the op has none. */
const loadMasked: Load = (o, view, base, at, n, mask, other) => {
  const size = view.length;
  for (let i = 0; i < n; i++) {
    if (mask![i] !== 0) {
      const k = base + at[i]!;
      if (!(k >= 0 && k < size)) return i;
      o[i] = view[k]!;
    } else o[i] = other![i]!;
  }
  return -1;
};
const loadHalf = (
  o: A,
  view: A,
  base: number,
  at: A,
  n: number,
  mask: A | null,
  other: A | null,
  values: Float32Array,
): number => {
  const size = view.length;
  for (let i = 0; i < n; i++) {
    if (mask === null || mask[i] !== 0) {
      const k = base + at[i]!;
      if (!(k >= 0 && k < size)) return i;
      o[i] = values[view[k]!]!;
    } else o[i] = other![i]!;
  }
  return -1;
};

type Store = (view: A, base: number, at: A, v: A, n: number, mask: A | null) => number;
const storeAll: Store = (view, base, at, v, n) => {
  const size = view.length;
  for (let i = 0; i < n; i++) {
    const k = base + at[i]!;
    if (!(k >= 0 && k < size)) return i;
    view[k] = v[i]!;
  }
  return -1;
};
const storeMasked: Store = (view, base, at, v, n, mask) => {
  const size = view.length;
  for (let i = 0; i < n; i++) {
    if (mask![i] === 0) continue;
    const k = base + at[i]!;
    if (!(k >= 0 && k < size)) return i;
    view[k] = v[i]!;
  }
  return -1;
};

/** Offsets as numbers: 64-bit ones are converted before each access. */
function offsets(v: Value, e: Emit): { array: A; refresh?: Step } {
  const from = e.array(v);
  if (!is64(tileType(v).dtype)) return { array: A(from) };
  const array = new Float64Array(from.length);
  const n = from.length;
  return {
    array,
    refresh: () => {
      for (let i = 0; i < n; i++) array[i] = Number(from[i]);
    },
  };
}

function outside(op: Op, e: Emit, b: Binding, at: A, lane: number): Error {
  const offset = at[lane]!;
  const shape = tileType(op.operands[1]!).shape;
  const place = shape.length === 0 ? "" : ` (element ${lane} of a tile [${shape}])`;
  const start = b.base > 0 ? `, which starts ${b.base} elements into its buffer` : "";
  return fault(
    e.func,
    e.state,
    op,
    `at offset ${offset} is outside ${b.name}: ${b.view.length - b.base} elements of ${b.dtype}${start}${place}`,
  );
}

interpret("load", (op, e) => {
  const b = e.buffer(op.operands[0]!);
  const at = offsets(op.operands[1]!, e);
  const out = e.array(op.result);
  const o = A(out);
  const n = out.length;
  const mask = op.operands[2] ? A(e.array(op.operands[2])) : null;
  const zeros = mask && !op.operands[3] ? out.slice() : undefined;
  const other = op.operands[3] ? A(e.array(op.operands[3])) : zeros ? A(zeros) : null;
  const key = `${b.dtype},${tileType(op.operands[1]!).dtype}`;
  const half = isNarrow(b.dtype)
    ? { run: specialize(loadHalf, key), values: narrowValues(b.dtype) }
    : undefined;
  const run: Load = half
    ? (o, view, base, at, n, mask, other) => half.run(o, view, base, at, n, mask, other, half.values)
    : specialize(mask ? loadMasked : loadAll, key);
  return () => {
    at.refresh?.();
    const bad = run(o, A(b.view), b.base, at.array, n, mask, other);
    if (bad >= 0) throw outside(op, e, b, at.array, bad);
  };
});

/** The values as they stand in memory: the bits of narrow floats. */
function stored(v: Value, e: Emit): { array: Elements; refresh?: Step } {
  const d = tileType(v).dtype;
  const from = e.array(v);
  if (!isNarrow(d)) return { array: from };
  const array = bitArray(d, from.length);
  return { array, refresh: () => narrowBits(d, array, from, from.length) };
}

interpret("store", (op, e) => {
  const b = e.buffer(op.operands[0]!);
  const at = offsets(op.operands[1]!, e);
  const value = stored(op.operands[2]!, e);
  const v = A(value.array);
  const n = v.length;
  const mask = op.operands[3] ? A(e.array(op.operands[3])) : null;
  const run = specialize(mask ? storeMasked : storeAll, `${b.dtype},${tileType(op.operands[1]!).dtype}`);
  return () => {
    at.refresh?.();
    value.refresh?.();
    const bad = run(A(b.view), b.base, at.array, v, n, mask);
    if (bad >= 0) throw outside(op, e, b, at.array, bad);
  };
});

type Combine = (old: number, value: number) => number;
/** Also for bigints: the operators mean the same. NaN wins in max and min, as in the element-wise ops. */
const combine: Record<string, Combine> = {
  add: (x, y) => x + y,
  max: (x, y) => (x > y || x !== x ? x : y),
  min: (x, y) => (x < y || x !== x ? x : y),
  and: (x, y) => x & y,
  or: (x, y) => x | y,
  xor: (x, y) => x ^ y,
  xchg: (_x, y) => y,
};

/** Reading and writing single elements of a binding by value. */
function element(b: Binding): { get(k: number): number; set(k: number, v: number): void } {
  const d = b.dtype;
  if (!isNarrow(d)) {
    return {
      get: (k) => b.view[k] as number,
      set: (k, v) => {
        b.view[k] = v;
      },
    };
  }
  const values = narrowValues(d);
  const toBits = narrowBitsOf(d);
  return {
    get: (k) => values[b.view[k] as number]!,
    set: (k, v) => {
      b.view[k] = toBits(Math.fround(v));
    },
  };
}

interpret("atomic", (op, e) => {
  const b = e.buffer(op.operands[0]!);
  const at = offsets(op.operands[1]!, e);
  const v = A(e.array(op.operands[2]!));
  const mask = op.operands[3] ? A(e.array(op.operands[3])) : null;
  const out = A(e.array(op.result));
  const zero = out[0]!; // 0 or 0n
  const f = combine[op.attrs["kind"] as string];
  if (!f) throw new Error(`no atomic is called ${op.attrs["kind"]}`);
  const memory = element(b);
  return () => {
    at.refresh?.();
    for (let i = 0; i < out.length; i++) {
      if (mask && mask[i] === 0) {
        out[i] = zero;
        continue;
      }
      const k = b.base + at.array[i]!;
      if (!(k >= 0 && k < b.view.length)) throw outside(op, e, b, at.array, i);
      const old = memory.get(k);
      memory.set(k, f(old, v[i]!));
      out[i] = old;
    }
  };
});

interpret("atomicCas", (op, e) => {
  const b = e.buffer(op.operands[0]!);
  const at = offsets(op.operands[1]!, e);
  const expected = A(e.array(op.operands[2]!));
  const v = A(e.array(op.operands[3]!));
  const mask = op.operands[4] ? A(e.array(op.operands[4])) : null;
  const out = A(e.array(op.result));
  const zero = out[0]!;
  const memory = element(b);
  return () => {
    at.refresh?.();
    for (let i = 0; i < out.length; i++) {
      if (mask && mask[i] === 0) {
        out[i] = zero;
        continue;
      }
      const k = b.base + at.array[i]!;
      if (!(k >= 0 && k < b.view.length)) throw outside(op, e, b, at.array, i);
      const old = memory.get(k);
      if (old === expected[i]) memory.set(k, v[i]!);
      out[i] = old;
    }
  };
});
