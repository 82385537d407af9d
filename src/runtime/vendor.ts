// Whether a vendor's library does the work of an operator: the policy, and the measurement that decides where the policy
// leaves it to one. Which operators ask stands in `ops/`; what a chip has, in its folder.

import { type Chip, chipKind } from "./driver.js";
import { env, warn } from "./platform.js";
import { canWaitInPlace, finishNow, type Measurement, measuring, now, type Timing } from "./timing.js";
import { knownResult, searchesAllowed } from "./tuner.js";
import { writeResult } from "./tuning-store.js";

/** `off`: never. `on`: wherever the library takes the call. `measured`: where it was measured to be faster on this machine. */
export type VendorPolicy = "off" | "on" | "measured";

const POLICIES: readonly string[] = ["off", "on", "measured"];
/** What a measurement may take, in milliseconds, for each side. */
const BUDGET = 250;
/** Vexil's own kernel stays where the library is not faster by more than this. */
const MARGIN = 0.95;

let chosen: VendorPolicy | undefined;
const answers = new Map<string, boolean>();

/** The policy now: what {@link setVendorPolicy} set, else `VEXIL_VENDOR`, else `measured`. */
export function vendorPolicy(): VendorPolicy {
  chosen ??= checked(env("VEXIL_VENDOR") ?? "measured", "VEXIL_VENDOR");
  return chosen;
}

/**
 * Chooses when vendor libraries do an operator's work, for this process.
 *
 * @param policy `undefined` goes back to `VEXIL_VENDOR`
 * @example setVendorPolicy("off");
 */
export function setVendorPolicy(policy: VendorPolicy | undefined): void {
  chosen = policy === undefined ? undefined : checked(policy, "the vendor policy");
}

function checked(text: string, what: string): VendorPolicy {
  if (POLICIES.includes(text)) return text as VendorPolicy;
  throw new Error(`${what} must be ${POLICIES.join(", ")}; not "${text}"`);
}

const told = new Set<Chip>();

/** Says once that a library is wanted and not there: somebody set the policy `on`. */
export function sayMissing(chip: Chip): void {
  const missing = chip.vendor?.missing;
  if (missing === undefined || told.has(chip)) return;
  told.add(chip);
  warn(`vexil: the vendor policy is "on", but ${missing}. Vexil's own kernels do the work.`);
}

/** Two ways to do the same work. */
export interface Rivals {
  /** What is measured, without the chip: operator, dtype, class of shapes, layout. */
  readonly key: string;
  readonly operator: string;
  /** The library and its version. */
  readonly library: string;
  /** Makes what both work on; `own` and `vendor` enqueue the work once. */
  prepare(): { own(): void; vendor(): void; dispose(): void };
}

/** Whether the library was faster here, now or in an earlier process; measures if nobody knows and measuring is allowed. */
export function vendorIsFaster(chip: Chip, rivals: Rivals): boolean {
  const key = [
    "vendor",
    chipKind(chip.name),
    chip.description,
    chip.target.fingerprint,
    rivals.library,
    rivals.key,
  ].join("\n");
  const before = answers.get(key);
  if (before !== undefined) return before;
  const kept = knownResult(key, 2);
  if (!kept && (!searchesAllowed() || !canWaitInPlace(chip))) return false;
  const answer = kept ? kept.best === 1 : measure(chip, key, rivals);
  answers.set(key, answer);
  return answer;
}

function measure(chip: Chip, key: string, rivals: Rivals): boolean {
  const start = now();
  const work = rivals.prepare();
  try {
    const time = (run: () => void): Timing =>
      finishNow(
        chip,
        (function* (): Measurement<Timing> {
          return yield* measuring(run, { samples: 5, budget: BUDGET });
        })(),
      );
    const [own, vendor] = [time(work.own), time(work.vendor)];
    const best = vendor.min < own.min * MARGIN ? 1 : 0;
    const trials = [
      { config: "vexil", ms: own.min },
      { config: rivals.library, ms: vendor.min },
    ];
    writeResult(key, { kernel: rivals.operator, chip: chip.name, key, best, trials, spent: now() - start });
    return best === 1;
  } finally {
    work.dispose();
  }
}
