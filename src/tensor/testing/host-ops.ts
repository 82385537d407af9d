// Operators over host arrays, for tests of tensor/ alone: the few that gradients are made of, under the names that
// `ops/` declares for real. Not part of the library.

import { entry } from "../../chips/interpreter/index.js";
import { registerChip, setDefaultChip } from "../../runtime/registry.js";
import { resultType, type DType, type Scalar } from "../dtype.js";
import { emptyLike, tensor } from "../factory.js";
import { encode } from "../host.js";
import { broadcastShapes, normalizeDims, numelOf } from "../layout.js";
import { operator, type Operator } from "../operator.js";
import { readDataSync } from "../read.js";
import { Tensor } from "../tensor.js";
import { expand } from "../views.js";
import "../index.js";

registerChip(entry);
await setDefaultChip("interpreter");

type Value = Tensor | Scalar;

const numbers = (t: Tensor): number[] => Array.from(readDataSync(t), Number);

function made(values: readonly number[], shape: readonly number[], dtype: DType): Tensor {
  return tensor(values as number[], { shape, dtype });
}

function binary(a: Value, b: Value, f: (x: number, y: number) => number): Tensor {
  const shape = broadcastShapes(...[a, b].filter((x) => x instanceof Tensor).map((x) => x.shape));
  const n = numelOf(shape);
  const list = (x: Value): number[] =>
    x instanceof Tensor ? numbers(expand(x.detach(), shape)) : new Array<number>(n).fill(Number(x));
  const ys = list(b);
  return made(
    list(a).map((x, i) => f(x, ys[i]!)),
    shape,
    resultType(a, b),
  );
}

/** Writes values (row-major) into a tensor of any strides. */
function store(target: Tensor, values: readonly number[]): void {
  const index = new Array<number>(target.ndim).fill(0);
  for (const v of values) {
    const at = index.reduce((sum, i, d) => sum + i * target.strides[d]!, target.offset);
    target.chip.driver.write(target.buffer, at * target.itemSize, encode([v], target.dtype));
    for (let d = target.ndim - 1; d >= 0; d--) {
      if (++index[d]! < target.shape[d]!) break;
      index[d] = 0;
    }
  }
}

export const add: Operator<(self: Value, other: Value, options?: { alpha?: Scalar }) => Tensor> = operator({
  schema: "add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor",
  scalars: true,
  run: (a: Value, b: Value, alpha: Scalar) => binary(a, b, (x, y) => x + Number(alpha) * y),
  derivative: { backward: (ctx, g) => [g, mul(g, ctx.args[2] as Scalar)] },
  opinfo: ["add"],
});

export const mul: Operator<(self: Value, other: Value) => Tensor> = operator({
  schema: "mul.Tensor(Tensor self, Tensor other) -> Tensor",
  scalars: true,
  run: (a: Value, b: Value) => binary(a, b, (x, y) => x * y),
  derivative: {
    save: (args) => args.filter((x): x is Tensor => x instanceof Tensor),
    backward: (ctx, g) => {
      const [a, b] = ctx.args.map((x) => (typeof x === "object" ? null : (x as Scalar)));
      const saved = [...ctx.saved];
      const first = a ?? saved.shift()!;
      const second = b ?? saved.shift()!;
      return [ctx.needs[0] ? mul(g, second) : null, ctx.needs[1] ? mul(g, first) : null];
    },
  },
});

export const exp: Operator<(self: Tensor) => Tensor> = operator({
  schema: "exp(Tensor self) -> Tensor",
  run: (x: Tensor) => made(numbers(x).map(Math.exp), x.shape, resultType(x, "f32")),
  derivative: { save: (_args, out) => out, backward: (ctx, g) => [mul(g, ctx.saved[0]!)] },
});

export const sum: Operator<(self: Tensor, dim?: readonly number[] | null, keepdim?: boolean) => Tensor> =
  operator({
    schema:
      "sum.dim_IntList(Tensor self, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
    run: (x: Tensor, dim: readonly number[] | null, keepdim: boolean) => {
      const dims = normalizeDims(dim, x.ndim);
      const kept = x.shape.map((n, d) => (dims.includes(d) ? 1 : n));
      const out = new Array<number>(numelOf(kept)).fill(0);
      const index = new Array<number>(x.ndim).fill(0);
      for (const v of numbers(x)) {
        out[index.reduce((at, i, d) => at * kept[d]! + (dims.includes(d) ? 0 : i), 0)]! += v;
        for (let d = x.ndim - 1; d >= 0; d--) {
          if (++index[d]! < x.shape[d]!) break;
          index[d] = 0;
        }
      }
      return made(out, keepdim ? kept : x.shape.filter((_, d) => !dims.includes(d)), x.dtype);
    },
    derivative: {
      backward: (ctx, g) => {
        const { shape } = ctx.meta(0);
        const dims = normalizeDims(ctx.args[1] as number[] | null, shape.length);
        const kept = shape.map((n, d) => (dims.includes(d) ? 1 : n));
        return [g.reshape(kept).expand(shape)];
      },
    },
  });

