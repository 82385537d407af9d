// The operator table: one declaration per operator, from which calls, methods, derivatives, documentation and
// conformance come. It binds and routes; what computes stands in `ops/` and `views.ts`.

import { nearest } from "../compiler/nearest.js";
import { ArgumentError, Binder } from "./bind.js";
import { execute } from "./dispatch.js";
import { executeInto } from "./out.js";
import type { BackwardContext, InputGradients } from "./node.js";
import { Replays } from "./replay.js";
import { camelCase, parseSchema, type Schema, schemaHead } from "./schema.js";
import { Tensor } from "./tensor.js";

/** How far along an operator is: whether its name and meaning may still change. */
export type Stage = "stable" | "beta" | "experimental";

/** A sample name of PyTorch's OpInfo database that an operator serves. */
export interface OpInfoEntry {
  readonly op: string;
  readonly variant?: string;
  /**
   * Turns a sample's call into this operator's positional arguments; undefined leaves the sample to another operator.
   * A promise where it has to read a tensor that the operator takes as a plain number.
   */
  adapt?(
    input: unknown,
    args: unknown[],
    kwargs: Record<string, unknown>,
  ): unknown[] | undefined | Promise<unknown[] | undefined>;
  /**
   * The dimension of the input along which index results name one of several equal elements, where PyTorch leaves
   * open which; undefined where it does not.
   */
  ties?(args: unknown[], kwargs: Record<string, unknown>): number | undefined;
}

export interface Derivative {
  /**
   * The tensors that `backward` needs; runs after the operator. `needs[i]` says whether tensor argument `i` wants a
   * gradient. Whatever is returned stays alive until the backward pass, and is checked against in-place writes.
   */
  save?(args: readonly unknown[], outputs: readonly Tensor[], needs: readonly boolean[]): readonly Tensor[];
  /**
   * As `save`, before the operator runs: an in-place operator clones here what it is about to overwrite. These come
   * first in `ctx.saved`.
   */
  saveBefore?(args: readonly unknown[], needs: readonly boolean[]): readonly Tensor[];
  /**
   * The gradients of the Tensor and Tensor[] arguments, in schema order (null: none; an array for a list), from those
   * of the outputs. Built of operators, so that it can be differentiated again. A gradient may still have the
   * broadcast shape or a promoted dtype: the engine sums and casts it to the argument's.
   */
  backward(ctx: BackwardContext, ...grads: Tensor[]): InputGradients;
  /**
   * For a gradient of the first tensor argument that is mostly zeros, where no other is wanted: adds it to `into` (row-major, of
   * the argument's shape and dtype) and returns true, or false if it cannot. Never recorded.
   */
  addInto?(into: Tensor, ctx: BackwardContext, ...grads: Tensor[]): boolean;
  /** Hand `backward` a null for outputs that no gradient arrived at, instead of zeros. */
  readonly nullGrads?: boolean;
}

/** An implementation beside the operator's own. */
export interface Implementation {
  readonly name: string;
  /**
   * `vendor` (default): a vendor's library, tried before the operator's own. `reference`: the plain composition that
   * the own one is tested against; it runs only where the own one may not.
   */
  readonly kind?: "vendor" | "reference";
  /** Whether it takes this call. */
  supports?(args: readonly unknown[]): boolean;
  run(...args: unknown[]): unknown;
}

