// How operators of the table are made of pointwise functions: one declaration gives the operator, its derivative and
// its in-place form.

import type { DType, Scalar } from "../../tensor/dtype.js";
import { canCast } from "../../tensor/dtype.js";
import type { BackwardContext } from "../../tensor/node.js";
import {
  callOperator,
  type Derivative,
  operator,
  type Operator,
  type OperatorDefinition,
  type OpInfoEntry,
} from "../../tensor/operator.js";
import { checkOut } from "../../tensor/out.js";
import { parseSchema, schemaHead } from "../../tensor/schema.js";
import { Tensor } from "../../tensor/tensor.js";
import { type Differentiable, liveTensors } from "./gradient.js";
import type { Input } from "./kernel.js";
import { shapeOf } from "./operands.js";
import type { Operand } from "./promote.js";

/** A pointwise function and the operator's arguments that are its inputs, by position. */
export interface Choice {
  readonly fn: Differentiable;
  readonly order: readonly number[];
}

/** A tensor, or what is known of one during backward, or anything else an operator takes. */
export type Argument = Operand | string | null;

export interface ElementwiseDefinition {
  /** In ATen's notation, of the form that makes a new tensor. */
  readonly schema: string;
  /** The function, if it is always the same and takes the tensor arguments in order; else what a call needs. */
  readonly fn: Differentiable | ((args: readonly Argument[]) => Choice);
  /** `generated` (default): by the function. */
  readonly derivative?: OperatorDefinition["derivative"] | "generated";
  readonly opinfo?: readonly (string | OpInfoEntry)[];
  /** Whether there is an in-place form, which writes the first argument. */
  readonly inPlace?: boolean;
  /** Plain numbers for tensor arguments. Default: with two tensor arguments or more. */
  readonly scalars?: boolean;
  readonly name?: string;
  readonly method?: boolean;
  readonly summary?: string;
  /** Checks the arguments of a call; throws where PyTorch does. */
  readonly check?: (args: readonly Argument[]) => void;
  /** Replaces arguments that were left out by what they mean for this call. */
  readonly defaults?: (args: readonly Argument[]) => readonly Argument[];
}

/** Declares an operator that is a pointwise function. */
export function elementwise<F extends (...args: never[]) => unknown>(
  def: ElementwiseDefinition,
): Operator<F> {
  const { fn, check } = def;
  const tensors = new TensorArguments(def.schema);
  let always: Choice | undefined;
  const choose: (args: readonly Argument[]) => Choice =
    typeof fn === "function"
      ? fn
      : () => {
          always ??= { fn, order: tensors.at };
          return always;
        };
  const generated = def.derivative === undefined || def.derivative === "generated";
  const common = {
    stage: "stable" as const,
    ...(def.summary === undefined ? {} : { summary: def.summary }),
    ...(def.method === undefined ? {} : { method: def.method }),
  };
  const run = (...args: unknown[]): unknown => {
    check?.(args as Argument[]);
    const { fn: f, order } = choose(args as Argument[]);
    return f.kernel.run1(pick(complete(args, def), order) as Input[]);
  };
  if (def.inPlace) declareInPlace(def, tensors, choose, common);
  const into = ([out]: readonly Tensor[], args: readonly unknown[]): void => {
    check?.(args as Argument[]);
    const { fn: f, order } = choose(args as Argument[]);
    const inputs = pick(complete(args, def), order) as Input[];
    const dtype = f.kernel.promoted(inputs);
    const d = f.kernel.spec.outputs[0]!;
    const device = inputs.find((x) => x instanceof Tensor)?.device ?? out!.device;
    checkOut(
      {
        get name() {
          return schemaHead(def.schema).name;
        },
      },
      { shape: shapeOf(inputs, f.kernel.name), dtype: d === "promoted" ? dtype : d, device },
      out!,
    );
    f.kernel.into(inputs, [out!], dtype);
  };
  return operator<F>({
    ...common,
    replay: true,
    schema: def.schema,
    get scalars() {
      return def.scalars ?? tensors.at.length > 1;
    },
    run,
    into,
    derivative: generated ? derivativeOf(choose, tensors, def) : (def.derivative as Derivative),
    ...(def.opinfo === undefined ? {} : { opinfo: def.opinfo }),
    ...(def.name === undefined ? {} : { name: def.name }),
  });
}

/** Positions of the tensor arguments; the schema is parsed when they are first asked for. */
class TensorArguments {
  private list: readonly number[] | undefined;
  constructor(private readonly schema: string) {}

