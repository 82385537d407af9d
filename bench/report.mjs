// Keeps all measured rows in one dated JSON file, and writes the page for people from it.

import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { share, showMeasure, showTarget, showTime } from "./rows.mjs";

const TITLES = {
  matmul: "Matrix products",
  memory: "Element-wise work, reductions and copies",
  attention: "Attention",
  train: "A training step",
  sort: "Sorting",
  tiny: "The cost of a tiny operator",
  host: "An eager operator on the host, layer by layer",
  compile: "Compiling a new kernel",
  start: "The second start",
  launch: "A cached launch",
  footprint: "The memory of training",
  serve: "Generating text",
  ops: "Every operator against its floor",
};

export function load(folder) {
  const file = join(folder, "performance.json");
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : { rows: [] };
}

/**
 * Puts the rows of one run in the place of earlier ones of the same suites, chips and threads. Rows that were measured on
 * another machine go.
 */
export function merge(old, run) {
  const same = JSON.stringify(old.machine) === JSON.stringify(run.machine);
  const group = (r) => [r.suite, r.chip, r.threads].join(" ");
  const fresh = new Set(run.rows.map(group));
  const kept = same ? old.rows.filter((r) => !fresh.has(group(r))) : [];
  const { date, load: runLoad, quick } = run;
  const rows = [
    ...kept,
    ...run.rows.map((r) => ({ ...r, date, load: runLoad, ...(quick ? { quick } : {}) })),
  ];
  const order = Object.keys(TITLES);
  rows.sort((a, b) => order.indexOf(a.suite) - order.indexOf(b.suite));
  return { date, machine: run.machine, peers: { ...(same ? old.peers : {}), ...run.peers }, rows };
}

const cell = (text) =>
  String(text ?? "")
    .replaceAll("|", "\\|")
    .replaceAll("\n", " ");

function tableRow(r) {
  const peers = r.peers.map((p) => `${p.name}: ${showMeasure(p, r)}`).join("<br>") || "-";
  const ratio =
    r.peers.map((p) => (p.ratio === undefined ? "-" : `${p.ratio.toFixed(2)}x`)).join("<br>") || "-";
  const floor = r.floor ? `${r.floor.name}: ${showTime(r.floor.ms)} (${share(r.floor)})` : "-";
  const target = r.targets.map(showTarget).join("<br>") || "-";
  const verdict = r.verdict === "loses" || r.verdict === "fails" ? `**${r.verdict}**` : r.verdict;
  const work = r.note ? `${r.work}<br>${r.note}` : r.work;
  const cells = [
    work,
    r.shape,
    r.chip,
    r.threads,
    showMeasure(r.ours, r),
    peers,
    ratio,
    floor,
    target,
    verdict,
  ];
  return `| ${cells.map(cell).join(" | ")} |`;
}

const HEAD = ["work", "shape", "chip", "threads", "ours", "peer", "ratio", "floor", "target", "verdict"];

/** The page. Losing rows stand in it like all others, and are counted at the top. */
export function page(data) {
  const { machine, rows, peers } = data;
  const count = (v) => rows.filter((r) => r.verdict === v).length;
  const noisy = rows.some((r) => r.quick || r.load > machine.cores / 2);
  const lines = [
    "# Performance",
    "",
    "Written by `npm run bench`; the numbers stand in `performance.json` too. Each row is the median of nine samples, ours and",
    "the peer in turns in one run, with the lowest and highest in brackets. `ratio` is how many times as fast as the peer",
    "ours is, the percentage beside a floor is the share of it that we reach. Data is normally distributed, and operands of",
    "rows about bandwidth fill four times the last-level cache. How to run it again: `bench/README.md`.",
    "",
    `${data.date.slice(0, 10)}, ${machine.processor}, ${machine.cores} cores, ${machine.memoryGiB} GiB,`,
    `${machine.lastLevelCacheMiB} MiB last-level cache, ${machine.system}, Node ${machine.node}, ${machine.compiler}.`,
    "",
    ...Object.entries(peers ?? {}).map(([name, version]) => `- ${name}: ${version}`),
    "",
    `**${count("passes")} rows pass, ${count("loses")} lose, ${count("fails")} fail, ${count("open")} have no peer to decide them;**`,
    `${count("-")} have no target.`,
    ...(noisy
      ? ["", "Some rows were measured on a busy machine or with `--quick`: they say little about speed."]
      : []),
  ];
  for (const [suite, title] of Object.entries(TITLES)) {
    const own = rows.filter((r) => r.suite === suite);
    if (!own.length) continue;
    lines.push("", `## ${title}`, "", `| ${HEAD.join(" | ")} |`, `|${HEAD.map(() => "---").join("|")}|`);
    lines.push(...own.map(tableRow));
  }
  return `${lines.join("\n")}\n`;
}

/** Merges a run into the folder's files. */
export function save(folder, run) {
  mkdirSync(folder, { recursive: true });
  const data = merge(load(folder), run);
  for (const [name, text] of [
    ["performance.json", `${JSON.stringify(data, null, 1)}\n`],
    ["performance.md", page(data)],
  ]) {
    const file = join(folder, name);
    writeFileSync(`${file}.tmp`, text);
    renameSync(`${file}.tmp`, file);
  }
}
