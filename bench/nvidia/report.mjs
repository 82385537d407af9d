// Puts the results of run.sh together: `node bench/nvidia/report.mjs RESULTS` writes docs/nvidia-DATE.json and the tables of
// docs/nvidia.md between its markers. Later runs of a part replace earlier ones of the same day.

import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { WORKS } from "./works.mjs";

const root = join(import.meta.dirname, "../..");
const from = process.argv[2];
if (!from) throw new Error("usage: node bench/nvidia/report.mjs RESULTS");
const read = (name) => JSON.parse(readFileSync(join(from, name), "utf8"));
const names = readdirSync(from);
const [date, node, gpu] = readFileSync(join(from, "machine.txt"), "utf8").trim().split("\n");
const day = date.slice(0, 10);
const file = join(root, `docs/nvidia-${day}.json`);
const all = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : { parts: {}, ours: {}, peers: {} };
Object.assign(all, { date, node, gpu });
if (names.includes("floors.json")) all.floors = read("floors.json");
for (const n of names) {
  if (n.startsWith("part-")) {
    const p = read(n);
    const log = stripVTControlCharacters(readFileSync(join(from, `${p.part}.log`), "utf8"));
    all.parts[p.part] = { exit: p.exit, seconds: p.seconds, said: summary(log) };
  }
  if (n.startsWith("ours-")) for (const row of read(n)) all.ours[row.name] = row;
  if (n.startsWith("peers-")) for (const row of read(n)) all.peers[`${row.name}|${row.side}`] = row;
}
writeFileSync(file, `${JSON.stringify(all, null, 1)}\n`);

/** The lines of a log that sum it up. */
function summary(log) {
  const lines = log.split("\n").map((l) => l.trim());
  const counts = ["ok", "WRONG", "FAILED"].map((w) => [w, lines.filter((l) => l.startsWith(`${w} `)).length]);
  if (counts.some(([, n]) => n > 0)) return counts.filter(([, n]) => n > 0).map(([w, n]) => `${n} ${w.toLowerCase()}`).join(", "); // biome-ignore format: one line
  const suites = lines.filter((l) => l.startsWith('{"suite":"opinfo"')).map((l) => JSON.parse(l));
  if (suites.length > 0)
    return suites.map((x) => `${x.passed} of ${x.cases} passed, ${x.failed} failed, ${x.unsupported} of operators that are not in the table`).join("; "); // biome-ignore format: one line
  const models = lines.filter((l) => /^[\w-]+: \{.*"logitsError"/.test(l));
  if (models.length > 0)
    return models.map((l) => `${l.split(":")[0]} ${Number(/"logitsError":([\d.e-]+)/.exec(l)[1]).toExponential(1)}`).join(", "); // biome-ignore format: one line
  const telling = /^(Tests|== |\d[\d,]* (of|passed)|.*(passed|ERROR SUMMARY|same tokens|exactly right))/;
  return lines.filter((l) => telling.test(l) && l.length < 200).slice(-8).join("; "); // biome-ignore format: one line
}

const number = (x) => (x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toFixed(2));
/** What a work amounts to in the unit that suits it. */
const rate = (w, ms) =>
  w.flops ? `${number(w.flops / ms / 1e9)} TFLOP/s` : w.bytes ? `${number(w.bytes / ms / 1e9)} TB/s` : ms >= 0.1 ? `${number(ms)} ms` : `${number(ms * 1e3)} us`; // biome-ignore format: one line
/** The share of the run's own floor: its copy bandwidth, or its matrix rate. */
function floorShare(w, ms) {
  const { floors } = all;
  if (!floors) return "";
  if (w.bytes) return number(w.bytes / ms / 1e9 / floors.copy);
  const floor = w.flops && floors.rates[w.rate];
  return floor ? number(w.flops / ms / 1e9 / floor) : "";
}

const rows = WORKS.filter((w) => all.ours[w.name]).map((w) => {
  const own = all.ours[w.name];
  const peers = Object.values(all.peers).filter((p) => p.name === w.name && p.ms);
  if (own.error) return `| ${w.name} | failed: ${own.error.split("\n")[0].slice(0, 80)} | | | | |`;
  const [first, ...rest] = peers;
  const ratio = first ? first.ms / own.ms : undefined;
  const share = floorShare(w, own.ms);
  const mark = w.goal && ratio !== undefined && ratio < w.goal ? " (short)" : "";
  const low = w.reach && share !== "" && Number(share) < w.reach ? " (short)" : "";
  const others = rest.map((p) => `${p.side} ${rate(w, p.ms)}`).join(", ");
  return `| ${w.name} | ${rate(w, own.ms)} | ${share}${low} | ${first ? `${rate(w, first.ms)}${first.side === "torch" ? "" : ` (${first.side})`}` : ""}${others ? `; ${others}` : ""} | ${ratio === undefined ? "" : number(ratio)}${mark} | ${w.goal ?? (w.reach ? `${w.reach} of the floor` : "")} |`;
});
const { floors } = all;
const tables = [
  `${gpu}, Node ${node}, ${date}${floors ? `; torch ${floors.torch}, Triton ${floors.triton}` : ""}. Everything in this page's tables comes from \`docs/nvidia-${day}.json\`.`,
  "",
  "| check | result |",
  "|---|---|",
  ...Object.entries(all.parts)
    .filter(([name]) => name === "learning" || !WORKS.some((w) => w.part === name))
    .filter(([name]) => name !== "floors" && !name.startsWith("profile-"))
    .map(
      ([name, p]) =>
        `| \`${name}\` | ${p.exit === 0 ? "passed" : `exit ${p.exit}`}: ${p.said.replaceAll("|", "/")} (${p.seconds} s) |`,
    ),
  "",
  ...(floors
    ? [
        `Floors of the run: ${number(floors.copy)} TB/s (a copy by torch, bytes read and written), ${number(floors.rates.bf16)} TFLOP/s (bf16 8192^3 by cuBLAS), ${number(floors.rates.f32)} TFLOP/s (f32 4096^3 by cuBLAS without TF32).`,
        "",
      ]
    : []),
  "| work | vexil | of the floor | torch (and others) | ratio | to reach |",
  "|---|---|---|---|---|---|",
  ...rows,
].join("\n");
const page = join(root, "docs/nvidia.md");
const text = readFileSync(page, "utf8");
const [start, end] = ["<!-- measured: bench/nvidia/report.mjs -->", "<!-- end -->"];
const [a, b] = [text.indexOf(start), text.indexOf(end)];
if (a < 0 || b < a) throw new Error(`docs/nvidia.md has no ${start} … ${end}`);
writeFileSync(page, `${text.slice(0, a + start.length)}\n\n${tables}\n\n${text.slice(b)}`);
console.log(tables);
