// The chips that tests run on: all built-in ones; what a machine has not is named, not passed over in silence.
// `VEXIL_TEST_CHIPS` (names with commas) chooses; without it a GPU's chip that a CPU stands in for is left out, because its
// compiler takes about half a second for every kernel. `VEXIL_TEST_MODULES` (paths with commas) adds chips that live in other
// packages: modules that export `entry`, a ChipEntry.

import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { beforeEach } from "vitest";
import { builtinChips } from "../src/chips/index.js";
import type { ChipEntry } from "../src/runtime/driver.js";
import { loadChip, registerChip } from "../src/runtime/registry.js";

export interface TestedChip {
  readonly name: string;
  /** What is missing on this machine; undefined where the chip is there. */
  readonly missing: string | undefined;
  /** The name, with what is missing. */
  readonly title: string;
  /** A GPU's chip that a CPU stands in for. */
  readonly isSoftware: boolean;
}

const chosen = process.env["VEXIL_TEST_CHIPS"]?.split(",");

const modules = process.env["VEXIL_TEST_MODULES"]?.split(",") ?? [];
const others = await Promise.all(
  modules.map(async (path) => {
    const { entry } = (await import(pathToFileURL(resolve(path)).href)) as { entry: ChipEntry };
    registerChip(entry);
    return { name: entry.name, load: async () => entry };
  }),
);

/** Every chip that the suites may run on. */
export const knownChips: typeof builtinChips = [...builtinChips, ...others];

export const testedChips: readonly TestedChip[] = await Promise.all(
  knownChips.map(async ({ name, load }) => {
    const probe = await (await load()).probe();
    const wanted = chosen ? chosen.includes(name) : !probe.isSoftware;
    const missing = !probe.available
      ? probe.found
      : wanted
        ? undefined
        : `not chosen, VEXIL_TEST_CHIPS=${name} does`;
    const title = missing === undefined ? name : `${name} (missing: ${missing})`;
    return { name, missing, title, isSoftware: probe.isSoftware ?? false };
  }),
);

/** How many of a suite's tests the short run takes at its beginning. */
const FEW = 3;

/**
 * Called inside a chip's suite: where the chip's compiler takes a tenth of a second or more for each kernel (a program of its own, or a
 * stand-in for a GPU's), `npm test` runs the first few of the suite's tests and then one of `every`; elsewhere one of `others`.
 * `VEXIL_TEST_ALL=1` runs all.
 */
export function shorten(chip: string, every = 10, others = 1): void {
  if (process.env["VEXIL_TEST_ALL"]) return;
  const isSoftware = testedChips.some((c) => c.name === chip && c.isSoftware);
  let n = 0;
  beforeEach(async ({ skip }) => {
    const i = n++;
    const slow = isSoftware || (await loadChip(chip)).target.compileAsync !== undefined;
    if (i >= FEW && i % (slow ? every : others) !== 0)
      skip("left out of the short run; VEXIL_TEST_ALL=1 runs it");
  });
}
