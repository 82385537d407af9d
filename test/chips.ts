// The chips that tests run on: all built-in ones; what a machine has not is named, not passed over in silence.

import { builtinChips } from "../src/chips/index.js";

export interface TestedChip {
  readonly name: string;
  /** What is missing on this machine; undefined where the chip is there. */
  readonly missing: string | undefined;
  /** The name, with what is missing. */
  readonly title: string;
}

export const testedChips: readonly TestedChip[] = await Promise.all(
  builtinChips.map(async ({ name, load }) => {
    const probe = await (await load()).probe();
    const missing = probe.available ? undefined : probe.found;
    return { name, missing, title: missing === undefined ? name : `${name} (missing: ${missing})` };
  }),
);
