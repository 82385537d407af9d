// Derivatives of pointwise functions: found by differentiating the scalar function, and run as another pointwise
// kernel, which can be differentiated in turn.

import { Block, Builder, type Func, Op, tile, type Value } from "../../compiler/ir/index.js";
import type { ScalarFunction } from "../../compiler/lang/index.js";
import { differentiate } from "../../compiler/passes/index.js";
import { type DType, isFloatDType } from "../../tensor/dtype.js";
import { isGradEnabled } from "../../tensor/grad-mode.js";
import { customFunction } from "../../tensor/record.js";
import { Tensor } from "../../tensor/tensor.js";
import { type Input, PointwiseKernel } from "./kernel.js";
import type { Operand } from "./promote.js";

/** What the gradient of one input is. */
type Result =
  /** Always zero. */
  | { readonly kind: "zero" }
  /** The gradient of output `output`, as it came. */
  | { readonly kind: "same"; readonly output: number }
  /** Result number `index` of the gradient kernel. */
  | { readonly kind: "kernel"; readonly index: number };

/** The derivative for one set of wanted gradients and dtypes. */
interface Plan {
  /** The inputs that the derivative reads. */
  readonly live: readonly boolean[];
  /** For each input that wants a gradient. */
  readonly results: ReadonlyMap<number, Result>;
  /** Takes the live inputs, then the gradients of the outputs; undefined if it has nothing to compute. */
  readonly kernel: PointwiseKernel | undefined;
}

/** A pointwise function with its derivative. */
export class Differentiable {
  private readonly plans = new Map<string, Plan>();
  private recorded: ((...inputs: Input[]) => readonly Tensor[]) | undefined;

  constructor(
    readonly kernel: PointwiseKernel,
    /** `(tl, ...inputs, ...outputGrads) => [gradients of all inputs]`, instead of the generated one. */
    readonly written?: ScalarFunction,
  ) {}

  /** The derivative with respect to the inputs that `needs` says. */
  plan(inputs: readonly Operand[], needs: readonly boolean[]): Plan {
    const common = this.kernel.promoted(inputs);
    const dtypes = inputs.map((x, i) => this.kernel.computeOf(i, x, common));
    const key = `${needs.map(Number).join("")} ${dtypes.join()}`;
    let plan = this.plans.get(key);
    if (plan === undefined) {
      plan = this.derive(dtypes, needs);
      this.plans.set(key, plan);
    }
    return plan;
  }

  /** Runs, and records for gradients if some input wants them. */
  call(inputs: readonly Input[]): readonly Tensor[] {
    if (!isGradEnabled() || !inputs.some((x) => x instanceof Tensor && x.requiresGrad))
      return this.kernel.run(inputs);
    this.recorded ??= this.recording();
    return this.recorded(...inputs);
  }

  private recording(): (...inputs: Input[]) => readonly Tensor[] {
    return customFunction<Input[], readonly Tensor[]>({
      name: this.kernel.name,
      forward: (ctx, ...inputs) => {
        const needs = inputs.map((x) => x instanceof Tensor && x.requiresGrad);
        const plan = this.plan(inputs, needs);
        ctx.saveForBackward(...liveTensors(plan, inputs));
        ctx.state = { inputs: inputs.map(metaOf), needs };
        return this.kernel.run(inputs);
      },
      backward: (ctx, ...grads) => {
        const { inputs, needs } = ctx.state as { inputs: Operand[]; needs: boolean[] };
        return this.backward(inputs, needs, ctx.saved, grads);
      },
    });
  }

  /** The gradients of all inputs, null where none is wanted. `saved` are the live tensors, in order. */
  backward(
    inputs: readonly Operand[],
    needs: readonly boolean[],
    saved: readonly Tensor[],
    grads: readonly Tensor[],
  ): (Tensor | null)[] {
    const plan = this.plan(inputs, needs);
    let values: readonly Tensor[] = [];
    if (plan.kernel !== undefined) {
      let at = 0;
      const live: Input[] = [];
      inputs.forEach((x, i) => {
        if (plan.live[i]) live.push(typeof x === "object" ? saved[at++]! : x);
      });
      values = gradientCall(plan.kernel).call([...live, ...grads]);
    }
    return inputs.map((_, i) => {
      const r = plan.results.get(i);
      if (r === undefined || r.kind === "zero") return null;
      return r.kind === "same" ? grads[r.output]! : values[r.index]!;
    });
  }

