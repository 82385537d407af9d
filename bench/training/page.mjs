// Writes what curve.mjs found into docs/: the numbers, the picture, the table in training.md.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export function writePage(root, result, losses) {
  const docs = (name) => join(root, "docs", name);
  writeFileSync(docs("training-curves.json"), `${JSON.stringify(result, null, 2)}\n`);
  writeFileSync(docs("training-curves.svg"), picture(losses));
  const page = readFileSync(docs("training.md"), "utf8");
  const rows = result.table.map(
    (r) => `| ${r.steps[1]} | ${r.ours.toFixed(4)} | ${r.torch.toFixed(4)} | ${(100 * r.off).toFixed(3)} % |`,
  );
  const text = `<!-- curves -->
![The loss of both runs over the steps](training-curves.svg)

Measured on ${result.date} on ${result.machine}: Vexil on the chip \`${result.chip}\` (${result.seconds.ours} s), PyTorch ${result.torch} (${result.seconds.torch} s), both in f32. ${result.parameters.toLocaleString("en")} parameters,
${result.steps.toLocaleString("en")} steps of ${result.rows} x ${result.columns} tokens. The largest deviation of the means over 100 steps is **${(100 * result.worst).toFixed(3)} %**; single losses agree within 0.1 % for ${result.withinPerMille === result.steps ? "all" : `the first ${result.withinPerMille.toLocaleString("en")}`} steps.

| mean of the 100 steps up to | Vexil | PyTorch | deviation |
|---|---|---|---|
${rows.join("\n")}
<!-- /curves -->`;
  writeFileSync(
    docs("training.md"),
    page.replace(/<!-- curves -->[\s\S]*<!-- \/curves -->/, () => text),
  );
}

/** Both curves, each point the mean of a hundredth of the steps. */
function picture({ ours, torch }) {
  const [width, height, left, bottom] = [640, 260, 40, 24];
  const points = Math.min(100, ours.length);
  const means = (xs) =>
    Array.from({ length: points }, (_, i) => {
      const part = xs.slice(Math.floor((i * xs.length) / points), Math.floor(((i + 1) * xs.length) / points));
      return part.reduce((a, b) => a + b, 0) / part.length;
    });
  const [a, b] = [means(ours), means(torch)];
  const top = Math.ceil(Math.max(...a, ...b));
  const x = (i) => left + (i / Math.max(1, points - 1)) * (width - left - 8);
  const y = (v) => 8 + (1 - v / top) * (height - bottom - 8);
  const line = (xs, style) =>
    `<polyline fill="none" ${style} points="${xs.map((v, i) => `${x(i).toFixed(1)},${y(v).toFixed(1)}`).join(" ")}"/>`;
  const marks = Array.from({ length: top + 1 }, (_, v) => v).flatMap((v) => [
    `<line x1="${left}" x2="${width - 8}" y1="${y(v)}" y2="${y(v)}" stroke="#8883"/>`,
    `<text x="${left - 6}" y="${y(v) + 4}" text-anchor="end">${v}</text>`,
  ]);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11" fill="#777">
${marks.join("\n")}
<text x="${left}" y="${height - 6}">step 1</text><text x="${width - 8}" y="${height - 6}" text-anchor="end">step ${ours.length}</text>
${line(b, 'stroke="#e8833a" stroke-width="4" opacity=".6"')}
${line(a, 'stroke="#2563eb" stroke-width="1.2"')}
<text x="${width - 150}" y="24" fill="#2563eb">Vexil, loss</text><text x="${width - 150}" y="40" fill="#e8833a">PyTorch, loss</text>
</svg>
`;
}