export interface OperatorDefinition {
  /** In ATen's notation. `Tensor(a)` in and out makes a view, `Tensor(a!)` an in-place operator. */
  readonly schema: string;
  /** Positional in schema order, defaults filled in; nothing in it is recorded for gradients, unless composite. */
  run(...args: unknown[]): unknown;
  /**
   * How gradients flow. `"composite"`: `run` is made of operators that are recorded themselves. `"none"`: the result
   * never requires gradients. Left out: the same for integer and bool results; a backward pass through a float
   * result fails and names the operator.
   */
  readonly derivative?: Derivative | "composite" | "none";
  /**
   * That `run` does the same for tensors of the same layouts and equal other arguments: it takes memory, launches kernels and
   * gives new tensors, and does nothing else: no host data written or read, no random numbers, nothing kept for later. Such
   * calls are written down once and done again without `run`.
   */
  readonly replay?: boolean;
  /** Tensor arguments may also be plain numbers; `run` gets them as they are. */
  readonly scalars?: boolean;
  readonly opinfo?: readonly (string | OpInfoEntry)[];
  /**
   * Whether results are random, so that samples check their shape and dtype only; a function says it of one call, in
   * the form of the samples. By default, whether the schema has a Generator.
   */
  readonly random?: boolean | ((input: unknown, args: unknown[], kwargs: Record<string, unknown>) => boolean);
  readonly stage?: Stage;
  /** Name of function and method if not the camelCase of the schema's. */
  readonly name?: string;
  /** Whether tensors get a method; by default when an argument is called `self`. */
  readonly method?: boolean;
  /** Writes results straight into `out`, whose memory is none of the arguments': for the `out` form. */
  readonly into?: (out: readonly Tensor[], args: readonly unknown[]) => void;
  /** One sentence for the documentation. */
  readonly summary?: string;
  /** Argument lists to try the operator with, where OpInfo has none. */
  readonly samples?: () => readonly (readonly unknown[])[];
  /** Argument lists to time it with. */
  readonly benchmarks?: () => readonly (readonly unknown[])[];
}

/** What follows from an operator's schema. */
class SchemaFacts {
  readonly schema: Schema;
  readonly binder: Binder;
  readonly random: NonNullable<OperatorDefinition["random"]>;
  readonly tensorArgs: readonly number[];
  readonly writes: readonly number[];
  readonly viewOf: number;
  readonly selfAt: number;

  constructor(def: OperatorDefinition) {
    const schema = parseSchema(def.schema);
    this.schema = schema;
    this.binder = new Binder(schema, def.scalars ?? false);
    this.random = def.random ?? schema.args.some((a) => a.type.kind === "Generator");
    const tensors = schema.args.map((arg, i) => ({ arg, i })).filter((x) => x.arg.type.kind === "Tensor");
    this.tensorArgs = tensors.map((x) => x.i);
    this.writes = tensors.filter((x) => x.arg.type.mutable).map((x) => x.i);
    const result = schema.returns[0]?.type;
    this.viewOf =
      result?.alias !== undefined && !result.mutable
        ? (tensors.find((x) => x.arg.type.alias === result.alias)?.i ?? -1)
        : -1;
    this.selfAt = schema.args.findIndex((a) => a.name === "self" && a.type.kind === "Tensor" && !a.type.list);
  }
}

/** An entry of the table. Its schema is parsed when something of it is first asked for: a program uses few operators. */
export class OperatorInfo {
  /** `add.Tensor` */
  readonly name: string;
  /** `add` */
  readonly method: string | null;
  readonly functionName: string;
  readonly stage: Stage;
  readonly summary: string;
  readonly opinfo: readonly OpInfoEntry[];
  readonly derivative: Derivative | null;
  readonly gradient: "declared" | "composite" | "none" | "missing";
  readonly run: (...args: unknown[]) => unknown;
  readonly into: OperatorDefinition["into"];
  readonly samples: OperatorDefinition["samples"];
  readonly benchmarks: OperatorDefinition["benchmarks"];
  readonly implementations: Implementation[] = [];
  /** The operator's own implementation, which knows the calls that were made before; null if it always runs anew. */
  readonly replays: Replays | null;

  private parsed: SchemaFacts | undefined;

  constructor(private readonly def: OperatorDefinition) {
    const { name, base, takesSelf } = schemaHead(def.schema);
    this.name = name;
    this.functionName = def.name ?? camelCase(base);
    this.stage = def.stage ?? "beta";
    this.summary = def.summary ?? "";
    this.opinfo = (def.opinfo ?? []).map((x) => (typeof x === "string" ? { op: x } : x));
    this.derivative = typeof def.derivative === "object" ? def.derivative : null;
    this.gradient =
      def.derivative === undefined
        ? "missing"
        : typeof def.derivative === "string"
          ? def.derivative
          : "declared";
    this.run = def.run;
    this.into = def.into;
    if (def.replay && this.gradient === "composite")
      throw new Error(
        `\`${this.name}\` is made of operators that are recorded for gradients: it cannot be replayed`,
      );
    this.replays = def.replay ? new Replays(def.run) : null;
    this.samples = def.samples;
    this.benchmarks = def.benchmarks;
    this.method = (def.method ?? takesSelf) && takesSelf ? this.functionName : null;
  }

