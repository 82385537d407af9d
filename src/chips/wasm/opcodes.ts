// The WebAssembly instructions that the printer uses: name -> encoding and kind of immediate.
// Only a table; how instructions are chosen stands in `emit-ops` and `emit-memory`.

/** What follows an opcode in the binary. `mem`: alignment and offset; `memLane`: the same and a lane. */
export type Immediate =
  | "none"
  | "index"
  | "mem"
  | "memLane"
  | "lane"
  | "bytes16"
  | "i32"
  | "i64"
  | "f32"
  | "f64"
  | "block";

export interface Opcode {
  /** 0 for one-byte opcodes, else 0xfc (saturating), 0xfd (SIMD) or 0xfe (threads). */
  readonly prefix: number;
  readonly code: number;
  readonly imm: Immediate;
  /** log2 of the bytes that a memory access touches. */
  readonly align: number;
}

const table = new Map<string, Opcode>();

/** Enters names with consecutive codes; "-" leaves a code out. */
function range(prefix: number, first: number, names: string, imm: Immediate = "none", align = 0): void {
  names
    .trim()
    .split(/\s+/)
    .forEach((name, i) => {
      if (name !== "-") table.set(name, { prefix, code: first + i, imm, align });
    });
}
const suffix = (type: string, ops: string): string =>
  ops
    .trim()
    .split(/\s+/)
    .map((o) => (o === "-" ? o : `${type}.${o}`))
    .join(" ");

const INT_COMPARE = "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u";
const FLOAT_COMPARE = "eq ne lt gt le ge";

range(0, 0x02, "block loop if", "block");
range(0, 0x05, "else");
range(0, 0x0b, "end");
range(0, 0x0c, "br br_if", "index");
range(0, 0x0f, "return");
range(0, 0x10, "call", "index");
range(0, 0x1a, "drop select");
range(0, 0x20, "local.get local.set local.tee", "index");
range(0, 0x28, "i32.load", "mem", 2);
range(0, 0x29, "i64.load", "mem", 3);
range(0, 0x2a, "f32.load", "mem", 2);
range(0, 0x2b, "f64.load", "mem", 3);
range(0, 0x2c, "i32.load8_s i32.load8_u", "mem", 0);
range(0, 0x2e, "i32.load16_s i32.load16_u", "mem", 1);
range(0, 0x36, "i32.store", "mem", 2);
range(0, 0x37, "i64.store", "mem", 3);
range(0, 0x38, "f32.store", "mem", 2);
range(0, 0x39, "f64.store", "mem", 3);
range(0, 0x3a, "i32.store8", "mem", 0);
range(0, 0x3b, "i32.store16", "mem", 1);
range(0, 0x41, "i32.const", "i32");
range(0, 0x42, "i64.const", "i64");
range(0, 0x43, "f32.const", "f32");
range(0, 0x44, "f64.const", "f64");
range(0, 0x45, suffix("i32", `eqz ${INT_COMPARE}`));
range(0, 0x50, suffix("i64", `eqz ${INT_COMPARE}`));
range(0, 0x5b, suffix("f32", FLOAT_COMPARE));
range(0, 0x61, suffix("f64", FLOAT_COMPARE));
const INT_ARITH = "add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u";
range(0, 0x6a, suffix("i32", INT_ARITH));
range(0, 0x7c, suffix("i64", INT_ARITH));
const FLOAT_ARITH = "abs neg ceil floor trunc nearest sqrt add sub mul div min max";
range(0, 0x8b, suffix("f32", FLOAT_ARITH));
range(0, 0x99, suffix("f64", FLOAT_ARITH));
range(0, 0xa7, "i32.wrap_i64");
range(0, 0xac, "i64.extend_i32_s i64.extend_i32_u");
range(0, 0xb2, suffix("f32", "convert_i32_s convert_i32_u convert_i64_s convert_i64_u demote_f64"));
range(0, 0xb7, suffix("f64", "convert_i32_s convert_i32_u convert_i64_s convert_i64_u promote_f32"));
range(0, 0xbc, "i32.reinterpret_f32 i64.reinterpret_f64 f32.reinterpret_i32 f64.reinterpret_i64");
range(0, 0xc0, "i32.extend8_s i32.extend16_s");
range(0xfc, 0x00, suffix("i32", "trunc_sat_f32_s trunc_sat_f32_u trunc_sat_f64_s trunc_sat_f64_u"));
range(0xfc, 0x04, suffix("i64", "trunc_sat_f32_s trunc_sat_f32_u trunc_sat_f64_s trunc_sat_f64_u"));

