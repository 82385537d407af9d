// The way from a bound call to an implementation: a stack of interceptors above the recording of gradients, and the
// choice among implementations. With nothing active and no gradients wanted the way is direct.

import { isGradEnabled } from "./grad-mode.js";
import type { OperatorInfo } from "./operator.js";
import { record, wantsRecording } from "./record.js";
import { Tensor, type ViewOrigin } from "./tensor.js";

/**
 * Sees every operator call above it in the stack. `next()` goes on with the same arguments, `next(others)` with
 * others; not calling it replaces the operator.
 */
export type Interceptor = (op: OperatorInfo, args: unknown[], next: (args?: unknown[]) => unknown) => unknown;

const stack: Interceptor[] = [];
/** Set while implementations are restricted, added or watched. */
let policy: Policy | null = null;

/** Runs a bound call: through the interceptors if there are any, else directly. */
export function execute(op: OperatorInfo, args: unknown[]): unknown {
  return stack.length === 0 ? differentiable(op, args) : intercepted(op, args, stack.length - 1);
}

function intercepted(op: OperatorInfo, args: unknown[], level: number): unknown {
  if (level < 0) return differentiable(op, args);
  return stack[level]!(op, args, (others) => intercepted(op, others ?? args, level - 1));
}

function differentiable(op: OperatorInfo, args: unknown[]): unknown {
  if (isGradEnabled() && wantsRecording(op, args)) return record(op, args);
  return implementation(op, args, isGradEnabled());
}

/**
 * Runs the chosen implementation, and notes what it wrote in place and what is a view of what. Nothing is recorded;
 * `tracked` says whether views may get a history later.
 */
export function implementation(op: OperatorInfo, args: unknown[], tracked: boolean): unknown {
  const plain = policy === null && op.implementations.length === 0 && disabled.size === 0;
  const result = plain ? op.run.apply(null, args) : choose(op, args).apply(null, args);
  if (op.viewOf >= 0) markViews(op, args, result, tracked);
  if (op.writes.length > 0) {
    for (const i of op.writes) {
      const written = args[i];
      if (written instanceof Tensor) touch(written, op.name);
      else if (Array.isArray(written)) for (const t of written) if (t instanceof Tensor) touch(t, op.name);
    }
  }
  return result;
}

/** The call that took a view. */
class CallOrigin implements ViewOrigin {
  constructor(
    readonly op: OperatorInfo,
    readonly args: readonly unknown[],
    readonly parent: Tensor,
    readonly index: number,
    readonly oneOfMany: boolean,
    readonly tracked: boolean,
  ) {}

  replay(parent: Tensor): Tensor {
    const again = this.args.slice();
    again[this.op.viewOf] = parent;
    const views = differentiable(this.op, again);
    return (Array.isArray(views) ? views[this.index] : views) as Tensor;
  }
}

function markViews(op: OperatorInfo, args: readonly unknown[], result: unknown, tracked: boolean): void {
  const parent = args[op.viewOf];
  if (!(parent instanceof Tensor)) return;
  if (result instanceof Tensor) markView(op, args, parent, result, 0, false, tracked);
  else if (Array.isArray(result)) {
    for (let i = 0; i < result.length; i++) {
      if (result[i] instanceof Tensor) markView(op, args, parent, result[i] as Tensor, i, true, tracked);
    }
  }
}

function markView(
  op: OperatorInfo,
  args: readonly unknown[],
  parent: Tensor,
  view: Tensor,
  index: number,
  oneOfMany: boolean,
  tracked: boolean,
): void {
  if (view === parent || view.counter !== parent.counter) return;
  // What a composite took has its origin already; other operators may have used a view operator for the work.
  if (view.origin === null || (op.gradient !== "composite" && view.origin.parent === parent)) {
    view.origin = new CallOrigin(op, args, parent, index, oneOfMany, tracked);
  }
}

/** Notes that a tensor's memory was written in place. */
export function touch(t: Tensor, writer: string): void {
  t.counter.value++;
  t.counter.writer = writer;
}

/** Puts an interceptor on top of the stack while `fn` runs; a promise keeps it there until it settles. */
export function withInterceptor<T>(interceptor: Interceptor, fn: () => T): T {
  stack.push(interceptor);
  return finishing(fn, () => {
    const at = stack.lastIndexOf(interceptor);
    if (at >= 0) stack.splice(at, 1);
  });
}

