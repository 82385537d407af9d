// Products on AMX, the matrix unit of Xeon processors: eight registers of 16 rows of 64 bytes. In assembly, since compilers
// have no types for them here. Four hold sums, two each rows of the left side and columns of the right one.

import type { Stmt } from "../../compiler/lower/simd/form.js";
import type { Unit } from "./unit.js";

type Tiles = Extract<Stmt, { s: "tiles" }>;

/** Bytes and rows of a register. */
const [BYTES, ROWS] = [64, 16];

/** A statement that says how large the registers are; before the first product. */
export function configureTiles(u: Unit): string {
  const name = u.helper("configure_tiles", () => {
    // Palette 1; from byte 16 on the bytes of a row of each register, from 48 on the rows.
    const bytes = new Array<number>(64).fill(0);
    bytes[0] = 1;
    for (let i = 0; i < 8; i++) [bytes[16 + 2 * i], bytes[48 + i]] = [BYTES, ROWS];
    const config = `static const unsigned char config[64] __attribute__((aligned(64)))={${bytes.join(",")}};`;
    return `void configure_tiles(void){${config}__asm__ volatile("ldtilecfg %0"::"m"(config));}`;
  });
  return `${name}();`;
}

/** A statement that gives the unit back; after the last product. */
export const RELEASE_TILES = '__asm__ volatile("tilerelease");';

/** The statement as a C block; `address` makes the address of a word. */
export function tileProducts(s: Tiles, address: (x: Tiles["sums"]) => string): string {
  const [down, across] = [s.rows / ROWS, s.columns / ROWS];
  const instruction = s.op === "dot2B" ? "tdpbf16ps" : "tdpbssd";
  const pairs = Array.from(
    { length: down * across },
    (_, i) => [Math.floor(i / across), i % across] as const,
  );
  const sums = (name: "tileloadd" | "tilestored"): string[] =>
    pairs.map(([r, v]) => {
      const [place, tile] = [`${BYTES * v}(%[c${r}],%[cs],1)`, `%%tmm${2 * r + v}`];
      return name === "tileloadd" ? `${name} ${place},${tile}` : `${name} ${tile},${place}`;
    });
  const lines = [...sums("tileloadd"), ".p2align 4", "1:"];
  for (let v = 0; v < across; v++) lines.push(`tileloadd ${BYTES * v}(%[b],%[bs],1),%%tmm${6 + v}`);
  for (let r = 0; r < down; r++) lines.push(`tileloadd (%[a${r}],%[as],1),%%tmm${4 + r}`);
  for (const [r, v] of pairs) lines.push(`${instruction} %%tmm${6 + v},%%tmm${4 + r},%%tmm${2 * r + v}`);
  for (let r = 0; r < down; r++) lines.push(`add $${BYTES},%[a${r}]`);
  lines.push(`add $${ROWS * 4 * s.right.stride},%[b]`, "dec %[n]", "jne 1b", ...sums("tilestored"));
  const each = (n: number, text: (r: number) => string): string =>
    Array.from({ length: n }, (_, r) => text(r)).join(",");
  return [
    `{const char*a0=(const char*)${address(s.left)},*b=(const char*)${address(s.right)};char*c0=(char*)${address(s.sums)};`,
    ...(down > 1
      ? [`const char*a1=a0+${ROWS * 4 * s.left.stride};char*c1=c0+${ROWS * 4 * s.sums.stride};`]
      : []),
    `i64 n=${s.words / ROWS};`,
    `__asm__ volatile("${lines.join("\\n\\t")}":[b]"+r"(b),[n]"+r"(n),${each(down, (r) => `[a${r}]"+r"(a${r})`)}`,
    `:${each(down, (r) => `[c${r}]"r"(c${r})`)},[as]"r"(${4 * s.left.stride}ll),[bs]"r"(${4 * s.right.stride}ll),[cs]"r"(${4 * s.sums.stride}ll):"cc","memory");}`,
  ].join("\n");
}
