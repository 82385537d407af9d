// The lowered form of `lower/simt`: what one thread of a workgroup does. The printers of GPU chips are tables over it.
// It has no tiles, no layouts and no types under 32 bits in registers. How tiles became registers stands in `layout.ts`;
// what a chip can do stands in `shape.ts`.
//
// One workgroup of `Form.threads` threads (one dimension) runs one program id; `Form.programsPerGroup` above 1 puts
// several small programs into one workgroup. All threads run the same statements. A condition around a `barrier`, a
// shuffle or a matrix statement is the same in all threads that take part; the lowering sees to that.
//
// Registers are those of `lower/simd` with one lane (several only where `SimtShape.lanes` allows it), and so are the
// register operations, with the same meaning to the last bit: what the two lowerings share of scalar code exists once.
// Floating-point operations are IEEE, rounded to nearest even, with subnormals; `add` and `mul` are not contracted by
// the printer (`fma` is asked for by name).

import type {
  AtomicOp,
  DotOp,
  FormParam,
  MemKind,
  Operand,
  Reg,
  RegKind,
  RegOp as SimdOp,
  RegType,
} from "../simd/form.js";

export type { AtomicOp, FormParam, MemKind, Operand, Reg, RegKind, RegType };

/**
 * Register operations: those of `lower/simd/form.ts` that do not look into a vector, and these. A register of kind
 * `mask` is a predicate. f16 and bf16 values are f32 registers, or come in pairs in one i32 (the first in the low half).
 */
export type RegOp =
  | Exclude<SimdOp, "any" | "all" | "iota" | "half" | "lookup" | DotOp>
  /** -> i32: the thread's number in its workgroup, 0 to `Form.threads - 1`. Subgroup = number / size, lane = number % size. */
  | "threadId"
  /** (f32) -> f32: 2 to its power, to about 2^-22. Only on chips whose target says that it has it. */
  | "exp2Approx"
  /** (f32) -> f32: 1 / (1 + exp(-x)), to about 2^-21, on the same condition. */
  | "sigmoidApprox"
  /** -> mask: the thread is one of {@link Form.extraThreads}. */
  | "isExtra"
  /** (f32, f32) -> i32: both rounded (to nearest even) to a pair of halves. */
  | "packF16"
  | "packBf16"
  /** (i32) -> f32: the low or the high half of a pair. */
  | "lowF16"
  | "highF16"
  | "lowBf16"
  | "highBf16"
  /** (i32, i32) -> i32: the difference of two pairs, half by half, rounded. Only where {@link SimtShape.halfPairs} is set. */
  | "subPairF16"
  | "subPairBf16"
  /** (i32, i32, i32) -> i32: `(a & b) ^ c`. */
  | "andXor"
  /** (i32) -> i32: how many bits are set. */
  | "popCount"
  /** (i32, i32) -> i32: a half of each, the first's low; bit 0 of `index` chooses which of the first, bit 1 which of the second. */
  | "halvesOf";

/**
 * Memory: a buffer parameter (its index in the ABI), or the workgroup's shared memory from a byte on.
 * Buffers start at the element offset that the launch gives; the printer adds it.
 */
export type Mem = { readonly param: number } | { readonly shared: number };

/** A hint that has no effect on results. */
export type CacheHint = "streaming" | "evictFirst" | "evictLast" | "global";

/**
 * A place in memory: `at + plus`, in elements of the buffer's declared kind ({@link FormParam.mem}), in shared memory in
 * bytes after {@link Mem}. `at` is an i32 (signed) or an i64 register or literal; `plus` is a constant that may be
 * negative, for the immediate offset of an instruction: the sum does not wrap at 32 bits.
 */
export interface Place {
  readonly mem: Mem;
  readonly at: Operand;
  readonly plus?: number;
}

/**
 * The blocks that `bulkCopy` brings to shared memory, as elements of 16 bits (wider ones are several): `rows` rows of 64 neighbours. A row
 * begins `step` of these behind the one before: `times`, or `times` what scalar parameter `param` is.
 */
export interface BlockMap {
  /** The buffer. */
  readonly param: number;
  readonly step: { readonly times: number; readonly param?: number };
  readonly rows: number;
  /** For blocks of which nothing counts: the engine looks where the map begins, which others do in front of the buffer, and this one in it. */
  readonly empty?: true;
}

/** A matrix operand in shared memory, for matrix units that read it there. */
export interface SharedMatrix {
  /** The first byte is `at + plus` of shared memory after {@link Mem}, the same in all threads of the unit. */
  readonly mem: Mem;
  readonly at: Operand;
  readonly plus?: number;
  /** Bytes over which 16-byte pieces are permuted against bank conflicts: piece `p` of row `r` stands at `p ^ (r % (swizzle / 16))`. */
  readonly swizzle: 0 | 32 | 64 | 128;
  /** Bytes between groups of 8 rows, and between neighbouring swizzle atoms along the rows. */
  readonly strideBytes: number;
  readonly leadingBytes: number;
  /** The rows of memory run along the dimension that is summed over (K), or across it. */
  readonly major: "k" | "mn";
}

