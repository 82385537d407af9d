// Where a computation first made something that is no number: the work is done again with every operator's results
// looked at, and the answer names the operator and the part of the model. For errors only: it is slow.

import { DTYPES } from "../compiler/ir/dtype.js";
import { take } from "../models/take.js";
import { Module } from "../nn/index.js";
import { any, eq, isnan, logicalOr } from "../ops/index.js";
import { type Storage, scope } from "../runtime/index.js";
import { isGradEnabled, keep, noGrad, type OperatorInfo, Tensor, withInterceptor } from "../tensor/index.js";

/** What was seen of one operator's result. */
interface Seen {
  readonly operator: string;
  readonly backward: boolean;
  /** The part of the model, or the parameter, that it worked for. */
  readonly place: string | undefined;
  readonly shape: readonly number[];
  /** Whether it has a NaN or a positive infinity: one boolean on the chip. */
  readonly flag: Tensor;
}

/**
 * A NaN or a positive infinity anywhere. Negative infinities are not looked for: masks are made of them, and one that is
 * a mistake makes a NaN in the next operator or two.
 */
const spoiled = (t: Tensor): Tensor =>
  noGrad(() => scope(() => any(logicalOr(isnan(t), eq(t, Number.POSITIVE_INFINITY)))));

const isFloat = (value: unknown): value is Tensor =>
  value instanceof Tensor && DTYPES[value.dtype].kind === "float" && value.numel > 0;

/**
 * Says in words which tensor was the first that was not finite: a parameter, a result in the forward or the backward
 * pass of `work`, or a gradient. Leaves the model without gradients.
 * @param work does forward and backward once more, with the same weights, data and random numbers
 * @returns undefined when everything was finite this time
 */
export async function firstNotFinite(model: Module, work: () => void): Promise<string | undefined> {
  const parameters = model.namedParameters();
  for (const [name, p] of parameters)
    if ((await take(spoiled(p)))[0]) return `the parameter ${name} is not finite since the last update`;
  const seen = watch(model, parameters, work);
  try {
    for (const s of seen)
      if ((await s.flag.data())[0])
        return `first not finite: the result [${s.shape}] of \`${s.operator}\`${s.place === undefined ? "" : ` in ${s.place}`}, ${s.backward ? "backward" : "forward"} pass`;
    for (const [name, p] of parameters)
      if (p.grad !== null && (await take(spoiled(p.grad)))[0])
        return `first not finite: the gradient of ${name}`;
    return undefined;
  } finally {
    for (const s of seen) s.flag.storage.dispose();
    scope(() => model.zeroGrad());
  }
}

/** Does the work and flags the results of all operators, in the order in which they were made. */
function watch(model: Module, parameters: ReadonlyMap<string, Tensor>, work: () => void): Seen[] {
  const seen: Seen[] = [];
  /** Whose memory it is: a parameter's, or what the forward pass of a part made. */
  const places = new Map<Storage, string>();
  for (const [name, p] of parameters) places.set(p.storage, name);
  const inside: string[] = [];
  let looking = false;
  let depth = 0;
  let backward = false;
  const placeOf = (args: readonly unknown[]): string | undefined => {
    if (inside.length > 0) return inside.at(-1);
    for (const a of args.flat(1)) {
      const place = a instanceof Tensor ? places.get(a.storage) : undefined;
      if (place !== undefined) return place;
    }
    return undefined;
  };
  const look = (op: OperatorInfo, args: readonly unknown[], result: unknown): void => {
    const place = placeOf(args);
    for (const t of [result].flat(1)) {
      if (!isFloat(t)) continue;
      if (place !== undefined && !places.has(t.storage)) places.set(t.storage, place);
      if (op.viewOf >= 0 || op.name.startsWith("empty")) continue;
      seen.push({ operator: op.name, backward, place, shape: t.shape, flag: keep(spoiled(t)) });
    }
  };
  scope(() =>
    withModules(model, inside, () =>
      withInterceptor((op, args, next) => {
        if (looking) return next();
        // What an operator is made of runs without recording: only the outermost one tells the passes apart.
        if (depth === 0) backward = !isGradEnabled();
        depth++;
        let result: unknown;
        try {
          result = next();
        } finally {
          depth--;
        }
        looking = true;
        try {
          look(op, args, result);
        } finally {
          looking = false;
        }
        return result;
      }, work),
    ),
  );
  return seen;
}

interface Callable {
  forward?: (...args: unknown[]) => unknown;
}

/** Runs `fn` while `inside` holds the names of the modules whose forward is running, the innermost last. */
function withModules(model: Module, inside: string[], fn: () => void): void {
  const wrapped: Callable[] = [];
  const visit = (name: string, value: unknown): void => {
    if (Array.isArray(value)) for (const [i, v] of value.entries()) visit(`${name}.${i}`, v);
    if (!(value instanceof Module)) return;
    const module = value as Callable;
    for (const [key, child] of Object.entries(value))
      visit(name === "" ? snake(key) : `${name}.${snake(key)}`, child);
    const own = module.forward;
    if (own === undefined || name === "") return;
    module.forward = function (this: unknown, ...args: unknown[]) {
      inside.push(name);
      try {
        return own.apply(this, args);
      } finally {
        inside.pop();
      }
    };
    wrapped.push(module);
  };
  visit("", model);
  try {
    fn();
  } finally {
    // The class's own method shows again.
    for (const module of wrapped) delete module.forward;
  }
}

const snake = (name: string) => name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
