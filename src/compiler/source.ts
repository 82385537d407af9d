// What a kernel is to the rest of the house: something that yields tile IR for a specialisation.
// The kernel language (`lang/`) is one maker of sources, `pointwise` another.

import type { DType, Func } from "./ir/index.js";

/**
 * One declared parameter.
 * - `ptr`: a tensor; the element dtype comes with the argument.
 * - `scalar`: a runtime number of a fixed dtype; its value never specialises.
 * - `dim`: an i32 whose value being 1 or a multiple of 16 specialises (strides, sizes).
 * - `constexpr`: compiled in; each value makes another kernel.
 */
export type ParamSpec =
  | { readonly name: string; readonly kind: "ptr" }
  | { readonly name: string; readonly kind: "scalar"; readonly dtype: DType }
  | { readonly name: string; readonly kind: "dim" }
  | { readonly name: string; readonly kind: "constexpr" };

export type ConstexprValue = number | bigint | boolean | string | readonly number[];

/** What is known of each parameter, in the order of {@link KernelSource.params}. */
export type ParamFacts =
  /** `aligned`: the address (buffer + offset) is a multiple of 16 bytes. */
  | { readonly kind: "ptr"; readonly dtype: DType; readonly aligned: boolean }
  | { readonly kind: "scalar" }
  | { readonly kind: "dim"; readonly divisibleBy16: boolean; readonly isOne: boolean }
  | { readonly kind: "constexpr"; readonly value: ConstexprValue };

export interface Specialization {
  readonly params: readonly ParamFacts[];
  /** Some buffer of the launch has 2^31 elements or more: offsets are computed in 64 bits. */
  readonly wideOffsets: boolean;
}

export interface KernelSource {
  readonly name: string;
  readonly params: readonly ParamSpec[];
  /** Changes with everything that decides the IR (text, helpers, constants): part of every cache key. */
  readonly contentKey: string;
  /**
   * Builds the IR, unoptimised but verified. The function's parameters are the `ptr`, `scalar` and `dim`
   * parameters in declared order; constexprs are folded in. Throws CompileError at the author's line.
   */
  build(spec: Specialization): Func;
  /** The author's file and line where the kernel begins, for messages; undefined where nobody knows. May read files. */
  definition?(): string | undefined;
}
