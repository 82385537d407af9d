// The inner loop of a matrix product in x86 assembly. A C compiler has too few registers to spare here to be trusted with
// them: twelve sums, two vectors of one side, elements of the other. The loop's plain body in the form says the same.

import type { OuterProducts, Panel } from "../../compiler/lower/simd/form.js";
import { bytesOf, type Features } from "./unit.js";

/** The sums that a loop keeps in registers: 12 of the 16. */
export const OUTER_BLOCK = { rows: 6, vectors: 2 } as const;
/** Steps of k in one turn. */
const UNROLL = 4;

export const hasOuterProducts = (f: Features): boolean => f.x86 && f.vectorBytes === 32;

/** Whether {@link outerProducts} has code for the loop. */
export function fitsOuterProducts(f: Features, { sums, steps, left }: OuterProducts): boolean {
  const [rows, vectors] = [sums.length, sums[0]!.length];
  const { kind, lanes } = sums[0]![0]!.type;
  return (
    hasOuterProducts(f) &&
    rows * vectors <= OUTER_BLOCK.rows * OUTER_BLOCK.vectors &&
    vectors <= OUTER_BLOCK.vectors &&
    kind === left.kind &&
    lanes * bytesOf(kind) === 32 &&
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
  loop: OuterProducts,
  name: (r: number, v: number) => string,
  address: (p: Panel) => string,
): string {
  const { sums, left, right, steps } = loop;
  const vectors = sums[0]!.length;
  const size = bytesOf(left.kind);
  const [x, y] = ["%[x]", "%[y]"];
  const suffix = left.kind === "f32" ? "s" : "d";
  const lines: string[] = [`mov $${steps / UNROLL},%%ecx`, ".p2align 4", "1:"];
  for (let u = 0; u < UNROLL; u++) {
    for (let v = 0; v < vectors; v++)
      lines.push(`vmovup${suffix} ${(u * right.step + v * right.row) * size}(${y}),%%ymm${12 + v}`);
    for (let r = 0; r < sums.length; r++) {
      // Two registers take turns for the spread elements.
      const spread = `%%ymm${14 + (r & 1)}`;
      lines.push(`vbroadcasts${suffix} ${(u * left.step + r * left.row) * size}(${x}),${spread}`);
      for (let v = 0; v < vectors; v++)
        lines.push(`vfmadd231p${suffix} %%ymm${12 + v},${spread},%${r * vectors + v}`);
    }
  }
  lines.push(
    `add $${UNROLL * left.step * size},${x}`,
    `add $${UNROLL * right.step * size},${y}`,
    "dec %%ecx",
    "jne 1b",
  );
  const outputs = sums.flatMap((row, r) => row.map((_, v) => `"+x"(${name(r, v)})`));
  return [
    `{const char*x=(const char*)${address(left)},*y=(const char*)${address(right)};`,
    `__asm__ volatile("${lines.join("\\n\\t")}"`,
    `:${outputs.join(",")},[x]"+r"(x),[y]"+r"(y)::"xmm12","xmm13","xmm14","xmm15","ecx","cc","memory");}`,
  ].join("\n");
}
