// report.html: one page about a run that needs nothing else: curves from metrics.jsonl, the configuration, the machine.

import { arch, cpus, platform, totalmem } from "node:os";
import { basename, join } from "node:path";
import { stringify } from "yaml";
import { writeAtomic } from "../../models/folder.js";
import { VERSION } from "../../runtime/index.js";
import type { TrainConfig } from "../config.js";
import type { RunHook } from "../hooks.js";
import {
  type EvaluationLine,
  type MetricsLine,
  metricsFile,
  readMetrics,
  type StepLine,
} from "../metrics.js";
import { duration } from "../progress.js";
import { chart, escapeHtml, smooth, thin } from "./chart.js";
import { page } from "./page.js";

/** What the page says beside the curves. */
export interface ReportFacts {
  readonly config: TrainConfig;
  /** The chip's name and what its driver says of it. */
  readonly chip: { readonly name: string; readonly description: string };
  readonly parameters: number;
}

const POINTS = 1200;
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const number = (v: number): string => (Number.isFinite(v) ? String(Number(v.toPrecision(4))) : String(v));

/** The page as HTML. */
export function renderReport(lines: readonly MetricsLine[], facts: ReportFacts): string {
  const steps = lines.filter((l): l is StepLine => "loss" in l);
  const evaluations = lines.filter((l): l is EvaluationLine => "evaluation" in l);
  const of = (pick: (l: StepLine) => number) =>
    thin(
      steps.map((l) => [l.step, pick(l)] as const),
      POINTS,
    );
  const bytes = (v: number) => `${compact.format(v / 2 ** 20)} MiB`;
  // Over about a fiftieth of the run: an average over more would come too late.
  const span = Math.min(100, Math.max(5, steps.length / 50));
  const average = smooth(
    steps.map((l) => [l.step, l.loss]),
    1 - 1 / span,
  );
  const charts = [
    chart(
      [
        { name: "each step", kind: "faint", points: of((l) => l.loss) },
        { name: "average", kind: "line", points: thin(average, POINTS) },
        { name: "held out", kind: "dots", points: evaluations.map((l) => [l.step, l.evaluation.loss]) },
      ],
      { title: "Loss", format: number },
    ),
    ...(
      [
        ["Learning rate", (l) => l.learning_rate, number],
        ["Gradient norm", (l) => l.grad_norm, number],
        ["Tokens per second", (l) => l.tokens / l.seconds, (v) => compact.format(v)],
        ["Memory", (l) => l.memory_bytes, bytes],
      ] as [string, (l: StepLine) => number, (v: number) => string][]
    ).map(([title, pick, format]) =>
      chart([{ name: title.toLowerCase(), kind: "line", points: of(pick) }], {
        title,
        format,
        fromZero: true,
      }),
    ),
  ];
  const name = escapeHtml(basename(facts.config.output));
  return page(
    `${name}: a training run`,
    [
      `<h1>${name}</h1>`,
      `<p>${summary(steps, evaluations, facts)}</p>`,
      ...charts,
      "<h2>Machine</h2>",
      table(machine(facts)),
      "<h2>Configuration</h2>",
      `<pre>${escapeHtml(stringify(facts.config))}</pre>`,
    ].join("\n"),
  );
}

function summary(
  steps: readonly StepLine[],
  evaluations: readonly EvaluationLine[],
  { config, parameters }: ReportFacts,
): string {
  const last = steps.at(-1);
  const skipped = steps.filter((l) => l.skipped !== undefined).length;
  const best = evaluations.reduce<EvaluationLine | undefined>(
    (b, l) => (b === undefined || l.evaluation.loss < b.evaluation.loss ? l : b),
    undefined,
  );
  const parts = [
    `step ${last?.step ?? 0} of ${config.steps}`,
    `${parameters.toLocaleString("en")} parameters`,
    `${compact.format(steps.reduce((n, l) => n + l.tokens, 0))} tokens`,
    `${duration(steps.reduce((n, l) => n + l.seconds, 0))} in steps`,
    ...(last ? [`loss ${number(last.loss)}`] : []),
    ...(best ? [`lowest held-out loss ${number(best.evaluation.loss)} after step ${best.step}`] : []),
    ...(skipped > 0 ? [`${skipped} skipped`] : []),
  ];
  return escapeHtml(parts.join(" · "));
}

const machine = ({ chip }: ReportFacts): [string, string][] => [
  ["chip", `${chip.name} (${chip.description})`],
  ["processor", `${cpus()[0]?.model ?? "unknown"}, ${cpus().length} threads`],
  ["memory", `${(totalmem() / 2 ** 30).toFixed(1)} GiB`],
  ["system", `${platform()} ${arch()}, Node ${process.versions.node}`],
  ["vexil", VERSION],
];

const table = (rows: readonly (readonly [string, string])[]): string =>
  `<table>${rows.map(([a, b]) => `<tr><td>${escapeHtml(a)}</td><td>${escapeHtml(b)}</td></tr>`).join("")}</table>`;

/** Writes `report.html` at every checkpoint and at the end, well or not. */
export function reportHook(output: string, facts: ReportFacts): RunHook {
  const write = () =>
    writeAtomic(join(output, "report.html"), [renderReport(readMetrics(metricsFile(output)), facts)]);
  return { saved: write, end: write };
}
