// Contractions of several tensors: einsum, tensordot, bilinear, cross products. All products are batches of matrices.

import {
  callOperator,
  isFloatDType,
  resultType,
  type Operator,
  operator,
  showShape,
  type Tensor,
} from "../tensor/index.js";
import { add, mul, sub } from "./binary.js";
import { toCopy } from "./cast.js";
import { bmm, matmul } from "./matmul.js";
import { stack } from "./join.js";
import { pointwise } from "./pointwise.js";
import { sum } from "./reduce.js";

/** The sum over dimensions; of integers in i64. */
const summed = (t: Tensor, dims: readonly number[], keepdim: boolean): Tensor =>
  dims.length === 0 ? t : sum(t, dims, keepdim);

/**
 * The product of two tensors over the same dimensions (of length 1 where one has none), summed over `dims`, which stay as
 * 1: as a batch of matrix products.
 */
function contracted(a: Tensor, b: Tensor, dims: ReadonlySet<number>): Tensor {
  let [x, y] = [a, b];
  const [batch, left, right, inner]: [number[], number[], number[], number[]] = [[], [], [], []];
  for (let d = 0; d < a.ndim; d++) {
    const [n, m] = [a.shape[d]!, b.shape[d]!];
    if (dims.has(d)) {
      // Of a dimension that only one of them has the other needs no part.
      if (n !== 1 && m !== 1) inner.push(d);
      else if (n !== 1) x = summed(x, [d], true);
      else y = summed(y, [d], true);
    } else if (n !== 1 && m !== 1) batch.push(d);
    else if (n !== 1) left.push(d);
    else right.push(d);
  }
  if (inner.length === 0) return mul(x, y);
  if (x.dtype !== y.dtype) {
    const dtype = resultType(x, y);
    [x, y] = [toCopy(x, { dtype }), toCopy(y, { dtype })];
  }
  const length = (t: Tensor, list: readonly number[]): number => list.reduce((p, d) => p * t.shape[d]!, 1);
  const others = (used: readonly number[]): number[] =>
    Array.from({ length: a.ndim }, (_, d) => d).filter((d) => !used.includes(d));
  const forX = [...batch, ...left, ...inner];
  const forY = [...batch, ...inner, ...right];
  const [B, L, K, R] = [length(x, batch), length(x, left), length(x, inner), length(y, right)];
  const p = bmm(
    x.permute([...forX, ...others(forX)]).reshape([B, L, K]),
    y.permute([...forY, ...others(forY)]).reshape([B, K, R]),
  );
  const order = [...batch, ...left, ...right];
  const rest = others(order);
  const all = [...order, ...rest];
  const shape = [
    ...batch.map((d) => x.shape[d]!),
    ...left.map((d) => x.shape[d]!),
    ...right.map((d) => y.shape[d]!),
    ...rest.map(() => 1),
  ];
  const back = all.map((_, d) => all.indexOf(d));
  return p.view(shape).permute(back);
}

const DOTS = "...";

/** The letters of one operand, `...` as one entry. */
function labelsOf(text: string, equation: string): string[] {
  const labels: string[] = [];
  for (let i = 0; i < text.length; i++) {
    const c = text[i]!;
    if (c === " ") continue;
    if (text.startsWith(DOTS, i)) {
      if (labels.includes(DOTS))
        throw new RangeError(`einsum: two times ... in one operand of "${equation}"`);
      labels.push(DOTS);
      i += 2;
    } else if (/[a-zA-Z]/.test(c)) labels.push(c);
    else throw new RangeError(`einsum: "${c}" in "${equation}" is no letter`);
  }
  return labels;
}

/**
 * Einstein's summation: each letter names a dimension; what stands on no result's side is summed over, a letter twice in one
 * operand takes its diagonal, `...` stands for all other dimensions, which broadcast. PyTorch: `torch.einsum`.
 * @example einsum("bij,bjk->bik", [a, b]);
 */
