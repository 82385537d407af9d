// The inner loop of a matrix product in x86 assembly. A C compiler has too few registers to spare here to be trusted with
// them: the sums, two vectors of one side, elements of the other. The loop's plain body in the form says the same. The sums
// are made 0 here, though the form has done so: what a block of assembly only writes counts once among the operands that
// GCC allows, what it also reads counts twice.

import type { OuterProducts, Panel } from "../../compiler/lower/simd/form.js";
import { dotText } from "./dots.js";
import { bytesOf, type Features } from "./unit.js";

/** How the vector registers are used: the sums in one loop, then vectors of the right side, then spread elements of the left. */
interface Block {
  readonly rows: number;
  readonly vectors: number;
  readonly register: "ymm" | "zmm";
  /** The constraint of a vector in any register of the kind. */
  readonly constraint: string;
  /** The instruction that makes one 0: exclusive or with itself. */
  readonly zero: string;
  readonly right: number;
  readonly left: number;
  readonly all: number;
}

/** 12 sums of the 16 registers. */
const AVX2: Block = {
  rows: 6,
  vectors: 2,
  register: "ymm",
  constraint: "=&x",
  zero: "vxorps",
  right: 12,
  left: 14,
  all: 16,
};
/** 16 sums of the 32: enough for the latency of the two multiplications of a cycle, and rows that divide powers of two. */
const AVX512: Block = {
  rows: 8,
  vectors: 2,
  register: "zmm",
  constraint: "=&v",
  zero: "vpxord",
  right: 26,
  left: 28,
  all: 32,
};
/** Steps of k in one turn. */
const UNROLL = 4;

const blockOf = (f: Features): Block | undefined => {
  if (f.x86wide && f.vectorBytes === 64) return AVX512;
  return f.x86 && f.vectorBytes === 32 ? AVX2 : undefined;
};

/** The sums that a loop keeps in registers; undefined where there is no code for it. */
export const outerBlock = (f: Features): { readonly rows: number; readonly vectors: number } | undefined => {
  const block = blockOf(f);
  return block && { rows: block.rows, vectors: block.vectors };
};

/** Whether {@link outerProducts} has code for the loop. */
export function fitsOuterProducts(f: Features, { sums, steps, left, dot }: OuterProducts): boolean {
  if (dot && dotText(f, dot) === undefined) return false;
  const block = blockOf(f);
  const [rows, vectors] = [sums.length, sums[0]!.length];
  const { kind, lanes } = sums[0]![0]!.type;
  return (
    block !== undefined &&
    rows * vectors <= block.rows * block.vectors &&
    vectors <= block.vectors &&
    bytesOf(kind as "i32") === bytesOf(left.kind) &&
    lanes * bytesOf(kind as "i32") === f.vectorBytes &&
    steps % UNROLL === 0
  );
}

/**
 * The loop as a C block.
 *
 * @param name the C name of a sum
 * @param address the C address of an operand's first element
 */
export function outerProducts(
  f: Features,
  loop: OuterProducts,
  name: (r: number, v: number) => string,
  address: (p: Panel) => string,
): string {
  const block = blockOf(f)!;
  const { sums, left, right, steps } = loop;
  const vectors = sums[0]!.length;
  const size = bytesOf(left.kind);
  const [x, y] = ["%[x]", "%[y]"];
  const suffix = left.kind === "f64" ? "d" : "s";
  const text = loop.dot && dotText(f, loop.dot)!;
  const multiplyAdd = (y: string, x: string, sum: string): string =>
    text?.replace("%1", y).replace("%2", x).replace("%0", sum) ?? `vfmadd231p${suffix} ${y},${x},${sum}`;
  const register = (n: number): string => `%%${block.register}${n}`;
  const zero = sums.flatMap((row, r) => row.map((_, v) => `%${r * vectors + v}`));
  const lines: string[] = zero.map((sum) => `${block.zero} ${sum},${sum},${sum}`);
  lines.push(`mov $${steps / UNROLL},%%ecx`, ".p2align 4", "1:");
  for (let u = 0; u < UNROLL; u++) {
    for (let v = 0; v < vectors; v++)
      lines.push(
        `vmovup${suffix} ${(u * right.step + v * right.row) * size}(${y}),${register(block.right + v)}`,
      );
    for (let r = 0; r < sums.length; r++) {
      // The registers for spread elements take turns.
      const spread = register(block.left + (r % (block.all - block.left)));
      lines.push(`vbroadcasts${suffix} ${(u * left.step + r * left.row) * size}(${x}),${spread}`);
      for (let v = 0; v < vectors; v++)
        lines.push(multiplyAdd(register(block.right + v), spread, `%${r * vectors + v}`));
    }
  }
  lines.push(
    `add $${UNROLL * left.step * size},${x}`,
    `add $${UNROLL * right.step * size},${y}`,
    "dec %%ecx",
    "jne 1b",
  );
  const outputs = sums.flatMap((row, r) => row.map((_, v) => `"${block.constraint}"(${name(r, v)})`));
  const used = Array.from({ length: block.all - block.right }, (_, i) => `"xmm${block.right + i}"`);
  return [
    `{const char*x=(const char*)${address(left)},*y=(const char*)${address(right)};`,
    `__asm__ volatile("${lines.join("\\n\\t")}"`,
    `:${outputs.join(",")},[x]"+r"(x),[y]"+r"(y)::${used.join(",")},"ecx","cc","memory");}`,
  ].join("\n");
}
