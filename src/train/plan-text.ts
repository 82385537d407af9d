// What a dry run has found out, as text.

import { bytes, type Plan } from "./dry-run.js";
import { duration } from "./progress.js";

const count = (n: number): string => n.toLocaleString("en");

/** Lines for a person; the last one is empty. */
export function planText(p: Plan): string {
  const { memory: m } = p;
  const shapes = new Map<string, number>();
  for (const b of p.batches) {
    const key = `[${b.rows}, ${b.columns}], ${count(b.learned)} targets`;
    shapes.set(key, (shapes.get(key) ?? 0) + 1);
  }
  const batch = [...shapes].map(([shape, n]) => (n === 1 ? shape : `${n} of ${shape}`)).join("; ");
  const rows: [string, string][] = [
    ["chip", p.chip],
    [
      "parameters",
      `${count(p.parameters)}${p.trained === p.parameters ? "" : `, ${count(p.trained)} of them trained`}`,
    ],
    ...p.parts.map(([part, n]) => [`  ${part}`, count(n)] as [string, string]),
    ["data", `${count(p.examples)} examples, ${p.epochs.toPrecision(3)} epochs`],
    ["first batch", `${batch}; ${count(p.tokensPerStep)} tokens in a step`],
    ...(p.heldOut
      ? [
          ["held out", `${count(p.heldOut.batches)} batches, ${count(p.heldOut.targets)} targets`] as [
            string,
            string,
          ],
        ]
      : []),
    ["memory", `${bytes(p.measuredPeak)} of ${bytes(p.memoryThere)}, measured`],
    ["  weights", bytes(m.weights)],
    ["  gradients", bytes(m.gradients)],
    ["  optimizer", bytes(m.optimizer)],
    [
      "  activations",
      `${bytes(p.measuredPeak - m.weights - m.gradients - m.optimizer)}, at least ${bytes(m.activations)} by their shapes`,
    ],
    ["first loss", p.loss.toFixed(4)],
    [
      "time",
      `about ${duration(p.laterStep * p.steps)} for ${count(p.steps)} steps: ${seconds(p.laterStep)} a step, ` +
        `${count(Math.round(p.tokensPerStep / p.laterStep))} tokens/s (the first ${seconds(p.firstStep)})`,
    ],
    ["disk", `up to ${bytes(p.disk.needed)} of ${bytes(p.disk.there)}`],
    ...p.warnings.map((w) => ["note", w] as [string, string]),
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return `${rows.map(([name, text]) => `${name.padEnd(width)}  ${text}`).join("\n")}\n`;
}

const seconds = (s: number): string => (s < 1 ? `${(s * 1000).toPrecision(3)} ms` : `${s.toPrecision(3)} s`);