export const einsum: Operator<(equation: string, tensors: readonly Tensor[]) => Tensor> = operator({
  schema: "einsum(str equation, Tensor[] tensors) -> Tensor",
  run: (equation: string, tensors: readonly Tensor[]) => {
    const [left, right, ...more] = equation.split("->");
    if (left === undefined || more.length > 0) throw new RangeError(`einsum: "${equation}" has two arrows`);
    const inputs = left.split(",").map((text) => labelsOf(text, equation));
    if (inputs.length !== tensors.length || tensors.length === 0)
      throw new RangeError(`einsum: "${equation}" takes ${inputs.length} tensors, not ${tensors.length}`);
    let dots = 0;
    inputs.forEach((labels, i) => {
      const t = tensors[i]!;
      const named = labels.filter((c) => c !== DOTS).length;
      if (labels.includes(DOTS) ? t.ndim < named : t.ndim !== named)
        throw new RangeError(
          `einsum: "${labels.join("")}" does not name the dimensions of ${showShape(t.shape)}`,
        );
      if (labels.includes(DOTS)) dots = Math.max(dots, t.ndim - named);
    });
    const counts = new Map<string, number>();
    for (const labels of inputs) for (const c of labels) counts.set(c, (counts.get(c) ?? 0) + 1);
    const output =
      right === undefined
        ? [
            ...(counts.has(DOTS) ? [DOTS] : []),
            ...[...counts].flatMap(([c, n]) => (n === 1 && c !== DOTS ? [c] : [])).sort(),
          ]
        : labelsOf(right, equation);
    for (const c of output)
      if (c !== DOTS && !counts.has(c))
        throw new RangeError(`einsum: the result's "${c}" is in no operand of "${equation}"`);
    // One order of dimensions for all: the result's, then what is summed over.
    const dotted = (c: string): string[] =>
      c === DOTS ? Array.from({ length: dots }, (_, i) => `...${i}`) : [c];
    const kept = output.flatMap(dotted);
    const all = [...kept, ...[...counts.keys()].flatMap(dotted).filter((c) => !kept.includes(c))];
    const operands = tensors.map((t, i) => aligned(t, inputs[i]!, all, dots));
    const last = new Map<string, number>();
    operands.forEach((t, i) => {
      all.forEach((c, d) => {
        if (t.shape[d] !== 1) last.set(c, i);
      });
    });
    const summable = (i: number): number[] =>
      all.flatMap((c, d) => (d >= kept.length && (last.get(c) ?? 0) === i ? [d] : []));
    const dims = summable(0).filter((d) => operands.length === 1 || operands[0]!.shape[d] !== 1);
    let result = operands[0]!;
    if (dims.length > 0)
      result = operands.length === 1 ? sum(result, dims, true) : summed(result, dims, true);
    for (let i = 1; i < operands.length; i++) result = contracted(result, operands[i]!, new Set(summable(i)));
    return result.reshape(result.shape.slice(0, kept.length));
  },
  derivative: "composite",
  opinfo: [{ op: "einsum", adapt: (input, args) => [args[0], input] }],
  stage: "stable",
  summary: "Einstein's summation",
});

/** The operand with one dimension for each of `all`, of length 1 where it has none; repeated letters give diagonals. */
function aligned(t: Tensor, labels: readonly string[], all: readonly string[], dots: number): Tensor {
  const own = t.ndim - labels.filter((c) => c !== DOTS).length;
  const names = labels.flatMap((c) =>
    c === DOTS ? Array.from({ length: own }, (_, i) => `...${i + dots - own}`) : [c],
  );
  let x = t;
  for (let d = 0; d < names.length; d++) {
    const again = names.indexOf(names[d]!, d + 1);
    if (again < 0) continue;
    if (x.shape[d] !== x.shape[again])
      throw new RangeError(`einsum: "${names[d]}" names lengths ${x.shape[d]} and ${x.shape[again]}`);
    x = x.diagonal(0, d, again).movedim(-1, d);
    names.splice(again, 1);
    d--;
  }
  const present = all.filter((c) => names.includes(c));
  x = x.permute(present.map((c) => names.indexOf(c)));
  all.forEach((c, d) => {
    if (!names.includes(c)) x = x.unsqueeze(d);
  });
  return x;
}

/**
 * The product of two tensors summed over pairs of dimensions: `dimsSelf[i]` of one with `dimsOther[i]` of the other.
 * PyTorch: `torch.tensordot`.
 */
export const tensordot: Operator<
  (self: Tensor, other: Tensor, dimsSelf: readonly number[], dimsOther: readonly number[]) => Tensor
