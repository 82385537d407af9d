// What the lowering must know of a chip: sizes, what stands beside plain loads and stores, its matrix units.
// A chip's folder fills this in; nothing here names a chip.

import type { AtomicOp, MemKind } from "./form.js";

/**
 * Which element of a matrix operand each thread's registers hold. Every number is a bit of the row-major index into the
 * operand (`row * columns + column`), so that the index that register `r` of thread `t` holds is the sum of the `registers`
 * at the bits set in `r` and of the `threads` at the bits set in `t`; 0 repeats elements.
 * The lowest register bits choose within one 32-bit register where elements are smaller.
 */
export interface Fragment {
  readonly registers: readonly number[];
  readonly threads: readonly number[];
}

/** One product of a matrix unit: `d[m,n] = a[m,k] * b[k,n] + c[m,n]`. */
export interface MatrixShape {
  /** For the printer; the lowering does not read it. */
  readonly name: string;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Dtype of `a` and `b`. `tf32`: f32 whose low bits are ignored, used where a `dot` allows it. */
  readonly operands: "f16" | "bf16" | "tf32" | "i8" | "u8" | "f64";
  readonly accumulator: "f32" | "i32" | "f64";
  /** Subgroups that work on one product together: 1, or 4. */
  readonly subgroups: 1 | 4;
  /** Where `a` may stand, and `b`. */
  readonly a: { readonly fragment?: Fragment; readonly shared?: boolean };
  readonly b: { readonly fragment?: Fragment; readonly shared?: boolean };
  readonly c: Fragment;
  /** The statement is asynchronous. */
  readonly isAsync?: boolean;
}

export interface SimtShape {
  /** Threads of a subgroup that shuffle; absent where there is no shuffle. */
  readonly subgroup?: number;
  /** Most threads of a workgroup, and how many to use for work that does not ask for more. */
  readonly maxThreads: number;
  readonly preferredThreads: number;
  /** Bytes of shared memory that a workgroup may use. */
  readonly sharedBytes: number;
  /** 32-bit registers of a thread, and of a workgroup (absent: no bound known). */
  readonly registers: number;
  readonly groupRegisters?: number;
  /** The widest load or store of several elements in bytes. */
  readonly accessBytes: number;
  /** Widest register vector in 32-bit lanes that `dot` may use; 1 on chips whose threads are scalar. */
  readonly lanes: number;
  /** Shared-memory banks times their bytes, for padding; 0 where conflicts cost nothing. */
  readonly bankBytes: number;
  readonly f64: boolean;
  /** Atomics that are one statement; the rest becomes a loop around `cas`. `cas` on i32 is always there. */
  atomics(op: AtomicOp, kind: MemKind): boolean;
  /** `match` and `popCount`; subgroups have at most 32 threads. */
  readonly matchLanes?: boolean;
  /** `copyAsync` and its groups. */
  readonly asyncCopy?: boolean;
  /** Arithmetic on pairs of halves, and products of subgroups whose operands are loaded as fragments. */
  readonly halfPairs?: boolean;
  /** `bulkCopy`, its barriers and {@link Form.maps}. */
  readonly bulkCopy?: boolean;
  /** Loops of several products use it, too. */
  readonly bulkStreams?: boolean;
  /** A launch may start as few workgroups as run at once, which take its programs in turn ({@link Form.persistent}). */
  readonly persistent?: boolean;
  /** A launch may begin while those before it still run: forms say with `await` when it needs what these wrote. */
  readonly overlaps?: boolean;
  /** `loadMatrix`. */
  readonly loadMatrix?: boolean;
  /** Matrix units, preferred first. */
  readonly matrices: readonly MatrixShape[];
}