/** Runs `fn` and then `end`, for a promise once it settles. */
function finishing<T>(fn: () => T, end: () => void): T {
  let result: T;
  try {
    result = fn();
  } catch (error) {
    end();
    throw error;
  }
  if (result instanceof Promise) return result.finally(end) as T;
  end();
  return result;
}

/** What ran for one operator call. */
export interface OperatorRecord {
  readonly operator: string;
  /** `vexil` is the operator's own. */
  readonly implementation: string;
}

export interface UseOpsOptions {
  /**
   * Only these may run: operator names (`matmul`, `add.Tensor`), implementation names (`vexil`, `openblas`), or both
   * as `matmul:openblas`. An operator that nothing in the list speaks of is free.
   */
  readonly include?: readonly string[];
  /** These may not run; the same forms. */
  readonly exclude?: readonly string[];
  /** Called, or appended to, for every operator that runs. */
  readonly record?: ((record: OperatorRecord) => void) | OperatorRecord[];
}

interface Policy {
  readonly options: UseOpsOptions;
  readonly outer: Policy | null;
}

/** Implementations switched off by `disable`, in the forms of {@link UseOpsOptions}. */
const disabled = new Set<string>();

/** Whether a rule (`matmul`, `openblas`, `matmul:openblas`) speaks of this implementation of this operator. */
function matches(rule: string, op: OperatorInfo, name: string): boolean {
  const isOperator = (x: string): boolean => x === op.name || x === op.schema.base || x === op.functionName;
  const colon = rule.indexOf(":");
  if (colon >= 0) return isOperator(rule.slice(0, colon)) && rule.slice(colon + 1) === name;
  return rule === name || isOperator(rule);
}

function allowed(op: OperatorInfo, name: string, p: Policy | null): boolean {
  for (const rule of disabled) if (matches(rule, op, name)) return false;
  for (; p !== null; p = p.outer) {
    const { include, exclude } = p.options;
    if (exclude?.some((rule) => matches(rule, op, name))) return false;
    if (include === undefined || include.some((rule) => matches(rule, op, name))) continue;
    const others = ["vexil", ...op.implementations.map((x) => x.name)];
    if (include.some((rule) => others.some((other) => matches(rule, op, other)))) return false;
  }
  return true;
}

function choose(op: OperatorInfo, args: unknown[]): (...args: unknown[]) => unknown {
  for (const candidate of op.implementations) {
    if (allowed(op, candidate.name, policy) && (candidate.supports?.(args) ?? true)) {
      note(op, candidate.name);
      return candidate.run;
    }
  }
  if (!allowed(op, "vexil", policy)) {
    throw new Error(
      `no implementation of \`${op.name}\` may run: allowed by useOps/disable is none of ` +
        ["vexil", ...op.implementations.map((x) => x.name)].join(", "),
    );
  }
  note(op, "vexil");
  return op.run;
}

function note(op: OperatorInfo, name: string): void {
  for (let p = policy; p !== null; p = p.outer) {
    const to = p.options.record;
    if (typeof to === "function") to({ operator: op.name, implementation: name });
    else to?.push({ operator: op.name, implementation: name });
  }
}

/** Switches implementations off everywhere: `disable("openblas")`, `disable("matmul:openblas")`. */
export function disable(...rules: readonly string[]): void {
  for (const rule of rules) disabled.add(rule);
}

/** Switches on what {@link disable} switched off. */
export function enable(...rules: readonly string[]): void {
  for (const rule of rules) disabled.delete(rule);
}

/**
 * Runs `fn` with a choice among implementations, or a record of what ran. Nested calls all apply.
 *
 * @example
 * const ran: OperatorRecord[] = [];
 * useOps({ exclude: ["openblas"], record: ran }, () => model.forward(x));
 */
export function useOps<T>(options: UseOpsOptions, fn: () => T): T {
  const mine: Policy = { options, outer: policy };
  policy = mine;
  return finishing(fn, () => {
    if (policy === mine) policy = mine.outer;
  });
}

/** Called for every operator with its bound arguments and its result; inner calls come before outer ones. */
export type TraceHook = (op: OperatorInfo, args: readonly unknown[], result: unknown) => void;

/** Runs `fn` and shows each operator call to `hook`. */
export function trace<T>(hook: TraceHook, fn: () => T): T {
  return withInterceptor((op, args, next) => {
    const result = next();
    hook(op, args, result);
    return result;
  }, fn);
}
