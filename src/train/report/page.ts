// The frame of the report: style for light and dark, and the script that shows values under the pointer. It loads
// nothing: no fonts, no scripts, no pictures.

const STYLE = `
:root { color-scheme: light dark; --paper: #fff; --ink: #1c1f24; --soft: #6a7078; --rule: #e3e5e8; --a: #2563c9; --b: #c2540a; --c: #14804a; }
@media (prefers-color-scheme: dark) { :root { --paper: #15181c; --ink: #e6e8ea; --soft: #979da5; --rule: #2c3137; --a: #78a9ff; --b: #ff9d5c; --c: #5fd394; } }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; } p { color: var(--soft); margin: .2rem 0; }
figure { margin: 1.6rem 0; } figcaption { font-weight: 600; } svg { width: 100%; height: auto; touch-action: pan-y; }
svg text { font-size: 11px; fill: var(--soft); } text.y { text-anchor: end; } text.x { text-anchor: middle; }
.grid { stroke: var(--rule); } .cursor { stroke: var(--soft); visibility: hidden; } path { fill: none; stroke-width: 1.6; }
path.s0 { stroke: var(--a); } path.s1 { stroke: var(--b); } circle.s2, circle.s1 { fill: var(--c); } path.faint { opacity: .35; stroke: var(--a); stroke-width: 1; }
.key { font-weight: 400; margin-left: .8rem; } .key::before { content: ""; display: inline-block; width: .9em; height: .2em; margin-right: .35em; vertical-align: middle; background: var(--a); }
.key.faint::before { opacity: .35; } .key.s1::before { background: var(--b); } .key.dots::before { background: var(--c); border-radius: 50%; width: .5em; height: .5em; }
output { display: block; min-height: 1.5em; font-size: 12px; color: var(--soft); font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; } td { padding: .15rem 1rem .15rem 0; vertical-align: top; } td:first-child { color: var(--soft); }
pre { padding: .8rem; border: 1px solid var(--rule); border-radius: 6px; overflow-x: auto; font-size: 13px; }
`;

const SCRIPT = `
for (const figure of document.querySelectorAll("figure")) {
  const svg = figure.querySelector("svg");
  if (!svg) continue;
  const { left, span, x0, x1, series } = JSON.parse(figure.querySelector("script").textContent);
  const [cursor, output] = [figure.querySelector(".cursor"), figure.querySelector("output")];
  const nearest = (points, x) => {
    let [low, high] = [0, points.length - 1];
    while (low < high) { const mid = (low + high) >> 1; if (points[mid][0] < x) low = mid + 1; else high = mid; }
    return low > 0 && x - points[low - 1][0] < points[low][0] - x ? points[low - 1] : points[low];
  };
  svg.addEventListener("pointermove", (e) => {
    const box = svg.getBoundingClientRect();
    const at = ((e.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const x = x0 + Math.min(1, Math.max(0, (at - left) / span)) * (x1 - x0);
    const step = nearest(series.find((s) => s.points.length).points, x)[0];
    const px = left + ((step - x0) / (x1 - x0)) * span;
    cursor.setAttribute("x1", px); cursor.setAttribute("x2", px); cursor.style.visibility = "visible";
    output.textContent = "step " + step + series.filter((s) => s.points.length)
      .map((s) => { const [sx, text] = nearest(s.points, x); return "   " + s.name + " " + text + (sx === step ? "" : " (step " + sx + ")"); }).join("");
  });
  svg.addEventListener("pointerleave", () => { cursor.style.visibility = "hidden"; output.textContent = ""; });
}
`;

/** A whole page; `title` and `body` are HTML already. */
export const page = (title: string, body: string): string =>
  `<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n` +
  `<title>${title}</title>\n<style>${STYLE}</style>\n</head>\n<body>\n${body}\n<script>${SCRIPT}</script>\n</body>\n</html>\n`;
