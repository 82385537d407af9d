// The chips that tests run on: all built-in ones; what a machine has not is named, not passed over in silence.
// `VEXIL_TEST_CHIPS` (names with commas) chooses; without it a GPU's chip that a CPU stands in for is left out, because its
// compiler takes about half a second for every kernel.

import { builtinChips } from "../src/chips/index.js";

export interface TestedChip {
  readonly name: string;
  /** What is missing on this machine; undefined where the chip is there. */
  readonly missing: string | undefined;
  /** The name, with what is missing. */
  readonly title: string;
}

const chosen = process.env["VEXIL_TEST_CHIPS"]?.split(",");

export const testedChips: readonly TestedChip[] = await Promise.all(
  builtinChips.map(async ({ name, load }) => {
    const probe = await (await load()).probe();
    const wanted = chosen ? chosen.includes(name) : !probe.isSoftware;
    const missing = !probe.available
      ? probe.found
      : wanted
        ? undefined
        : `not chosen, VEXIL_TEST_CHIPS=${name} does`;
    return { name, missing, title: missing === undefined ? name : `${name} (missing: ${missing})` };
  }),
);
