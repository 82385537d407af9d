// Signatures: which kernels were launched for what, as plain JSON that can be kept and compiled from before the first
// launch. It records; `warmup.ts` compiles.

import type { DType } from "../compiler/ir/index.js";
import type { ConstexprValue, KernelSource, ParamFacts, Specialization } from "../compiler/source.js";
import { constexprKey } from "./compile.js";
import { observe } from "./observe.js";

/** What one compiled kernel was compiled for. Plain JSON. */
export interface Signature {
  readonly kernel: string;
  /** The kernel's content key: a signature of an older text is not compiled. */
  readonly content: string;
  readonly chip: string;
  readonly wideOffsets: boolean;
  readonly params: readonly SignatureParam[];
}

/** A tensor's dtype and alignment, a dim's facts, a constexpr's value, or `null` for a number. */
export type SignatureParam =
  | { readonly dtype: DType; readonly aligned: boolean }
  | { readonly one: boolean; readonly by16: boolean }
  | { readonly value: unknown }
  | null;

/** Kernels by name; those that nobody uses any more are gone. */
const sources = new Map<string, WeakRef<KernelSource>[]>();

/** Makes a kernel known to {@link sourceOf}. */
export function noteSource(source: KernelSource): void {
  const list = sources.get(source.name);
  const ref = new WeakRef(source);
  if (!list) sources.set(source.name, [ref]);
  else if (!list.some((r) => r.deref() === source))
    sources.set(source.name, [...list.filter((r) => r.deref() !== undefined), ref]);
}

/** The kernel of a signature, if it has been made in this process and its text is the same. */
export const sourceOf = (s: Signature): KernelSource | undefined =>
  sources
    .get(s.kernel)
    ?.map((r) => r.deref())
    .find((source) => source?.contentKey === s.content);

function paramOf(p: ParamFacts): SignatureParam {
  switch (p.kind) {
    case "ptr":
      return { dtype: p.dtype, aligned: p.aligned };
    case "dim":
      return { one: p.isOne, by16: p.divisibleBy16 };
    case "constexpr":
      return { value: constexprKey(p.value) };
    default:
      return null;
  }
}

/** The inverse of `constexprKey`. */
function constexprOf(v: unknown): ConstexprValue {
  if (Array.isArray(v)) return v.map((x) => constexprOf(x) as number);
  if (typeof v !== "object" || v === null) return v as ConstexprValue;
  const { bigint, number } = v as { bigint?: string; number?: string };
  return bigint !== undefined ? BigInt(bigint) : Number(number);
}

/** What a signature says for {@link KernelSource.build}. */
export function specializationOf(s: Signature): Specialization {
  const params = s.params.map((p): ParamFacts => {
    if (p === null) return { kind: "scalar" };
    if ("dtype" in p) return { kind: "ptr", dtype: p.dtype, aligned: p.aligned };
    if ("one" in p) return { kind: "dim", isOne: p.one, divisibleBy16: p.by16 };
    return { kind: "constexpr", value: constexprOf(p.value) };
  });
  return { params, wideOffsets: s.wideOffsets };
}

/**
 * The signatures of everything that `fn` launches, each once, in the order of their first launch.
 *
 * @example
 * const list = recordSignatures(() => model.forward(x));
 * fs.writeFileSync("signatures.json", JSON.stringify(list));
 */
export function recordSignatures(fn: () => Promise<unknown>): Promise<Signature[]>;
export function recordSignatures(fn: () => unknown): Signature[];
export function recordSignatures(fn: () => unknown): Signature[] | Promise<Signature[]> {
  const found = new Map<string, Signature>();
  const stop = observe({
    launch({ source, chip, specialization }, run) {
      const spec = specialization();
      const s: Signature = {
        kernel: source.name,
        content: source.contentKey,
        chip: chip.name,
        wideOffsets: spec.wideOffsets,
        params: spec.params.map(paramOf),
      };
      found.set(JSON.stringify(s), s);
      run();
    },
  });
  let result: unknown;
  try {
    result = fn();
  } catch (e) {
    stop();
    throw e;
  }
  if (result instanceof Promise) return result.finally(stop).then(() => [...found.values()]);
  stop();
  return [...found.values()];
}