  private get facts(): SchemaFacts {
    this.parsed ??= new SchemaFacts(this.def);
    return this.parsed;
  }
  get schema(): Schema {
    return this.facts.schema;
  }
  get binder(): Binder {
    return this.facts.binder;
  }
  get random(): NonNullable<OperatorDefinition["random"]> {
    return this.facts.random;
  }
  get scalars(): boolean {
    return this.def.scalars ?? false;
  }
  /** Positions of the Tensor and Tensor[] arguments. */
  get tensorArgs(): readonly number[] {
    return this.facts.tensorArgs;
  }
  /** Positions of arguments that are written in place. */
  get writes(): readonly number[] {
    return this.facts.writes;
  }
  /** Position of the argument that the result is a view of; -1 if it is none. */
  get viewOf(): number {
    return this.facts.viewOf;
  }
  /** Position of the Tensor called `self`; -1 if there is none. */
  get selfAt(): number {
    return this.facts.selfAt;
  }
}

/** What a result is written into: a tensor for a tensor, a list for a list. */
type Written<R> = Extract<R, Tensor | readonly Tensor[]>;

/**
 * A callable operator. `info` is its entry in the table; `out` writes results into given tensors of their shapes,
 * whose dtypes they can be cast to, and returns these. It is not recorded for gradients.
 *
 * @example add.out(total, a, b); // torch.add(a, b, out=total)
 */
export type Operator<F extends (...args: never[]) => unknown> = F & {
  readonly info: OperatorInfo;
  readonly out: (out: Written<ReturnType<F>>, ...args: Parameters<F>) => ReturnType<F>;
};

const table = new Map<string, OperatorInfo>();
const callables = new Map<string, (...args: unknown[]) => unknown>();
const methods = new Map<string, OperatorInfo[]>();

/**
 * Declares an operator and gives the function that calls it. Calls take positional arguments, then at most one
 * plain object with arguments by their camelCase names.
 *
 * @example
 * export const relu = operator<(self: Tensor) => Tensor>({
 *   schema: "relu(Tensor self) -> Tensor",
 *   run: (self: Tensor) => reluKernel(self),
 *   derivative: {
 *     save: (_args, [out]) => [out!],
 *     backward: (ctx, grad) => [mul(grad, gt(ctx.saved[0]!, 0))],
 *   },
 *   opinfo: ["nn.functional.relu"],
 * });
 */
export function operator<F extends (...args: never[]) => unknown>(def: OperatorDefinition): Operator<F> {
  const info = new OperatorInfo(def);
  if (checkAtOnce) parseSchema(def.schema);
  if (table.has(info.name)) throw new Error(`operator \`${info.name}\` is declared twice`);
  table.set(info.name, info);
  const call = (...args: unknown[]): unknown => execute(info, info.binder.bind(args));
  Object.defineProperty(call, "name", { value: info.functionName });
  Object.defineProperty(call, "info", { value: info });
  Object.defineProperty(call, "out", {
    value: (out: unknown, ...args: unknown[]): unknown => executeInto(info, info.binder.bind(args), out),
  });
  callables.set(info.name, call);
  if (info.method !== null) {
    const list = methods.get(info.method) ?? [];
    list.push(info);
    methods.set(info.method, list);
    if (installed) installMethod(info.method);
  }
  return call as unknown as Operator<F>;
}

/** All operators, by schema name. */
export const operators = (): ReadonlyMap<string, OperatorInfo> => table;

