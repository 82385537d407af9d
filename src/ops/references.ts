// Plain compositions of fused operators, as their `reference` implementations: what runs where the fused kernel is
// switched off (`useOps({ exclude: ["vexil"] }, …)` for one operator: `"add_rms_norm:vexil"`), and what tests compare with.

import { addImplementation, callOperator, type Tensor } from "../tensor/index.js";
import "./add-rms-norm.js";
import "./cross-entropy-rows.js";
import "./rms-norm.js";
import "./rotary.js";

const call = (name: string, ...args: unknown[]): Tensor => callOperator(name, ...args) as Tensor;
const add = (a: Tensor, b: Tensor | number): Tensor => call("add.Tensor", a, b);
const mul = (a: Tensor, b: Tensor | number): Tensor => call("mul.Tensor", a, b);
const wide = (t: Tensor): Tensor => (t.dtype === "f64" || t.dtype === "f32" ? t : (t.to("f32") as Tensor));

function reference(operator: string, run: (...args: never[]) => unknown): void {
  addImplementation(operator, {
    name: "reference",
    kind: "reference",
    run: run as (...args: unknown[]) => unknown,
  });
}

/** Over all trailing dimensions of `shape`, in f32 for the half types. */
function rms(x: Tensor, shape: readonly number[], weight: Tensor | null, eps: number): Tensor {
  const v = wide(x);
  const dims = shape.map((_, i) => -1 - i);
  const scale = call("rsqrt", add(call("mean.dim", mul(v, v), dims, true), eps));
  const y = weight ? mul(mul(v, scale), wide(weight)) : mul(v, scale);
  return y.to(x.dtype) as Tensor;
}

const EPSILON: Readonly<Record<string, number>> = {
  f64: 2 ** -52,
  f32: 2 ** -23,
  f16: 2 ** -10,
  bf16: 2 ** -7,
};

reference("rms_norm", (x: Tensor, shape: readonly number[], weight: Tensor | null, eps: number | null) =>
  rms(x, shape, weight, eps ?? EPSILON[x.dtype]!),
);
reference("vexil::add_rms_norm", (x: Tensor, residual: Tensor, weight: Tensor | null, eps: number) => {
  const total = add(x, residual);
  return [rms(total, [total.shape.at(-1)!], weight, eps), total];
});
reference("vexil::rotary", (x: Tensor, cos: Tensor, sin: Tensor, back: boolean, interleaved: boolean) => {
  const half = x.shape[3]! / 2;
  const [c, s] = [wide(cos), back ? mul(wide(sin), -1) : wide(sin)];
  const pairs = interleaved ? x.unflatten(3, [half, 2]).transpose(3, 4) : x.unflatten(3, [2, half]);
  const [a, b] = [wide(pairs.select(3, 0)), wide(pairs.select(3, 1))];
  const turned = [add(mul(a, c), mul(mul(b, s), -1)), add(mul(b, c), mul(a, s))];
  return (call("stack", turned, interleaved ? 4 : 3).reshape([...x.shape]) as Tensor).to(x.dtype);
});
reference("vexil::cross_entropy_rows", (x: Tensor, target: Tensor, ignore: number) => {
  const v = wide(x);
  const lse = call("logsumexp", v, [1]);
  const known = call("logical_and", call("ge.Tensor", target, 0), call("lt.Tensor", target, v.shape[1]));
  const at = call("where.self", known, target, 0);
  const own = call("gather", v, 1, at.unsqueeze(1)).squeeze(1);
  const loss = call("where.self", known, add(lse, mul(own, -1)), Number.NaN);
  return [call("where.self", call("eq.Tensor", target, ignore), 0, loss), lse];
});
