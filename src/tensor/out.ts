// The `out` form of operators: results go into tensors that the caller brings.

import { execute, isWatched, touch } from "./dispatch.js";
import { canCast } from "./dtype.js";
import { isGradEnabled, withGradMode } from "./grad-mode.js";
import { sameShape, showShape } from "./layout.js";
import { callOperator, type OperatorInfo } from "./operator.js";
import { wantsRecording } from "./record.js";
import { Tensor } from "./tensor.js";

/** Runs a bound call and writes its results into `out`; gives `out`, or a promise of it. */
export function executeInto(op: OperatorInfo, args: unknown[], out: unknown): unknown {
  const list = (Array.isArray(out) ? out : [out]) as unknown[];
  if (!list.every((t): t is Tensor => t instanceof Tensor))
    throw new TypeError(`\`${op.name}\`.out writes a tensor or a list of tensors`);
  if (op.writes.length > 0 || op.viewOf >= 0)
    throw new TypeError(
      `\`${op.name}\` has no out form: it ${op.viewOf >= 0 ? "gives a view" : "writes its argument already"}`,
    );
  if (isGradEnabled() && (wantsRecording(op, args) || list.some((t) => t.requiresGrad)))
    throw new Error(
      `\`${op.name}\`.out is not recorded for gradients: put it in noGrad(() => …), or detach() the tensors`,
    );
  const { into } = op;
  if (
    into !== undefined &&
    list.length === op.schema.returns.length &&
    !isWatched() &&
    list.every((t) => isApart(t, args))
  ) {
    into(list, args);
    for (const t of list) touch(t, op.name);
    return out;
  }
  const result = withGradMode(false, () => execute(op, args));
  return result instanceof Promise
    ? result.then((r) => store(op, r, list, out))
    : store(op, result, list, out);
}

/** Whether no argument stands on the memory of `t`. */
function isApart(t: Tensor, args: readonly unknown[]): boolean {
  return args.every((a) =>
    a instanceof Tensor ? a.storage !== t.storage : !Array.isArray(a) || isApart(t, a as unknown[]),
  );
}

function store(op: OperatorInfo, result: unknown, list: readonly Tensor[], out: unknown): unknown {
  const results = (Array.isArray(result) ? result : [result]) as Tensor[];
  if (results.length !== list.length)
    throw new TypeError(`\`${op.name}\` gives ${results.length} results; out has ${list.length} tensors`);
  results.forEach((r, i) => {
    checkOut(op, r, list[i]!);
  });
  results.forEach((r, i) => {
    callOperator("copy_", list[i]!, r);
    if (r.ownsStorage && r.storage !== list[i]!.storage) r.dispose();
  });
  return out;
}

/** Throws if a result does not fit the tensor that it goes into. */
export function checkOut(
  op: { readonly name: string },
  result: { readonly shape: readonly number[]; readonly dtype: Tensor["dtype"]; readonly device: string },
  out: Tensor,
): void {
  if (!sameShape(result.shape, out.shape))
    throw new RangeError(
      `\`${op.name}\`: the result has shape ${showShape(result.shape)}, the out tensor ${showShape(out.shape)}`,
    );
  if (!canCast(result.dtype, out.dtype))
    throw new TypeError(
      `\`${op.name}\`: a result of ${result.dtype} cannot be written into a tensor of ${out.dtype}`,
    );
  if (result.device !== out.device)
    throw new TypeError(`\`${op.name}\`: the result is on ${result.device}, the out tensor on ${out.device}`);
}
