// The lowered form of `lower/simd`: a structured program over scalar and vector registers for one program id.
// The printers of the `cpu` and `wasm` chips are tables over it. It has no tiles, no types under 32 bits
// outside memory, no f16 arithmetic, and masks on memory accesses only where the chip asks for them.

/**
 * A register's element: small integers and `bool` live in `i32` (sign- or zero-extended as their dtype says),
 * floats of 8 and 16 bits in `f32`. A `mask` lane is true or false; how it is represented is the printer's choice.
 */
export type RegKind = "i32" | "i64" | "f32" | "f64" | "mask";

/** `lanes` 1 is a scalar. A vector is at most {@link VectorShape.bytes} wide for its widest element. */
export interface RegType {
  readonly kind: RegKind;
  readonly lanes: number;
}

/** A mutable local variable. Assigned by `dst` of a statement, any number of times. */
export interface Reg {
  readonly id: number;
  readonly type: RegType;
  readonly name?: string;
}

/** A register, or a literal of the kind the place asks for (bigint for i64, 0 or 1 for mask). */
export type Operand = Reg | number | bigint;

/** How elements stand in memory. `u` kinds zero-extend into i32, `i` kinds sign-extend. f16 and bf16 are accessed as `u16`, f8 as `u8`. */
export type MemKind = "i8" | "u8" | "i16" | "u16" | "i32" | "i64" | "f32" | "f64";

/** A buffer parameter (index into the ABI's parameter list), or a byte offset into the thread's own frame (64-byte aligned frame). */
export type Mem = { readonly param: number } | { readonly frame: number };

/**
 * Register-to-register operations. `args` and `dst` have the same lanes unless said otherwise.
 * Suffix `S`/`U`: signed or unsigned reading of i32/i64.
 */
export type RegOp =
  // i32, i64, f32, f64 (integers wrap)
  | "add"
  | "sub"
  | "mul"
  // f32, f64. `min`/`max` propagate NaN. `fma` may round once or twice.
  | "div"
  | "min"
  | "max"
  // `pmin(a, b)` is `b < a ? b : a`, `pmax(a, b)` is `a < b ? b : a`: their first operand where one is NaN.
  | "pmin"
  | "pmax"
  | "fma"
  | "sqrt"
  | "floor"
  | "ceil"
  | "trunc"
  | "nearest"
  | "abs"
  | "neg"
  // i32, i64. The divisor is never 0, and never -1 for the most negative dividend.
  | "divS"
  | "divU"
  | "remS"
  | "remU"
  | "minS"
  | "minU"
  | "maxS"
  | "maxU"
  // i32, i64, mask
  | "and"
  | "or"
  | "xor"
  // i32, i64: the count is masked to the width; for vectors it may differ by lane
  | "shl"
  | "shrS"
  | "shrU"
  // mask only
  | "not"
  // any kind -> mask of the same lanes. On floats the S forms are the IEEE comparisons; U forms are for integers.
  | "eq"
  | "ne"
  | "ltS"
  | "leS"
  | "gtS"
  | "geS"
  | "ltU"
  | "leU"
  | "gtU"
  | "geU"
  /** `select(mask, a, b)` for any kind. */
  | "select"
  /** mask vector -> scalar mask. */
  | "any"
  | "all"
  /** Conversions; the kinds of `args[0]` and `dst` say which. Float to integer saturates, NaN becomes 0. */
  | "convertS" // i32->i64 (sign), i32->f32/f64, i64->f32/f64, f32/f64->i32/i64, f32<->f64, i64->i32 (wrap)
  | "convertU" // the same, reading or making unsigned integers
  /** i32<->f32, i64<->f64: the same bits. */
  | "bitcast"
  /** mask -> i32 or i64: 0 or 1. */
  | "fromMask"
  /** Half bits in an i32 <-> f32 (to nearest, ties to even; NaN stays NaN). */
  | "f16ToF32"
  | "f32ToF16"
  /** Any kind: a copy; scalar -> vector: `splat`. */
  | "copy"
  | "splat"
  /** -> i32 vector 0, 1, 2, … */
  | "iota"
  /** `extract {lane}`: vector -> scalar. `insert {lane}`: (vector, scalar) -> vector. `pack`: a scalar for each lane -> vector. */
  | "extract"
  | "insert"
  | "pack"
  /** `shuffle {pick}`: two vectors -> one of the same type: lane `k` is lane `pick[k]` of the first with the second behind it. */
  | "shuffle"
  /** `half {lane}`: the lower (0) or upper (1) lanes of a vector of twice the lanes. */
  | "half"
  /**
   * (i32, i32, i32) -> i32 vectors: the third plus, in each lane, the products of the bytes (`dot4`) or of the halves of 16 bits
   * (`dot2`) of the first two, one by one. They are signed; `U`: those of the first are unsigned.
   */
  | "dot4S"
  | "dot4U"
  | "dot2S"
  /** (i32, i32, f32) -> f32 vectors: the third plus the products of the two bf16 in each lane; numbers below the normal ones may count as 0. */
  | "dot2B"
  /** (f32 vector, i32 vector) -> f32 vector of as many lanes: lane `index & (lanes - 1)` of the first for each index. */
  | "lookup"
  /** `param {index}`: the scalar argument at that ABI index, in the register kind of its dtype (small integers extended to i32). */
  | "param"
  /** `programId {index: axis}`, `numPrograms {index: axis}` -> i32 scalar. */
  | "programId"
  | "numPrograms";