export const copy: Operator<(self: Tensor, src: Tensor) => Tensor> = operator({
  schema: "copy_(Tensor(a!) self, Tensor src, bool non_blocking=False) -> Tensor(a!)",
  run: (self: Tensor, src: Tensor) => {
    store(self, numbers(expand(src.detach(), self.shape)));
    return self;
  },
  derivative: { backward: (_ctx, g) => [null, g] },
});

export const mulInPlace: Operator<(self: Tensor, other: Value) => Tensor> = operator({
  schema: "mul_.Tensor(Tensor(a!) self, Tensor other) -> Tensor(a!)",
  scalars: true,
  run: (self: Tensor, other: Value) => {
    store(self, numbers(binary(self, other, (x, y) => x * y)));
    return self;
  },
  derivative: {
    saveBefore: ([self], needs) => (needs[1] ? [clone(self as Tensor)] : []),
    save: (args) => args.slice(1).filter((x): x is Tensor => x instanceof Tensor),
    backward: (ctx, g) => [
      mul(g, ctx.saved.at(-1) ?? (ctx.args[1] as Scalar)),
      ctx.needs[1] ? mul(g, ctx.saved[0]!) : null,
    ],
  },
});

const copyOf = (x: Tensor): Tensor => made(numbers(x), x.shape, x.dtype);

export const clone: Operator<(self: Tensor) => Tensor> = operator({
  schema: "clone(Tensor self, *, MemoryFormat? memory_format=None) -> Tensor",
  run: copyOf as (...args: unknown[]) => Tensor,
  derivative: { backward: (_ctx, g) => [g] },
});

export const contiguous: Operator<(self: Tensor) => Tensor> = operator({
  schema: "contiguous(Tensor(a) self, *, MemoryFormat memory_format=contiguous_format) -> Tensor(a)",
  run: (x: Tensor) => (x.isContiguous ? x : copyOf(x)),
  derivative: { backward: (_ctx, g) => [g] },
});

export const cast: Operator<(self: Tensor, options?: { dtype?: DType }) => Tensor> = operator({
  schema: "_to_copy(Tensor self, *, ScalarType? dtype=None) -> Tensor",
  run: (x: Tensor, dtype: DType | null) => made(numbers(x), x.shape, dtype ?? x.dtype),
  derivative: { backward: (_ctx, g) => [g] },
});

export const cat: Operator<(tensors: readonly Tensor[], dim?: number) => Tensor> = operator({
  schema: "cat(Tensor[] tensors, int dim=0) -> Tensor",
  run: (tensors: readonly Tensor[], dim: number) => {
    const like = tensors[0]!;
    const shape = like.shape.slice();
    const d = dim < 0 ? dim + like.ndim : dim;
    shape[d] = tensors.reduce((n, x) => n + x.shape[d]!, 0);
    const out = emptyLike(like, { shape });
    let at = 0;
    for (const x of tensors) {
      store(out.narrow(d, at, x.shape[d]!), numbers(x));
      at += x.shape[d]!;
    }
    return out;
  },
  derivative: {
    backward: (ctx, g) => {
      let at = 0;
      const dim = ctx.args[1] as number;
      return [
        (ctx.args[0] as Tensor[]).map((x) => {
          const n = x.shape.at(dim)!;
          at += n;
          return g.narrow(dim, at - n, n);
        }),
      ];
    },
  },
});

export const indexAdd: Operator<(self: Tensor, dim: number, index: Tensor, source: Tensor) => Tensor> =
  operator({
    schema: "index_add(Tensor self, int dim, Tensor index, Tensor source, *, Scalar alpha=1) -> Tensor",
    run: (self: Tensor, _dim: number, index: Tensor, source: Tensor) => {
      const out = numbers(self);
      const from = numbers(source);
      numbers(index).forEach((at, i) => {
        out[at]! += from[i]!;
      });
      return made(out, self.shape, self.dtype);
    },
    derivative: {
      backward: (ctx, g) => [g, null, indexSelect(g, 0, ctx.saved[0]!)],
      save: (args) => [args[2] as Tensor],
    },
  });

export const indexSelect: Operator<(self: Tensor, dim: number, index: Tensor) => Tensor> = operator({
  schema: "index_select(Tensor self, int dim, Tensor index) -> Tensor",
  run: (self: Tensor, _dim: number, index: Tensor) => {
    const values = numbers(self);
    return made(
      numbers(index).map((i) => values[i]!),
      index.shape,
      self.dtype,
    );
  },
  derivative: {
    save: (args) => [args[2] as Tensor],
    backward: (ctx, g) => {
      const { shape, dtype } = ctx.meta(0);
      return [
        indexAdd(made(new Array<number>(numelOf(shape)).fill(0), shape, dtype), 0, ctx.saved[0]!, g),
        null,
      ];
    },
  },
});
