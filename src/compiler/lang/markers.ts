// What stands in the parameter object of a kernel: the kinds of parameters, helpers and constants.
// Only declarations; what they become in the IR stands in `kernel-source.ts`.

import type { DType } from "../ir/index.js";
import type { ConstexprValue } from "../source.js";
import type { Tl } from "./tl/index.js";

declare const AUTHOR_TYPE: unique symbol;
/** To the type checker a parameter is a `T`: a pointer or a number is a `number`, a flag a `boolean`. */
interface Typed<T> {
  readonly [AUTHOR_TYPE]?: T;
}

/** A tensor argument; in the body it is a pointer to its first element. */
export interface PtrMarker extends Typed<number> {
  readonly kind: "ptr";
}
/** A runtime number of a fixed dtype. Its value never makes another kernel. */
export interface ScalarMarker<T = number> extends Typed<T> {
  readonly kind: "scalar";
  readonly dtype: DType;
}
/** An i32 (a stride, a size) for which being 1 or a multiple of 16 makes another kernel. */
export interface DimMarker extends Typed<number> {
  readonly kind: "dim";
}
/** A value that is compiled in; each value makes another kernel. */
export interface ConstexprMarker<T = number> extends Typed<T> {
  readonly kind: "constexpr";
}
export interface HelperMarker<F = unknown> extends Typed<F> {
  readonly kind: "helper";
  readonly fn: (...args: never[]) => unknown;
  readonly uses: Readonly<Record<string, HelperMarker | ConstantMarker>>;
  /** Where the helper was declared, for messages. */
  readonly origin: { readonly stack?: string };
}
export interface ConstantMarker<T = unknown> extends Typed<T> {
  readonly kind: "constant";
  readonly value: ConstexprValue;
}

export type Marker =
  | PtrMarker
  | ScalarMarker<number>
  | ScalarMarker<boolean>
  | DimMarker
  | ConstexprMarker<unknown>
  | HelperMarker
  | ConstantMarker;

export type MarkerType<M> = M extends Typed<infer T> ? T : never;
/** What the body of a kernel with the parameters `P` is given as its first argument. */
export type KernelArgs<P> = { readonly [K in keyof P]: MarkerType<P[K]> };
/** The body of a kernel with the parameters `P`. */
export type KernelBody<P> = (args: KernelArgs<P>, tl: Tl) => void;

/** A tensor parameter: the body sees a pointer to its first element, whose dtype comes with the argument. */
export const ptr: PtrMarker = { kind: "ptr" };
/** An i32 parameter (a stride, a size) that specialises on being 1 or a multiple of 16. */
export const dim: DimMarker = { kind: "dim" };
/**
 * A compile-time parameter: a number, boolean, string or list of numbers. Conditions and loops over it are
 * folded. `constexpr` is a number to the type checker; `constexpr.bool`, `.string` and `.list` say otherwise.
 * @example kernel({ x: ptr, BLOCK: constexpr, CAUSAL: constexpr.bool }, ({ x, BLOCK, CAUSAL }, tl) => { … })
 */
export const constexpr: ConstexprMarker<number> & {
  readonly bool: ConstexprMarker<boolean>;
  readonly string: ConstexprMarker<string>;
  /** A dtype by its name: `"f32"`. */
  readonly dtype: ConstexprMarker<DType>;
  readonly list: ConstexprMarker<readonly number[]>;
} = Object.assign({ kind: "constexpr" } as ConstexprMarker<number>, {
  bool: { kind: "constexpr" } as ConstexprMarker<boolean>,
  string: { kind: "constexpr" } as ConstexprMarker<string>,
  dtype: { kind: "constexpr" } as ConstexprMarker<DType>,
  list: { kind: "constexpr" } as ConstexprMarker<readonly number[]>,
});

const scalar = <T = number>(dtype: DType): ScalarMarker<T> => ({ kind: "scalar", dtype });
export const bool: ScalarMarker<boolean> = scalar<boolean>("bool");
export const i8: ScalarMarker = scalar("i8");
export const i16: ScalarMarker = scalar("i16");
export const i32: ScalarMarker = scalar("i32");
export const i64: ScalarMarker & { readonly dtype: "i64" } = { kind: "scalar", dtype: "i64" };
export const u8: ScalarMarker = scalar("u8");
export const u16: ScalarMarker = scalar("u16");
export const u32: ScalarMarker = scalar("u32");
export const u64: ScalarMarker & { readonly dtype: "u64" } = { kind: "scalar", dtype: "u64" };
export const f8e4m3: ScalarMarker = scalar("f8e4m3");
export const f8e5m2: ScalarMarker = scalar("f8e5m2");
export const f16: ScalarMarker = scalar("f16");
export const bf16: ScalarMarker = scalar("bf16");
export const f32: ScalarMarker = scalar("f32");
export const f64: ScalarMarker = scalar("f64");

type Uses = Readonly<Record<string, HelperMarker | ConstantMarker>>;
/** Helpers and constants that a helper declares are found on its `tl`. */
export type HelperTl<U> = Tl & KernelArgs<U>;

/**
 * A function that kernels call by the name it is declared under; it is inlined. Its first parameter is `tl`,
 * which callers do not pass. What it needs besides, it declares first and finds on `tl`. Parameters are numbers
 * to the type checker unless one is annotated; then all must be.
 * @example
 * const silu = helper((tl, v) => v * tl.sigmoid(v));
 * const gated = helper({ silu }, (tl, a, b) => tl.silu(a) * b);
 * kernel({ x: ptr, gated }, ({ x, gated }, tl) => { … gated(a, b) … });
 */
export function helper<A extends number[], R>(fn: (tl: Tl, ...args: A) => R): HelperMarker<(...args: A) => R>;
export function helper<A extends unknown[], R>(
  fn: (tl: Tl, ...args: A) => R,
): HelperMarker<(...args: A) => R>;
export function helper<U extends Uses, A extends number[], R>(
  uses: U,
  fn: (tl: HelperTl<U>, ...args: A) => R,
): HelperMarker<(...args: A) => R>;
export function helper<U extends Uses, A extends unknown[], R>(
  uses: U,
  fn: (tl: HelperTl<U>, ...args: A) => R,
): HelperMarker<(...args: A) => R>;
export function helper(a: unknown, b?: unknown): HelperMarker {
  const fn = typeof a === "function" ? a : b;
  if (typeof fn !== "function") throw new TypeError("helper() takes a function (tl, …) => …");
  return {
    kind: "helper",
    fn: fn as (...args: never[]) => unknown,
    uses: typeof a === "function" ? {} : (a as Uses),
    origin: new Error(),
  };
}

type Widen<T> = T extends number ? number : T extends boolean ? boolean : T;
/**
 * A value that a kernel compiles in, declared beside its parameters.
 * @example kernel({ x: ptr, EPS: constant(1e-5) }, ({ x, EPS }, tl) => { … })
 */
export function constant<T extends ConstexprValue>(value: T): ConstantMarker<Widen<T>> {
  return { kind: "constant", value };
}
