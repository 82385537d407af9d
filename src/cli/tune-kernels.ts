// `vexil tune-kernels`: measures block sizes on this machine and writes the chip's tuning table as YAML.

import { writeFileSync } from "node:fs";
import { stringify } from "yaml";
import * as z from "zod";
import "../chips/index.js";
import type { DType } from "../compiler/ir/index.js";
import { type Block, blockFor, launchProduct, matricesOf } from "../ops/matmul-kernel.js";
import "../ops/index.js";
import { autoload, type Chip, setDefaultChip, type TuningRow, type TuningTable } from "../runtime/index.js";
import { finish, measuring } from "../runtime/timing.js";
import { empty, tensor } from "../tensor/index.js";
import type { CommandSpec } from "./command.js";

const flags = z.object({
  chip: z.string().optional().describe("the chip to tune; default: the one that is used"),
  out: z.string().optional().describe("the file to write; default: print it"),
  dtypes: z.string().default("f32").describe("dtypes to tune for, separated by commas"),
  size: z.number().int().min(16).max(8192).default(512).describe("rows and columns of the matrices"),
  budget: z.number().min(0).default(2000).describe("milliseconds for each configuration"),
});

/** Rows of the left matrix: what is measured, and what it stands for. */
const ROWS = [
  { M: 1, when: 1 },
  { M: 16, when: "2..32" },
  { M: 512, when: "33.." },
] as const;

/** A block must be this much faster than the chip's own to be worth a row. */
const WORTH = 1.1;

function blocksFor(chip: Chip, M: number, size: number): Block[] {
  const [m, n, k] = chip.capabilities.dotBlock;
  // Blocks larger than the matrices are cut to them: what is launched counts.
  const used = ([BM, BN, BK]: Block): string =>
    [blockFor(M, BM, 1), blockFor(size, BN, 8), blockFor(size, BK, 8)].join();
  const unique = new Map<string, Block>();
  for (const BM of M > 32 ? [m / 2, m, 2 * m] : [m])
    for (const BN of [n / 2, n, 2 * n])
      for (const BK of [k / 2, k, 2 * k]) {
        const b: Block = [Math.max(1, BM), Math.max(8, BN), Math.max(8, BK)];
        if (!unique.has(used(b))) unique.set(used(b), b);
      }
  unique.delete(used(chip.capabilities.dotBlock));
  return [chip.capabilities.dotBlock, ...unique.values()];
}

/** The rows of `matmul` in which another block than the chip's own is faster here; reports each measurement. */
export async function tuneMatmul(
  chip: Chip,
  dtypes: readonly DType[],
  size: number,
  budget: number,
  report: (line: string) => void,
): Promise<TuningRow[]> {
  const rows: TuningRow[] = [];
  for (const dtype of dtypes)
    for (const { M, when } of ROWS) {
      const made = (shape: number[]) =>
        tensor(
          Float32Array.from({ length: shape[0]! * shape[1]! }, (_, i) => ((i * 7919) % 17) - 8),
          { shape, dtype, device: chip.name },
        );
      const a = made([Math.min(M, size), size]);
      const b = made([size, size]);
      const c = empty([Math.min(M, size), size], { dtype, device: chip.name });
      const time = async (block: Block, giveUpAbove: number) => {
        const run = () =>
          launchProduct(
            matricesOf(a),
            matricesOf(b),
            matricesOf(c),
            { batch: 1, M: Math.min(M, size), N: size, K: size },
            block,
          );
        return (await finish(chip, measuring(run, { budget, giveUpAbove }))).median;
      };
      const [own, ...others] = blocksFor(chip, Math.min(M, size), size);
      const ownMs = await time(own!, Infinity);
      let best = own!;
      let bestMs = ownMs;
      for (const block of others) {
        const ms = await time(block, 1.3 * bestMs);
        if (ms < bestMs) [best, bestMs] = [block, ms];
      }
      // Once more in turn, so that a quiet moment does not win.
      if (best !== own) {
        const [one, two] = [await time(best, Infinity), await time(own!, Infinity)];
        if (two < WORTH * one) best = own!;
      }
      report(
        `matmul ${dtype} ${Math.min(M, size)}x${size}x${size}: [${best}] ${bestMs.toFixed(3)} ms` +
          (best === own ? ", the chip's own" : `, the chip's own [${own}] ${ownMs.toFixed(3)} ms`),
      );
      const [BM, BN, BK] = best;
      if (best !== own) rows.push({ when: { dtype, M: when }, use: { BM, BN, BK } });
      for (const t of [a, b, c]) t.dispose();
    }
  return rows;
}

/** The text of a table, with a word on how to use it. */
export function showTable(table: TuningTable, chip: Chip, date: Date): string {
  return [
    `# Tuning table of the chip ${table.chip}, measured on ${date.toISOString().slice(0, 10)}: ${chip.description}.`,
    "# The first row applies whose conditions all hold. A condition is a value or a range (2..16, ..16, 17..);",
    "# `machine` is looked for in the chip's description. Where no row applies, the chip's own sizes are used.",
    "# Use a changed copy with VEXIL_TUNING=FILE.",
    stringify(table),
  ].join("\n");
}

export const spec: CommandSpec<typeof flags.shape> = {
  name: "tune-kernels",
  summary: "Measure block sizes on this machine and write the chip's tuning table.",
  flags,
  async run(_positionals, { chip: name, out, dtypes, size, budget }) {
    if (name) await setDefaultChip(name);
    const chip = await autoload();
    const list = dtypes.split(",").map((d) => d.trim() as DType);
    const matmul = await tuneMatmul(chip, list, size, budget, (line) => console.error(line));
    const table: TuningTable = { chip: chip.name, kernels: { matmul } };
    const text = showTable(table, chip, new Date());
    if (!out) {
      console.log(text.trimEnd());
      return;
    }
    writeFileSync(out, text);
    console.error(`written to ${out}; use it with VEXIL_TUNING=${out}`);
  },
};
