// The way from a bound call to an implementation: a stack of interceptors above the recording of gradients, and the
// choice among implementations. With nothing active and no gradients wanted the way is direct.

import { recorder } from "../runtime/recording.js";
import { beginCall, endCall, leaveCall, tookSince } from "../runtime/trail.js";
import { isGradEnabled, isInferenceMode } from "./grad-mode.js";
import type { Implementation, OperatorInfo } from "./operator.js";
import { OperatorLog } from "./operator-log.js";
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
  if (op.writes.length > 0) checkMode(op, args);
  const from = beginCall();
  let result: unknown;
  try {
    result = policy === null && disabled.size === 0 ? unrestricted(op, args) : chosen(op, args);
  } catch (e) {
    leaveCall();
    throw e;
  }
  result = settle(op, args, result, from);
  if (op.viewOf >= 0 && !isInferenceMode()) markViews(op, args, result, tracked);
  if (op.writes.length > 0) {
    for (const i of op.writes) {
      const written = args[i];
      if (written instanceof Tensor) touch(written, op.name);
      else if (Array.isArray(written)) for (const t of written) if (t instanceof Tensor) touch(t, op.name);
    }
  }
  return result;
}

/**
 * Frees the memory that a call took on its way and nobody can reach any more, and gives the result; where that is a view of such
 * memory, it becomes the owner, so that its `dispose` frees it.
 */
function settle(op: OperatorInfo, args: readonly unknown[], result: unknown, from: number): unknown {
  // Who intercepts operators has seen those inside, and may hold their tensors; what waits is not through. Of recorded
  // operators inside lives as long as the result what they saved.
  const recorded = (): boolean => hasHistory(result) || op.writes.some((i) => hasHistory(args[i]));
  if (stack.length > 0 || result instanceof Promise || (op.gradient === "composite" && recorded()))
    leaveCall();
  else if (result instanceof Tensor) {
    const { storage } = result;
    const view = !result.ownsStorage && tookSince(from, storage);
    endCall(from, storage);
    if (view) return new Tensor({ storage, shape: result.shape, strides: result.strides, offset: result.offset, dtype: result.dtype }); // biome-ignore format: one line
  } else if (!Array.isArray(result)) {
    if (typeof result === "object" && result !== null) leaveCall();
    else endCall(from, NONE);
  } else if (result.every((t) => t instanceof Tensor || typeof t !== "object")) {
    const storages = result.filter((t) => t instanceof Tensor).map((t) => t.storage);
    endCall(from, storages);
  } else leaveCall();
  return result;
}

const NONE: readonly never[] = [];

const hasHistory = (v: unknown): boolean =>
  v instanceof Tensor ? v.gradNode !== null : Array.isArray(v) && v.some(hasHistory);

/** Runs a call that nothing restricts or watches: by a vendor's implementation that takes it, else by the operator's own. */
function unrestricted(op: OperatorInfo, args: unknown[]): unknown {
  const list = op.implementations;
  for (let i = 0; i < list.length; i++) {
    const x = list[i]!;
    if (x.kind === "reference" || !(x.supports?.(args) ?? true)) continue;
    recorder?.refuse();
    return x.run.apply(null, args);
  }
  // Who intercepts operators wants to see those that this one is made of.
  return op.replays !== null && stack.length === 0 ? op.replays.call(args) : op.run.apply(null, args);
}

/** Throws before a tensor made in inferenceMode is written outside it. */
function checkMode(op: OperatorInfo, args: readonly unknown[]): void {
  if (isInferenceMode()) return;
  for (const i of op.writes) {
    const t = args[i];
    if (t instanceof Tensor && t.isInference)
      throw new Error(
        `\`${op.name}\` cannot write a tensor made in inferenceMode in place outside it: clone() it first, or use noGrad instead`,
      );
  }
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

/** Whether somebody sees or decides what runs: then no call may take a short way. */
export const isWatched = (): boolean => stack.length > 0 || policy !== null || disabled.size > 0;

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
   * Only these may run: operator names (`matmul`, `add.Tensor`), implementations by name (`vexil`, `openblas`) or kind
   * (`vendor`, `reference`), or both as `matmul:reference`. An operator that nothing in the list speaks of is free.
   */
  readonly include?: readonly string[];
  /** These may not run; the same forms. */
  readonly exclude?: readonly string[];
  /** Called, or appended to, for every operator that runs; a log counts and times them. */
  readonly record?: ((record: OperatorRecord) => void) | OperatorRecord[] | OperatorLog;
}

interface Policy {
  readonly options: UseOpsOptions;
  readonly outer: Policy | null;
}

/** Implementations switched off by `disable`, in the forms of {@link UseOpsOptions}. */
const disabled = new Set<string>();

interface Named {
  readonly name: string;
  readonly kind?: Implementation["kind"];
}
const OWN: Named = { name: "vexil" };

/** Whether a rule (`matmul`, `openblas`, `vendor`, `matmul:openblas`) speaks of this implementation of this operator. */
function matches(rule: string, op: OperatorInfo, x: Named): boolean {
  const isOperator = (r: string): boolean => r === op.name || r === op.schema.base || r === op.functionName;
  const isThis = (r: string): boolean => r === x.name || (x !== OWN && r === (x.kind ?? "vendor"));
  const colon = rule.indexOf(":");
  if (colon >= 0) return isOperator(rule.slice(0, colon)) && isThis(rule.slice(colon + 1));
  return isThis(rule) || isOperator(rule);
}

function allowed(op: OperatorInfo, x: Named, p: Policy | null): boolean {
  for (const rule of disabled) if (matches(rule, op, x)) return false;
  for (; p !== null; p = p.outer) {
    const { include, exclude } = p.options;
    if (exclude?.some((rule) => matches(rule, op, x))) return false;
    if (include === undefined || include.some((rule) => matches(rule, op, x))) continue;
    if (include.some((rule) => [OWN, ...op.implementations].some((other) => matches(rule, op, other))))
      return false;
  }
  return true;
}

/** The implementation that runs: a vendor's that takes the call, the operator's own, else a reference. */
function choose(op: OperatorInfo, args: unknown[]): { name: string; run: (...args: unknown[]) => unknown } {
  const fits = (x: Implementation): boolean => allowed(op, x, policy) && (x.supports?.(args) ?? true);
  for (const x of op.implementations) if (x.kind !== "reference" && fits(x)) return x;
  if (allowed(op, OWN, policy)) return { name: "vexil", run: op.run };
  for (const x of op.implementations) if (x.kind === "reference" && fits(x)) return x;
  throw new Error(
    `no implementation of \`${op.name}\` may run: allowed by useOps/disable is none of ` +
      ["vexil", ...op.implementations.map((x) => x.name)].join(", "),
  );
}

/** Chooses, notes and runs. */
function chosen(op: OperatorInfo, args: unknown[]): unknown {
  const { name, run } = choose(op, args);
  if (run !== op.run) recorder?.refuse();
  let logs: OperatorLog[] | undefined;
  for (let p = policy; p !== null; p = p.outer) {
    const to = p.options.record;
    if (typeof to === "function") to({ operator: op.name, implementation: name });
    else if (to instanceof OperatorLog) {
      logs ??= [];
      logs.push(to);
    } else to?.push({ operator: op.name, implementation: name });
  }
  if (logs === undefined) return run.apply(null, args);
  const ends = logs.map((log) => log.begin(op.name, name));
  return finishing(
    () => run.apply(null, args),
    () => {
      for (const end of ends) end();
    },
  );
}

/** Switches implementations off everywhere: `disable("vendor")`, `disable("matmul:openblas")`, `disable("vexil")`. */
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