export type Stmt =
  | {
      readonly s: "op";
      readonly op: RegOp;
      readonly dst: Reg;
      readonly args: readonly Operand[];
      readonly index?: number;
      /** Of `extract` and `insert`, where registers have lanes. */
      readonly lane?: number;
    }
  /**
   * Each register of `dst` gets the next element of `kind`: 1, 2, 4, 8 or 16 bytes in all (so one element for kinds under
   * 32 bits), aligned to as many bytes. `kind` may differ from the buffer's own: pairs of halves and fours of bytes are
   * read as i32. Where `mask` is false nothing is read and `dst` keeps what it held.
   */
  | ({
      readonly s: "load";
      readonly dst: readonly Reg[];
      readonly kind: MemKind;
      readonly mask?: Operand;
      readonly cache?: CacheHint;
      /** Nothing in this kernel writes the buffer. (The same memory may still be another parameter.) */
      readonly readonly?: boolean;
      /** It may stand before {@link Form.body}'s `await`. */
      readonly early?: boolean;
    } & Place)
  /** Writes `values` (registers of `type`) to consecutive elements, under the rules of `load`. */
  | ({
      readonly s: "store";
      readonly values: readonly Operand[];
      readonly type: RegType;
      readonly kind: MemKind;
      readonly mask?: Operand;
      readonly cache?: CacheHint;
    } & Place)
  /**
   * One element in one step; `dst` gets the old value where the mask is true. `expected` for `cas`, which works on bits:
   * kinds i32, i64, u16, u8. Others as {@link SimtShape.atomics} says. `scope` is who sees it as one step: the chip by default.
   */
  | ({
      readonly s: "atomic";
      readonly op: AtomicOp;
      readonly dst?: Reg;
      readonly kind: MemKind;
      readonly value: Operand;
      readonly expected?: Operand;
      readonly unsigned?: boolean;
      readonly mask?: Operand;
      readonly order: "relaxed" | "acquire" | "release" | "acq_rel";
      readonly scope?: "group" | "chip" | "system";
    } & Place)
  /**
   * All threads (of the workgroup, or of each subgroup) arrive before any goes on; what they wrote to shared memory
   * before, and with `global` also to buffers, is seen by the others after it. `all`: those of {@link Form.extraThreads}, too.
   */
  | {
      readonly s: "barrier";
      readonly scope: "all" | "group" | "subgroup";
      readonly global?: boolean;
    }
  /**
   * Values of other lanes of the subgroup: of lane `lane ^ by` (xor), `lane - by` (up), `lane + by` (down), `by` (index).
   * i32 and f32 only; all lanes take part. Without such a lane `dst` gets the thread's own value.
   */
  | {
      readonly s: "shuffle";
      readonly how: "xor" | "up" | "down" | "index";
      readonly dst: Reg;
      readonly value: Operand;
      readonly by: Operand;
    }
  /**
   * The lanes of the subgroup of `lanes` threads whose `value` has the same low `bits` bits, as the bits of `dst` (i32). All lanes
   * take part. Only where {@link SimtShape.matchLanes} is set.
   */
  | {
      readonly s: "match";
      readonly dst: Reg;
      readonly value: Operand;
      readonly bits: number;
      readonly lanes: number;
    }
  /** Buffer to shared memory without registers: `bytes` (4, 8 or 16, aligned). Where `mask` is false, zeros are written. */
  | {
      readonly s: "copyAsync";
      readonly to: Place;
      readonly from: Place;
      readonly bytes: 4 | 8 | 16;
      readonly mask?: Operand;
      readonly cache?: CacheHint;
    }
  /** Where launches overlap: what those before this one wrote is seen by the thread from here on. On every way to such a read once. */
  | { readonly s: "await" }
  /** Loads before it are issued before it: a hint that changes no result. All lanes of a subgroup pass it together. */
  | { readonly s: "issue" }
  /** Closes the group of this thread's asynchronous copies so far. */
  | { readonly s: "copyCommit" }
  /** Waits until all but the last `pending` groups of this thread have arrived. (A barrier shows them to other threads.) */
  | { readonly s: "copyWait"; readonly pending: number }
  /**
   * Makes a barrier of the copy engine, 8 bytes of shared memory, whose turns end when `count` threads have arrived and all bytes that
   * they announced. `bulkFence` shows new barriers, and what the thread did in shared memory, to the engine after the next barrier.
   */
  | {
      readonly s: "bulkBarrier";
      readonly place: Place;
      readonly count: number;
      readonly mask?: Operand;
    }
  | { readonly s: "bulkFence" }
  /** A thread arrives at a barrier; with `bulkExpect` it announces bytes, before it starts their copies. */
  | { readonly s: "bulkArrive"; readonly place: Place; readonly mask?: Operand }
  | {
      readonly s: "bulkExpect";
      readonly place: Place;
      readonly bytes: Operand;
      readonly mask?: Operand;
    }
  /**
   * The copy engine brings a block of {@link Form.maps} to `to`, a multiple of 1024: rows of 128 bytes, in which piece `p` of row `r`
   * stands at `p ^ (r % 8)`. `from` is a column, a row and a piece of 8 elements: the block's element `[r, c]` is element
   * `8 * piece - 64 - rows * step + (row + r) * step + column + c` of the buffer, zero where `row + r` reaches `rows` or `column + c` 64.
   * Where `empty` tells that this is so of all elements, its map must be used, one for such blocks.
   */
  | {
      readonly s: "bulkCopy";
      readonly map: number;
      readonly to: Place;
      readonly from: readonly [column: Operand, row: Operand, piece: Operand];
      readonly barrier: Place;
      readonly mask?: Operand;
      readonly empty?: { readonly test: Operand; readonly map: number };
    }
  /** Waits for a turn of a barrier; turns have parity 0 and 1 in turn, before the first lies one of parity 1. What was copied is seen by the thread and by matrix units. */
  | { readonly s: "bulkWait"; readonly place: Place; readonly parity: Operand }
  /** From here on a thread of its subgroups has so many registers. */
  | { readonly s: "registers"; readonly count: number; readonly more: boolean }
  /**
   * `d = a * b + c` on fragments, by the shape at `matrix` of {@link SimtShape.matrices}: registers in the order of its
   * {@link Fragment}s, pairs of 16-bit elements in i32. With `isAsync` the products are complete after `matrixWait`, and `d` is
   * `c`; `first`: `c` counts as zero where this mask is true.
   */
  | {
      readonly s: "matrix";
      readonly matrix: number;
      readonly d: readonly Reg[];
      readonly a: readonly Operand[] | SharedMatrix;
      readonly b: readonly Operand[] | SharedMatrix;
      readonly c: readonly Operand[];
      readonly isAsync?: boolean;
      readonly first?: Operand;
    }
  /** Orders the thread's register and shared-memory accesses (copies that arrived too) before asynchronous products that follow. */
  | { readonly s: "matrixFence" /** Only those to registers. */; readonly registers?: boolean }
  | { readonly s: "matrixCommit" }
  | { readonly s: "matrixWait"; readonly pending: number }
  /**
   * 8x8 matrices of 16-bit elements out of shared memory, one a register: lane `8 i + j` (of the first `8 * dst.length`)
   * gives the byte of row `j` of matrix `i`; lane `l` gets the elements `2 (l % 4)` and the next of row `l / 4`, with
   * `transpose` of column `l / 4`.
   */
  | {
      readonly s: "loadMatrix";
      readonly dst: readonly Reg[];
      readonly place: Place;
      readonly transpose: boolean;
    }
  /** Scalar `iv` counts from `lo` while `iv < hi` (signed); `step` is positive. `iv` is not assigned in the body. */
  | {
      readonly s: "for";
      readonly iv: Reg;
      readonly lo: Operand;
      readonly hi: Operand;
      readonly step: Operand;
      readonly body: readonly Stmt[];
      /** Turns to unroll; the printer may leave it to the chip's compiler. */
      readonly unroll?: number;
    }
  | {
      readonly s: "while";
      readonly cond: readonly Stmt[];
      readonly test: Operand;
      readonly body: readonly Stmt[];
    }
  | {
      readonly s: "if";
      readonly test: Operand;
      readonly then: readonly Stmt[];
      readonly else: readonly Stmt[];
    };

