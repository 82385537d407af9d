// A line chart as SVG text: axes with round numbers, lines, dots, and what the page's script needs to show values under the
// pointer. Colours are the page's CSS variables.

export interface Series {
  readonly name: string;
  /** Points in the order of x; those that are not finite break the line. */
  readonly points: readonly (readonly [x: number, y: number])[];
  readonly kind: "line" | "faint" | "dots";
}

export interface ChartOptions {
  readonly title: string;
  /** How a value is written on the axis and under the pointer. */
  readonly format: (value: number) => string;
  /** The y axis begins at zero. */
  readonly fromZero?: boolean;
}

const WIDTH = 720;
const HEIGHT = 220;
const LEFT = 64;
const RIGHT = 12;
const TOP = 12;
const BOTTOM = 26;

export const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

/** About `count` round numbers that lie in a range. */
export function ticks(low: number, high: number, count: number): number[] {
  const rough = (high - low) / count;
  if (!(rough > 0) || !Number.isFinite(rough)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((m) => m * power >= rough) ?? 10);
  const out: number[] = [];
  // Multiples, not sums: no error adds up.
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++)
    out.push(Number((i * step).toPrecision(12)));
  return out;
}

/**
 * At most about `most` points: of each stretch the first point and the highest, so that spikes stay.
 */
export function thin<P extends readonly [number, number]>(points: readonly P[], most: number): P[] {
  if (points.length <= most) return [...points];
  const stretch = Math.ceil((2 * points.length) / most);
  const out: P[] = [];
  for (let at = 0; at < points.length; at += stretch) {
    const end = Math.min(points.length, at + stretch);
    let top = at;
    for (let i = at; i < end; i++) if (points[i]![1] > points[top]![1]) top = i;
    out.push(points[at]!);
    if (top !== at) out.push(points[top]!);
  }
  if (out.at(-1) !== points.at(-1)) out.push(points.at(-1)!);
  return out;
}

/** An exponential average, from the first value on. @param keep share of the average before that stays */
export function smooth(points: readonly (readonly [number, number])[], keep: number): [number, number][] {
  let mean: number | undefined;
  return points.map(([x, y]) => {
    if (Number.isFinite(y)) mean = mean === undefined ? y : keep * mean + (1 - keep) * y;
    return [x, mean ?? y];
  });
}

/** The chart, or a line that says there is nothing to draw. */
export function chart(series: readonly Series[], { title, format, fromZero }: ChartOptions): string {
  const finite = series.flatMap((s) => s.points.filter(([, y]) => Number.isFinite(y)));
  const caption = `<figcaption>${escapeHtml(title)}${legend(series)}</figcaption>`;
  if (finite.length === 0) return `<figure>${caption}<p>nothing was measured yet</p></figure>`;
  const xs = finite.map(([x]) => x);
  const ys = finite.map(([, y]) => y);
  const [x0, x1] = widen(least(xs), most(xs));
  const [y0, y1] = widen(fromZero ? Math.min(0, least(ys)) : least(ys), most(ys));
  const px = (x: number) => LEFT + ((x - x0) / (x1 - x0)) * (WIDTH - LEFT - RIGHT);
  const py = (y: number) => TOP + (1 - (y - y0) / (y1 - y0)) * (HEIGHT - TOP - BOTTOM);
  const grid = [
    ...ticks(y0, y1, 4).map(
      (y) =>
        `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${n(py(y))}" y2="${n(py(y))}"/>` +
        `<text class="y" x="${LEFT - 6}" y="${n(py(y) + 4)}">${escapeHtml(format(y))}</text>`,
    ),
    ...ticks(x0, x1, 6)
      .filter(Number.isInteger)
      .map((x) => `<text class="x" x="${n(px(x))}" y="${HEIGHT - 8}">${x}</text>`),
  ];
  const marks = series.map(({ kind, points }, i) => {
    if (kind === "dots")
      return points
        .filter(([, y]) => Number.isFinite(y))
        .map(([x, y]) => `<circle class="s${i}" cx="${n(px(x))}" cy="${n(py(y))}" r="3"/>`)
        .join("");
    let pen = "M";
    const d = points
      .map(([x, y]) => {
        if (!Number.isFinite(y)) {
          pen = "M";
          return "";
        }
        const part = `${pen}${n(px(x))} ${n(py(y))}`;
        pen = "L";
        return part;
      })
      .join("");
    return `<path class="s${i} ${kind}" d="${d}"/>`;
  });
  const data = {
    left: LEFT,
    span: WIDTH - LEFT - RIGHT,
    x0,
    x1,
    series: series.map((s) => ({ name: s.name, points: s.points.map(([x, y]) => [x, format(y)]) })),
  };
  return (
    `<figure>${caption}<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(title)} by step">` +
    `${grid.join("")}${marks.join("")}<line class="cursor" y1="${TOP}" y2="${HEIGHT - BOTTOM}"/></svg><output></output>` +
    `<script type="application/json">${JSON.stringify(data).replaceAll("<", "\\u003c")}</script></figure>`
  );
}

const legend = (series: readonly Series[]): string =>
  series.length < 2
    ? ""
    : series.map((s, i) => ` <span class="key s${i} ${s.kind}">${escapeHtml(s.name)}</span>`).join("");

const n = (value: number): string => value.toFixed(1);
const least = (values: readonly number[]): number => values.reduce((a, b) => Math.min(a, b));
const most = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b));

/** A range with a little room; one of a single value gets some around it. */
function widen(low: number, high: number): [number, number] {
  if (low === high) return [low - (Math.abs(low) || 1) * 0.5, high + (Math.abs(high) || 1) * 0.5];
  return [low, high];
}