  private derive(dtypes: readonly DType[], needs: readonly boolean[]): Plan {
    const outputs = this.kernel.spec.outputs.length;
    const wanted = needs.flatMap((need, i) => (need && isFloatDType(dtypes[i]!) ? [i] : []));
    const block = new Block(dtypes.map((d) => tile(d, [])));
    const b = new Builder(block);
    const found = this.lower(b, block.args, undefined, [], wanted, outputs);
    const reached = reach(found.gradients);
    const live = block.args.map((v) => reached.has(v));
    const results = new Map<number, Result>();
    const computed: number[] = [];
    wanted.forEach((input, k) => {
      const g = found.gradients[k];
      const output = g === undefined ? -1 : found.grads.indexOf(g);
      if (g === undefined) results.set(input, { kind: "zero" });
      else if (output >= 0) results.set(input, { kind: "same", output });
      else {
        results.set(input, { kind: "kernel", index: computed.length });
        computed.push(input);
      }
    });
    const kernel =
      computed.length === 0 ? undefined : this.gradientKernel(dtypes, live, computed, found.dtypes);
    return { live, results, kernel };
  }

  /** Builds function and derivative at `b`. Without `grads`, makes block arguments that stand for them. */
  private lower(
    b: Builder,
    args: Value[],
    given: readonly Value[] | undefined,
    sources: Func["sources"],
    wanted: readonly number[],
    outputs: number,
  ): { gradients: (Value | undefined)[]; grads: Value[]; dtypes: DType[] } {
    const results = this.kernel.spec.fn.lower(b, args, sources);
    const shape = (given?.[0] ?? args[0])!.type;
    const like = shape.kind === "tile" ? shape.shape : [];
    const floats = results.map((v) => isFloatDType(v.type.dtype));
    const dtypes = results.map((v) => v.type.dtype);
    const grads = results.map((v, i) => {
      if (given !== undefined) return b.cast(given[i]!, floats[i] ? v.type.dtype : given[i]!.type.dtype);
      const stand = new Block([tile(floats[i] ? v.type.dtype : "f32", like)]);
      return stand.args[0]!;
    });
    if (this.written) {
      const all = this.written.lower(b, [...args, ...grads], sources);
      if (all.length !== args.length)
        throw new Error(
          `the gradient of ${this.kernel.name} returns ${all.length} values for ${args.length} inputs`,
        );
      return { gradients: wanted.map((i) => all[i]), grads, dtypes };
    }
    const used = results.flatMap((_, i) => (floats[i] ? [i] : []));
    const gradients = differentiate(
      b,
      used.map((i) => b.splat(results[i]!, like)),
      used.map((i) => grads[i]!),
      wanted.map((i) => args[i]!),
    );
    if (outputs !== results.length)
      throw new Error(`pointwise ${this.kernel.name} returns ${results.length} values, not ${outputs}`);
    return { gradients, grads, dtypes };
  }

  private gradientKernel(
    dtypes: readonly DType[],
    live: readonly boolean[],
    computed: readonly number[],
    resultDTypes: readonly DType[],
  ): PointwiseKernel {
    const { fn } = this.kernel.spec;
    const inputs = live.filter(Boolean).length;
    const suffix = `gradient of ${computed.join()} with ${live.map(Number).join("")} at ${dtypes.join()}`;
    const gradientFn: ScalarFunction = {
      name: `${fn.name}_grad`,
      arity: inputs + resultDTypes.length,
      contentKey: `${fn.contentKey} ${this.written?.contentKey ?? ""} ${suffix}`,
      lower: (b, args, sources) => {
        const given = args.slice(inputs);
        const shape = given[0]!.type.kind === "tile" ? given[0]!.type.shape : [];
        let at = 0;
        const all = dtypes.map((d, i) =>
          live[i] ? b.splat(b.cast(args[at++]!, d), shape) : b.constant(0, d, shape),
        );
        const { gradients } = this.lower(b, all, given, sources, computed, resultDTypes.length);
        return gradients.map((g, k) => g ?? b.constant(0, dtypes[computed[k]!]!, shape));
      },
    };
    return new PointwiseKernel({
      fn: gradientFn,
      promote: "none",
      over: undefined,
      outputs: computed.map(() => "promoted"),
    });
  }
}

const calls = new WeakMap<PointwiseKernel, Differentiable>();
function gradientCall(kernel: PointwiseKernel): Differentiable {
  let d = calls.get(kernel);
  if (!d) {
    d = new Differentiable(kernel);
    calls.set(kernel, d);
  }
  return d;
}

const metaOf = (x: Input): Operand => (x instanceof Tensor ? { dtype: x.dtype, shape: x.shape } : x);

/** The tensors among the inputs that the derivative reads. */
export const liveTensors = (plan: Plan, inputs: readonly unknown[]): Tensor[] =>
  inputs.filter((x, i): x is Tensor => plan.live[i]! && x instanceof Tensor);

/** Everything that values are computed from. */
function reach(values: readonly (Value | undefined)[]): Set<Value> {
  const seen = new Set<Value>();
  const open = values.filter((v) => v !== undefined);
  while (open.length > 0) {
    const v = open.pop()!;
    if (seen.has(v)) continue;
    seen.add(v);
    if (v.def instanceof Op) collect(v.def, open);
  }
  return seen;
}

function collect(op: Op, into: Value[]): void {
  into.push(...op.operands);
  for (const region of op.regions) for (const inner of region.ops) collect(inner, into);
}