/** The entry of an operator (`add.Tensor`); throws with the nearest name if there is none. */
export function operatorInfo(name: string): OperatorInfo {
  const info = table.get(name);
  if (!info) {
    const near = nearest(name, [...table.keys()]);
    throw new Error(`there is no operator \`${name}\`${near ? `; did you mean \`${near}\`?` : ""}`);
  }
  return info;
}

/**
 * Calls an operator by its schema name with positional arguments in schema order: how code below `ops/` reaches
 * what is declared there. Throws if the operator is not declared.
 */
export function callOperator(name: string, ...args: unknown[]): unknown {
  const call = callables.get(name);
  if (!call) operatorInfo(name);
  return call!(...args);
}

export const hasOperator = (name: string): boolean => table.has(name);

/**
 * Calls an operator as PyTorch's samples do: `op(input, ...args, **kwargs)` with snake_case names.
 */
export function bindByName(
  op: OperatorInfo,
  input: unknown,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
): unknown {
  return execute(op, op.binder.bindByName(input, args, kwargs));
}

/** Several operators under one name; `out` is the form that writes results into given tensors. */
export type Overloads<F> = F & {
  readonly infos: readonly OperatorInfo[];
  readonly out: (out: Tensor | readonly Tensor[], ...args: unknown[]) => unknown;
};

/**
 * One callable over several operators: the first whose schema fits the call runs.
 *
 * @example export const max = overloads<MaxFn>(maxAll, maxDim, maxOther);
 */
export function overloads<F extends (...args: never[]) => unknown>(
  ...ops: readonly { readonly info: OperatorInfo }[]
): Overloads<F> {
  const infos = ops.map((op) => op.info);
  const call = (...args: unknown[]): unknown => resolve(infos, args);
  Object.defineProperty(call, "name", { value: infos[0]?.functionName ?? "" });
  Object.defineProperty(call, "infos", { value: infos });
  Object.defineProperty(call, "out", {
    value: (out: unknown, ...args: unknown[]): unknown => {
      for (const info of infos) {
        const bound = info.binder.tryBind(args.slice());
        if (bound !== undefined) return executeInto(info, bound, out);
      }
      return resolve(infos, args);
    },
  });
  return call as unknown as Overloads<F>;
}

function resolve(infos: readonly OperatorInfo[], args: unknown[]): unknown {
  for (let i = 0; i < infos.length; i++) {
    const bound = infos[i]!.binder.tryBind(args.slice());
    if (bound !== undefined) return execute(infos[i]!, bound);
  }
  const reasons = infos.map((info) => {
    try {
      info.binder.bind(args.slice());
      return "";
    } catch (error) {
      return `\n  ${info.schema.text}: ${error instanceof Error ? error.message : String(error)}`;
    }
  });
  throw new ArgumentError(`no form of \`${infos[0]!.functionName}\` fits the call:${reasons.join("")}`);
}

let installed = false;
let checkAtOnce = false;

/**
 * Schemas that are declared from now on are parsed at once, so that an author sees a mistake there. The library's own,
 * which its tests check, have been declared.
 */
export function checkSchemasAtOnce(): void {
  checkAtOnce = true;
}

function installMethod(name: string): void {
  const infos = methods.get(name)!;
  const own = Object.getOwnPropertyDescriptor(Tensor.prototype, name);
  if (own && !(typeof own.value === "function" && "operators" in own.value)) return;
  const single = infos.length === 1 ? infos[0]! : null;
  const first = infos[0]!;
  function method(this: Tensor, ...args: unknown[]): unknown {
    const at = first.selfAt;
    if (at === 0) args.unshift(this);
    else args.splice(at, 0, this);
    return single === null ? resolve(infos, args) : execute(single, single.binder.bind(args));
  }
  Object.defineProperty(method, "name", { value: name });
  Object.defineProperty(method, "operators", { value: infos });
  Object.defineProperty(Tensor.prototype, name, { value: method, writable: true, configurable: true });
}

/**
 * Gives `Tensor` a method for every operator with an argument `self`, also for those declared later. Members of the
 * class itself are left alone.
 */
export function installMethods(): void {
  installed = true;
  for (const name of methods.keys()) installMethod(name);
}

/** Adds another implementation of an operator, tried before its own while the policy allows (see `useOps`). */
export function addImplementation(operatorName: string, implementation: Implementation): void {
  const info = operatorInfo(operatorName);
  if (implementation.name === "vexil" || info.implementations.some((x) => x.name === implementation.name)) {
    throw new Error(`operator \`${operatorName}\` already has an implementation \`${implementation.name}\``);
  }
  // References come last: nothing else is asked after them.
  const at = info.implementations.findIndex((x) => x.kind === "reference");
  if (at < 0 || implementation.kind === "reference") info.implementations.push(implementation);
  else info.implementations.splice(at, 0, implementation);
}

/** The type of a method from the type of its function: without the first parameter. */
export type Method<F> = F extends (self: never, ...rest: infer R) => infer Out ? (...rest: R) => Out : never;