> = operator({
  schema: "tensordot(Tensor self, Tensor other, int[] dims_self, int[] dims_other) -> Tensor",
  run: (self: Tensor, other: Tensor, dimsSelf: readonly number[], dimsOther: readonly number[]) => {
    const at = (t: Tensor, dims: readonly number[]): number[] => dims.map((d) => (d < 0 ? d + t.ndim : d));
    const [a, b] = [at(self, dimsSelf), at(other, dimsOther)];
    if (
      a.length !== b.length ||
      a.some((d, i) => ![1, self.shape[d]].includes(other.shape[b[i]!]) && self.shape[d] !== 1)
    )
      throw new RangeError(
        `tensordot: dimensions ${showShape(dimsSelf)} of ${showShape(self.shape)} do not meet ${showShape(dimsOther)} of ${showShape(other.shape)}`,
      );
    // A dimension of length 1 meets any other, which is summed first.
    const longer = (t: Tensor, own: readonly number[], u: Tensor, its: readonly number[]): Tensor => {
      const dims = own.filter((d, i) => u.shape[its[i]!] === 1 && t.shape[d] !== 1);
      return dims.length === 0 ? t : sum(t, dims, true, { dtype: t.dtype });
    };
    const [x, y] = [longer(self, a, other, b), longer(other, b, self, a)];
    const free = (t: Tensor, used: readonly number[]): number[] =>
      t.shape.map((_, d) => d).filter((d) => !used.includes(d));
    const [left, right] = [free(self, a), free(other, b)];
    const K = a.reduce((n, d) => n * x.shape[d]!, 1);
    const size = (t: Tensor, list: readonly number[]): number => list.reduce((n, d) => n * t.shape[d]!, 1);
    const p = matmul(
      x.permute([...left, ...a]).reshape([size(self, left), K]),
      y.permute([...b, ...right]).reshape([K, size(other, right)]),
    );
    return p.view([...left.map((d) => self.shape[d]!), ...right.map((d) => other.shape[d]!)]);
  },
  derivative: "composite",
  opinfo: [
    {
      op: "tensordot",
      adapt: (input, args, kwargs) => {
        const dims = (kwargs["dims"] ?? args[1]) as number | [number[], number[]];
        if (typeof dims !== "number") return [input, args[0], dims[0], dims[1]];
        const rank = (input as Tensor).ndim;
        const list = Array.from({ length: dims }, (_, i) => i);
        return [input, args[0], list.map((i) => rank - dims + i), list];
      },
    },
  ],
  stage: "stable",
  summary: "Product of tensors summed over pairs of dimensions",
});

/** `x1 @ weight[o] @ x2 + bias[o]` for each `o`: weight `[out, in1, in2]`. PyTorch: `F.bilinear`. */
export const bilinear: Operator<
  (input1: Tensor, input2: Tensor, weight: Tensor, bias?: Tensor | null) => Tensor
> = operator({
  schema: "bilinear(Tensor input1, Tensor input2, Tensor weight, Tensor? bias=None) -> Tensor",
  method: false,
  run: (x1: Tensor, x2: Tensor, weight: Tensor, bias: Tensor | null) => {
    const [O, I, J] = weight.shape as [number, number, number];
    if (weight.ndim !== 3 || x1.shape.at(-1) !== I || x2.shape.at(-1) !== J)
      throw new RangeError(
        `bilinear: weight ${showShape(weight.shape)} does not fit ${showShape(x1.shape)} and ${showShape(x2.shape)}`,
      );
    const lead = x1.shape.slice(0, -1);
    const rows = lead.reduce((n, d) => n * d, 1);
    const wide = matmul(x1.reshape([rows, I]), weight.permute([1, 0, 2]).reshape([I, O * J]));
    const y = bmm(wide.view([rows, O, J]), x2.reshape([rows, J, 1])).view([...lead, O]);
    return bias ? add(y, bias) : y;
  },
  derivative: "composite",
  opinfo: ["nn.functional.bilinear"],
  stage: "stable",
  summary: "Bilinear map of two vectors",
});

/** Products of narrow floats are rounded before their difference, as PyTorch's. */
const minorOf = (a: Tensor, b: Tensor, c: Tensor, d: Tensor): Tensor =>
  isFloatDType(a.dtype) && a.itemSize < 4 ? sub(mul(a, d), mul(b, c)) : minor(a, b, c, d);
const minor = pointwise((_tl, a, b, c, d) => a * d - b * c, { name: "minor" });
/** The cross product of vectors of 3 along `dim` (default: the first dimension of length 3). PyTorch: `torch.cross`. */
export const cross: Operator<(self: Tensor, other: Tensor, dim?: number | null) => Tensor> = operator({
  schema: "cross(Tensor self, Tensor other, int? dim=None) -> Tensor",
  run: (self: Tensor, other: Tensor, dim: number | null) => {
    const [x, y] = callOperator("broadcast_tensors", [self, other]) as [Tensor, Tensor];
    const found = dim ?? x.shape.indexOf(3);
    const d = found < 0 && dim !== null ? found + x.ndim : found;
    if (x.shape[d] !== 3)
      throw new RangeError(`cross: dimension ${String(dim)} of ${showShape(x.shape)} is not of length 3`);
    const part = (i: number, j: number): Tensor =>
      minorOf(x.select(d, i), x.select(d, j), y.select(d, i), y.select(d, j));
    return stack([part(1, 2), part(2, 0), part(0, 1)], d);
  },
  derivative: "composite",
  opinfo: ["cross"],
  stage: "stable",
  summary: "Cross product of vectors",
});
