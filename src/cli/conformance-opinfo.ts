// `vexil conformance opinfo`: the operator table against PyTorch's own samples, results and gradients.

import { loadChip, setDefaultChip } from "../runtime/index.js";
import { operators } from "../tensor/index.js";
import { type Candidate, CaseRun } from "./opinfo/case-run.js";
import { type Case, caseName, readSampleSet, type SampleSet, stratified } from "./opinfo/read.js";

export interface OpInfoOptions {
  readonly chip: string;
  /** At most so many cases of each operator and dtype; all if left out. */
  readonly sample?: number;
  /** Only these operators (`add`, `div.trunc_rounding`, or `div` for all its variants). */
  readonly ops?: readonly string[];
  /** Called after each case. */
  readonly progress?: (done: number, total: number) => void;
}

export interface Failure {
  readonly op: string;
  readonly dtype: string;
  readonly sample: number;
  readonly reason: string;
}

export interface OpInfoReport {
  readonly suite: "opinfo";
  readonly chip: string;
  readonly cases: number;
  readonly passed: number;
  readonly failed: number;
  /** The chip lacks a named capability. */
  readonly declined: number;
  /** No operator in the table claims the sample. */
  readonly unsupported: number;
  readonly exceptions: readonly string[];
  readonly failures: readonly Failure[];
  /** Cases declined, by the capability that is missing. */
  readonly declinedBy: Readonly<Record<string, number>>;
  /** Names of the operators that passed at least one case and failed none. */
  readonly supported: readonly string[];
}

/** Runs the samples `PREFIX.jsonl` + `PREFIX.safetensors` on one chip. Operators must have been declared. */
export async function checkOpInfo(prefix: string, options: OpInfoOptions): Promise<OpInfoReport> {
  const set = readSampleSet(prefix);
  let cases: readonly Case[] = set.cases;
  const { ops } = options;
  if (ops) cases = cases.filter((c) => ops.includes(c.op) || ops.includes(caseName(c)));
  if (options.sample !== undefined) cases = stratified(cases, options.sample);
  return checkSamples(set, cases, options);
}

/** Runs some samples of a set. */
export async function checkSamples(
  set: SampleSet,
  cases: readonly Case[],
  options: Pick<OpInfoOptions, "chip" | "progress">,
): Promise<OpInfoReport> {
  const chip = await loadChip(options.chip);
  // What samples make without naming a device (`arange(3)`) belongs on the chip under test too.
  await setDefaultChip(options.chip);
  const table = candidates();
  const failures: Failure[] = [];
  const declinedBy: Record<string, number> = {};
  const passedOps = new Set<string>();
  const exceptions = new Set<string>();
  let [passed, declined, unsupported] = [0, 0, 0];
  for (const [i, c] of cases.entries()) {
    const name = caseName(c);
    const outcome = await new CaseRun(c, set, chip, exceptions).run(table.get(keyOf(c)) ?? []);
    if (outcome.kind === "passed") {
      passed++;
      passedOps.add(name);
    } else if (outcome.kind === "unsupported") unsupported++;
    else if (outcome.kind === "declined") {
      declined++;
      declinedBy[outcome.reason] = (declinedBy[outcome.reason] ?? 0) + 1;
    } else failures.push({ op: name, dtype: c.dtype, sample: c.sample, reason: outcome.reason });
    options.progress?.(i + 1, cases.length);
  }
  const bad = new Set(failures.map((f) => f.op));
  return {
    suite: "opinfo",
    chip: options.chip,
    cases: cases.length,
    passed,
    failed: failures.length,
    declined,
    unsupported,
    exceptions: [...exceptions].sort(),
    failures,
    declinedBy,
    supported: [...passedOps].filter((op) => !bad.has(op)).sort(),
  };
}

const keyOf = (c: { op: string; variant?: string }): string => `${c.op}\n${c.variant ?? ""}`;

/** The operators that claim each name of the samples. */
function candidates(): Map<string, Candidate[]> {
  const table = new Map<string, Candidate[]>();
  for (const info of operators().values())
    for (const entry of info.opinfo) {
      const list = table.get(keyOf(entry));
      if (list) list.push({ info, entry });
      else table.set(keyOf(entry), [{ info, entry }]);
    }
  return table;
}