// 128-bit SIMD
range(0xfd, 0x00, "v128.load", "mem", 4);
range(0xfd, 0x03, "v128.load16x4_s v128.load16x4_u", "mem", 3);
range(0xfd, 0x08, "v128.load16_splat", "mem", 1);
range(0xfd, 0x09, "v128.load32_splat", "mem", 2);
range(0xfd, 0x0a, "v128.load64_splat", "mem", 3);
range(0xfd, 0x0b, "v128.store", "mem", 4);
range(0xfd, 0x0c, "v128.const", "bytes16");
range(0xfd, 0x0d, "i8x16.shuffle", "bytes16");
range(0xfd, 0x11, "i32x4.splat i64x2.splat f32x4.splat f64x2.splat");
range(
  0xfd,
  0x1b,
  `i32x4.extract_lane i32x4.replace_lane i64x2.extract_lane i64x2.replace_lane
   f32x4.extract_lane f32x4.replace_lane f64x2.extract_lane f64x2.replace_lane`,
  "lane",
);
range(0xfd, 0x37, suffix("i32x4", INT_COMPARE));
range(0xfd, 0x41, suffix("f32x4", FLOAT_COMPARE));
range(0xfd, 0x47, suffix("f64x2", FLOAT_COMPARE));
range(0xfd, 0x4d, suffix("v128", "not and andnot or xor bitselect any_true"));
range(0xfd, 0x59, "v128.store16_lane", "memLane", 1);
range(0xfd, 0x5a, "v128.store32_lane", "memLane", 2);
range(0xfd, 0x5b, "v128.store64_lane", "memLane", 3);
range(0xfd, 0x5c, "v128.load32_zero", "mem", 2);
range(0xfd, 0x5d, "v128.load64_zero", "mem", 3);
range(0xfd, 0x5e, "f32x4.demote_f64x2_zero f64x2.promote_low_f32x4");
range(0xfd, 0x67, suffix("f32x4", "ceil floor trunc nearest"));
range(0xfd, 0x74, suffix("f64x2", "ceil floor"));
range(0xfd, 0x7a, "f64x2.trunc");
range(0xfd, 0x87, "i16x8.extend_low_i8x16_s - i16x8.extend_low_i8x16_u");
range(0xfd, 0x94, "f64x2.nearest");
range(0xfd, 0xa0, suffix("i32x4", "abs neg - all_true"));
range(0xfd, 0xa7, "i32x4.extend_low_i16x8_s - i32x4.extend_low_i16x8_u");
range(0xfd, 0xab, suffix("i32x4", "shl shr_s shr_u add - - sub - - - mul min_s min_u max_s max_u"));
range(0xfd, 0xc0, suffix("i64x2", "abs neg - all_true"));
range(0xfd, 0xc7, "i64x2.extend_low_i32x4_s - i64x2.extend_low_i32x4_u");
range(0xfd, 0xcb, suffix("i64x2", "shl shr_s shr_u add - - sub - - - mul eq ne lt_s gt_s le_s ge_s"));
range(0xfd, 0xe0, suffix("f32x4", "abs neg - sqrt add sub mul div min max pmin pmax"));
range(0xfd, 0xec, suffix("f64x2", "abs neg - sqrt add sub mul div min max pmin pmax"));
range(0xfd, 0xf8, "i32x4.trunc_sat_f32x4_s i32x4.trunc_sat_f32x4_u");
range(0xfd, 0xfa, "f32x4.convert_i32x4_s f32x4.convert_i32x4_u");
range(0xfd, 0xfc, "i32x4.trunc_sat_f64x2_s_zero i32x4.trunc_sat_f64x2_u_zero");
range(0xfd, 0xfe, "f64x2.convert_low_i32x4_s f64x2.convert_low_i32x4_u");
range(0xfd, 0x105, "f32x4.relaxed_madd f32x4.relaxed_nmadd f64x2.relaxed_madd f64x2.relaxed_nmadd"); // relaxed SIMD

// Threads. Atomic accesses are encoded with their natural alignment.
range(0xfe, 0x10, "i32.atomic.load", "mem", 2);
range(0xfe, 0x11, "i64.atomic.load", "mem", 3);
range(0xfe, 0x12, "i32.atomic.load8_u", "mem", 0);
range(0xfe, 0x13, "i32.atomic.load16_u", "mem", 1);
for (const [i, op] of ["add", "sub", "and", "or", "xor", "xchg", "cmpxchg"].entries()) {
  const first = 0x1e + 7 * i;
  range(0xfe, first, `i32.atomic.rmw.${op}`, "mem", 2);
  range(0xfe, first + 1, `i64.atomic.rmw.${op}`, "mem", 3);
  range(0xfe, first + 2, `i32.atomic.rmw8.${op}_u`, "mem", 0);
  range(0xfe, first + 3, `i32.atomic.rmw16.${op}_u`, "mem", 1);
}

export const OPCODES: ReadonlyMap<string, Opcode> = table;