/** A whole kernel. */
export interface Form {
  readonly name: string;
  readonly params: readonly FormParam[];
  /** Threads of a workgroup: a power of two. */
  readonly threads: number;
  /**
   * Programs of a workgroup, along grid axis 0; above 1 the launch rounds the workgroups up and `programId` is that of
   * the thread's program. Such a form has no barriers and no shared memory.
   */
  readonly programsPerGroup: number;
  /** Threads behind those of the workgroup that do work of their own; they take no part in barriers but those of `all`. */
  readonly extraThreads?: number;
  /**
   * A workgroup takes one program after another: a launch starts at most as many as run at once, along axis 0, and hands on its programs
   * along the three axes as the last three parameters, behind the author's.
   */
  readonly persistent?: boolean;
  /** What a launch prepares for `bulkCopy`. */
  readonly maps?: readonly BlockMap[];
  /** Bytes of shared memory (16-byte aligned start; 1024 where matrix units read it). */
  readonly sharedBytes: number;
  readonly regs: readonly Reg[];
  readonly body: readonly Stmt[];
  /** Workgroups that are to share a multiprocessor: the assembler keeps registers few enough. */
  readonly sharing?: number;
  /** 32-bit registers that one thread needs at once, about. */
  readonly registers: number;
  /** The layouts of the kernel's tiles as text, for people. */
  readonly layouts: readonly string[];
}
