// `kernel()`: the kernel language's front end and the launch, put together and typed.

import type {
  ConstantMarker,
  ConstexprMarker,
  DimMarker,
  HelperMarker,
  KernelBody,
  Marker,
  PtrMarker,
  ScalarMarker,
} from "../compiler/lang/markers.js";
import { kernelSource } from "../compiler/lang/index.js";
import type { KernelBuffer } from "./buffer.js";
import { Kernel } from "./kernel.js";

type ArgumentOf<M> = M extends PtrMarker
  ? KernelBuffer
  : M extends DimMarker
    ? number
    : M extends ConstexprMarker<infer T>
      ? T
      : M extends ScalarMarker<infer T>
        ? M extends { readonly dtype: "i64" | "u64" }
          ? number | bigint
          : T
        : never;

/** What a kernel with the parameters `P` is launched with: its helpers and constants are not arguments. */
export type LaunchArgs<P> = {
  [K in keyof P as P[K] extends HelperMarker | ConstantMarker ? never : K]: ArgumentOf<P[K]>;
};

/**
 * A kernel from a function of the kernel language. The function is read as text when the kernel is first
 * compiled, and never called.
 *
 * @param params what the kernel takes, by name: `ptr`, `i32`, `f32`, `dim`, `constexpr`, `helper(…)`, …
 * @param fn the body; it reaches everything through its two parameters
 * @throws CompileError at the first launch, at the author's line, for what the language does not allow
 * @example
 * const scale = kernel({ x: ptr, n: i32, by: f32, BLOCK: constexpr }, ({ x, n, by, BLOCK }, tl) => {
 *   const at = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
 *   tl.store(x + at, tl.load(x + at, at < n) * by, at < n);
 * });
 * scale.launch([Math.ceil(n / 1024)], { x, n, by: 2, BLOCK: 1024 });
 */
export function kernel<const P extends Record<string, Marker>>(
  params: P,
  fn: KernelBody<P>,
  name?: string,
): Kernel<LaunchArgs<P>> {
  return new Kernel<LaunchArgs<P>>(kernelSource(params, fn, name));
}