  get at(): readonly number[] {
    this.list ??= parseSchema(this.schema).args.flatMap((a, i) => (a.type.kind === "Tensor" ? [i] : []));
    return this.list;
  }
}

/** The form that writes its first argument; a method only. */
function declareInPlace(
  def: ElementwiseDefinition,
  tensors: TensorArguments,
  choose: (args: readonly Argument[]) => Choice,
  common: object,
): void {
  const { check } = def;
  const generated = def.derivative === undefined || def.derivative === "generated";
  const derivative = generated ? derivativeOf(choose, tensors, def, true) : def.derivative;
  operator({
    ...common,
    schema: inPlaceSchema(def.schema),
    get scalars() {
      return def.scalars ?? tensors.at.length > 1;
    },
    ...(def.name === undefined ? {} : { name: `${def.name}_` }),
    run: (...args: unknown[]): unknown => {
      check?.(args as Argument[]);
      const self = args[0];
      if (!(self instanceof Tensor))
        throw new TypeError("an in-place operator writes a tensor, not a number");
      const { fn: f, order } = choose(args as Argument[]);
      const inputs = pick(complete(args, def), order) as Input[];
      const dtype = f.kernel.promoted(inputs);
      const result = f.kernel.spec.outputs[0] === "promoted" ? dtype : (f.kernel.spec.outputs[0] as DType);
      if (!canCast(result, self.dtype))
        throw new TypeError(
          `${f.kernel.name}: a result of ${result} cannot be written into a tensor of ${self.dtype}`,
        );
      f.kernel.into(inputs, [self], dtype);
      return self;
    },
    derivative: derivative as Derivative,
  });
}

const complete = (args: readonly unknown[], def: ElementwiseDefinition): readonly unknown[] =>
  def.defaults === undefined ? args : def.defaults(args as Argument[]);

function pick(args: readonly unknown[], order: readonly number[]): unknown[] {
  const list = new Array<unknown>(order.length);
  for (let i = 0; i < order.length; i++) list[i] = args[order[i]!];
  return list;
}

/** The generated derivative. Of an operator that writes its first argument, what it reads of that is copied before. */
function derivativeOf(
  choose: (args: readonly Argument[]) => Choice,
  tensors: TensorArguments,
  def: ElementwiseDefinition,
  writes = false,
): Derivative {
  const needsOf = (order: readonly number[], needs: readonly boolean[]): boolean[] =>
    order.map((at) => {
      const k = tensors.at.indexOf(at);
      return k >= 0 && needs[k]!;
    });
  /** The tensors that backward reads. */
  const read = (args: readonly unknown[], needs: readonly boolean[]): Tensor[] => {
    const { fn, order } = choose(args as Argument[]);
    const inputs = pick(complete(args, def), order);
    return liveTensors(fn.plan(inputs as Operand[], needsOf(order, needs)), inputs);
  };
  const save: Partial<Derivative> = writes
    ? {
        saveBefore: (args, needs) => {
          const list = read(args, needs);
          const self = args[0] as Tensor;
          if (!list.includes(self)) return list;
          const old = callOperator("clone", self.detach()) as Tensor;
          return list.map((t) => (t === self ? old : t));
        },
      }
    : { save: (args, _outputs, needs) => read(args, needs) };
  return {
    ...save,
    backward: (ctx: BackwardContext, ...grads) => {
      const { fn, order } = choose(ctx.args as Argument[]);
      const found = fn.backward(
        pick(complete(ctx.args, def), order) as Operand[],
        needsOf(order, ctx.needs),
        ctx.saved,
        grads,
      );
      return tensors.at.map((at) => {
        const i = order.indexOf(at);
        return i < 0 ? null : found[i]!;
      });
    },
  };
}

/** `mul.Tensor(Tensor self, …) -> Tensor` as `mul_.Tensor(Tensor(a!) self, …) -> Tensor(a!)`. */
export const inPlaceSchema = (schema: string): string =>
  schema
    .replace(/^(\w+)/, "$1_")
    .replace("Tensor self", "Tensor(a!) self")
    .replace(/-> Tensor$/, "-> Tensor(a!)");

/** The dtype of an argument, for choosing among functions. */
export const dtypeOf = (x: Argument | undefined): DType | undefined =>
  typeof x === "object" && x !== null ? x.dtype : undefined;

export type { Scalar };