/** The operations that multiply several elements in a lane and add them up. */
export type DotOp = "dot4S" | "dot4U" | "dot2S" | "dot2B";

export type AtomicOp = "add" | "max" | "min" | "and" | "or" | "xor" | "xchg" | "cas";

export type Stmt =
  | {
      readonly s: "op";
      readonly op: RegOp;
      readonly dst: Reg;
      readonly args: readonly Operand[];
      readonly lane?: number;
      readonly index?: number;
      readonly pick?: readonly number[];
    }
  /**
   * `dst` gets `lanes` consecutive elements from element index `at` (scalar i32, read as unsigned on 32-bit memories, or i64).
   * `packed`: an i32 vector of memory with smaller elements gets as many of them as it has bytes for, as they stand.
   * With `mask` and `other` (both or none; see {@link VectorShape.maskedMemory}) lanes that are off are not accessed and get
   * `other`. A masked access is of a vector whose register kind is its memory kind.
   */
  | {
      readonly s: "load";
      readonly dst: Reg;
      readonly mem: Mem;
      readonly kind: MemKind;
      readonly at: Operand;
      readonly mask?: Operand;
      readonly other?: Operand;
      readonly packed?: boolean;
    }
  /**
   * Writes `lanes` consecutive elements; with `mask` only those whose lanes are on. `stream`: nobody reads them soon, so
   * they need not stay in the caches; a hint without effect on the result.
   */
  | {
      readonly s: "store";
      readonly value: Operand;
      readonly type: RegType;
      readonly mem: Mem;
      readonly kind: MemKind;
      readonly at: Operand;
      readonly mask?: Operand;
      readonly stream?: boolean;
    }
  /** Says that memory around an element of a parameter will be read soon. A hint: the element need not exist, unless it is said to. */
  | {
      readonly s: "prefetch";
      readonly mem: Mem;
      readonly kind: MemKind;
      readonly at: Operand;
      readonly exists?: boolean;
    }
  /** A scalar atomic on a parameter; `dst` gets the old value. f32 `add`, `max`, `min` included. `expected` for `cas`. `unsigned` for max/min. */
  | {
      readonly s: "atomic";
      readonly op: AtomicOp;
      readonly dst: Reg;
      readonly mem: Mem;
      readonly kind: MemKind;
      readonly at: Operand;
      readonly value: Operand;
      readonly expected?: Operand;
      readonly unsigned?: boolean;
    }
  /**
   * `sums[r, j] += left[r, w] * right[w, j]`, with `op` for the product of two words, over 16 or 32 rows and columns and all of
   * `words`, a multiple of 16. See {@link VectorShape.tiles}.
   */
  | {
      readonly s: "tiles";
      readonly op: DotOp;
      readonly rows: number;
      readonly columns: number;
      readonly words: number;
      readonly sums: Rows;
      readonly left: Rows;
      readonly right: Rows;
    }
  /** Scalar `iv` counts from `lo` while `iv < hi` (signed); `step` is a positive operand. `iv` is not assigned in the body. */
  | {
      readonly s: "for";
      readonly iv: Reg;
      readonly lo: Operand;
      readonly hi: Operand;
      readonly step: Operand;
      readonly body: readonly Stmt[];
      /** What the loop computes, for printers that have code of their own for it; the body computes just that. */
      readonly products?: OuterProducts;
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

/**
 * `steps` outer products of a few elements and a few vectors, added up in registers: the innermost loop of a matrix
 * product. The sums are 0 before the loop; `sums[r][v] += left[r, k] * right[k, v]` for `k` from 0 to `steps`, where `left[r, k]` is the element at
 * `at + r * row + k * step`, spread over the lanes, and `right[k, v]` the vector that starts at `at + v * row + k * step`.
 */
export interface OuterProducts {
  /** Instead of multiplying and adding elements: this operation on what is in their lanes, the right side first. */
  readonly dot?: DotOp;
  readonly sums: readonly (readonly Reg[])[];
  readonly left: Panel;
  readonly right: Panel;
  readonly steps: number;
}

/** Rows of words of 32 bits in memory, `stride` words apart. */
export interface Rows {
  readonly mem: Mem;
  readonly at: Operand;
  readonly stride: number;
}

/** A packed operand of {@link OuterProducts}: where it starts and its strides, in elements. */
export interface Panel {
  readonly mem: Mem;
  readonly kind: "f32" | "f64" | "i32";
  readonly at: Operand;
  readonly row: number;
  readonly step: number;
}

/** One ABI parameter of the kernel, in order. */
export type FormParam =
  | { readonly kind: "buffer"; readonly name: string; readonly mem: MemKind }
  | { readonly kind: "scalar"; readonly name: string; readonly reg: RegKind; readonly mem: MemKind };

/** A whole kernel for one program id. The printer adds the loop over a range of program ids. */
export interface Form {
  readonly name: string;
  readonly params: readonly FormParam[];
  /** Bytes of scratch each thread needs (64-byte aligned start). */
  readonly frameBytes: number;
  readonly regs: readonly Reg[];
  readonly body: readonly Stmt[];
}

/** The operation of a vector unit for products of a dtype, where it has one. */
export interface Dots {
  readonly i8?: "dot4S" | "dot4U" | "dot2S";
  readonly bf16?: "dot2B";
}

/** What the lowering must know of a chip's vector unit. */
export interface VectorShape {
  /** Bytes of a vector register: 16 on wasm, 32 with AVX2. A group of statements with 64-bit lanes uses `bytes / 8` lanes, else `bytes / 4`. */
  readonly bytes: number;
  /** Vector registers, for the size of the matrix product's register block. */
  readonly registers: number;
  /** Memory is addressed with 32 bits: element indices fit i32 read as unsigned. */
  readonly address32: boolean;
  /** Loads and stores of 32- and 64-bit elements take a mask. Default: no; then the lowering writes them out. */
  readonly maskedMemory?: boolean;
  /** The printer has code of its own for {@link OuterProducts} that keeps this many sums in registers. */
  readonly outerProducts?: { readonly rows: number; readonly vectors: number };
  /** What sums products of these dtypes in one instruction. Default: none; then elements are widened before they are multiplied. */
  readonly dots?: Dots;
  /** Products of these dtypes run on a matrix unit, as statements `tiles`. Default: there is none. */
  readonly tiles?: Dots;
  /** `lookup` in vectors of this many lanes is one instruction. Default: none; then there is none. */
  readonly lookup?: number;
  /** `prefetch` is of use. Default: no; then there is none. */
  readonly prefetch?: boolean;
  /** In its place a load may read up to 64 KiB behind an element that exists, whatever is there. Default: no. */
  readonly touch?: boolean;
  /** Whoever compiles what the printer writes leaves loops as they are: short bodies are written several times. Default: no. */
  readonly unroll?: boolean;
  /** What several loops read is loaded again rather than copied to the frame, where that takes next to nothing else. Default: no. */
  readonly reload?: boolean;
}
