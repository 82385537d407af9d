// Tensors as text, laid out as PyTorch does: one width for all elements, four digits, long tensors summarised.

import { isDefaultChip } from "../runtime/registry.js";
import { defaultDType, isFloatDType } from "./dtype.js";
import { readData, type TensorData } from "./read.js";
import type { Tensor } from "./tensor.js";

const PRECISION = 4;
/** Above so many elements only the edges are shown. */
const THRESHOLD = 1000;
const EDGE = 3;
const LINE_WIDTH = 80;

/** `shape=[2, 3], f32, wasm` */
export function summary(t: Tensor): string {
  return `shape=[${t.shape.join(", ")}], ${t.dtype}, ${t.device}`;
}

/** How all the elements shown are written; `width` decides where lines break. */
interface Formatter {
  readonly width: number;
  write(v: number | bigint): string;
}

/** Rounds to even where JavaScript rounds ties up. `places` counts decimals of the mantissa. */
function exponential(v: number, places = PRECISION): string {
  let [mantissa, exponent] = v.toExponential(places).split("e") as [string, string];
  const exact = v.toExponential(60).split("e")[0]!;
  const head = exact.slice(0, exact.indexOf(".") + 1 + places);
  if (/^50*$/.test(exact.slice(head.length)) && Number(head.at(-1)) % 2 === 0) {
    mantissa = head;
    exponent = v.toExponential(60).split("e")[1]!;
  }
  return `${mantissa}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`;
}

/** As `toFixed`, with ties to even: only multiples of 1/32 can be ties at four digits. */
function fixed(v: number): string {
  const text = v.toFixed(PRECISION);
  const doubled = v * 2 * 10 ** PRECISION;
  if (!Number.isInteger(v * 32) || Math.abs(doubled) % 2 !== 1) return text;
  const down = Math.trunc(doubled / 2);
  const even = down % 2 === 0 ? down : down + Math.sign(v);
  return `${v < 0 && even === 0 ? "-" : ""}${(even / 10 ** PRECISION).toFixed(PRECISION)}`;
}

const special = (v: number): string => (Number.isNaN(v) ? "nan" : v > 0 ? "inf" : "-inf");

/** One way to write all the elements shown, chosen from their sizes. Zeros and what is not finite claim no width. */
function formatter(values: readonly (number | bigint)[], t: Tensor): Formatter {
  let write: (v: number | bigint) => string;
  let measured: readonly (number | bigint)[] = values;
  if (t.dtype === "bool") write = (v) => (Number(v) !== 0 ? "true" : "false");
  else if (!isFloatDType(t.dtype)) write = String;
  else {
    const finite = values.map(Number).filter((v) => Number.isFinite(v) && v !== 0);
    measured = finite;
    let most = 0;
    let least = Number.POSITIVE_INFINITY;
    for (const v of finite) {
      most = Math.max(most, Math.abs(v));
      least = Math.min(least, Math.abs(v));
    }
    const whole = finite.every(Number.isInteger);
    const scientific = finite.length > 0 && (most / least > 1000 || most > 1e8 || least < 1e-4);
    write = (v) => {
      const x = Number(v);
      if (!Number.isFinite(x)) return special(x);
      if (scientific) return exponential(x);
      return whole ? `${Object.is(x, -0) ? "-0" : x}.` : fixed(x);
    };
  }
  const width = measured.reduce<number>((w, v) => Math.max(w, write(v).length), 1);
  return { width, write: (v) => write(v).padStart(width) };
}

/** The indices shown along a dimension; null stands for the dots. */
function shown(n: number, summarise: boolean): (number | null)[] {
  if (!summarise || n <= 2 * EDGE) return Array.from({ length: n }, (_, i) => i);
  const first = Array.from({ length: EDGE }, (_, i) => i);
  return [...first, null, ...first.map((i) => n - EDGE + i)];
}

/** The text of a tensor from its row-major elements. */
export function formatData(t: Tensor, data: TensorData): string {
  const { shape } = t;
  const summarise = t.numel > THRESHOLD;
  const indices = shape.map((n) => shown(n, summarise));
  const visible: (number | bigint)[] = [];
  const collect = (dim: number, base: number): void => {
    if (dim === shape.length) {
      visible.push(data[base]!);
      return;
    }
    for (const i of indices[dim]!) if (i !== null) collect(dim + 1, base * shape[dim]! + i);
  };
  if (t.numel > 0) collect(0, 0);
  const format = formatter(visible, t);
  const prefix = "tensor(";
  const perLine = (indent: number): number =>
    Math.max(1, Math.floor((LINE_WIDTH - indent) / (format.width + 2)));
  const render = (dim: number, base: number, indent: number): string => {
    if (dim === shape.length) return format.write(data[base]!);
    const items = indices[dim]!.map((i) =>
      i === null ? null : render(dim + 1, base * shape[dim]! + i, indent + 1),
    );
    if (dim === shape.length - 1) {
      const words = items.map((x) => x ?? " ...");
      const n = perLine(indent);
      const lines: string[] = [];
      for (let i = 0; i < words.length; i += n) lines.push(words.slice(i, i + n).join(", "));
      return `[${lines.join(`,\n${" ".repeat(indent + 1)}`)}]`;
    }
    const gap = "\n".repeat(shape.length - dim - 1) + " ".repeat(indent + 1);
    return `[${items.map((x) => x ?? "...").join(`,${gap}`)}]`;
  };
  const body = t.numel === 0 ? "[]" : render(0, 0, prefix.length);
  return withSuffixes(prefix + body, suffixes(t), prefix.length);
}

/** What is not the default: the shape of nothing, dtype, device, where gradients go. */
function suffixes(t: Tensor): string[] {
  const out: string[] = [];
  if (!isDefaultChip(t.chip)) out.push(`device=${t.device}`);
  if (t.numel === 0 && t.ndim !== 1) out.push(`shape=[${t.shape.join(", ")}]`);
  const natural = t.dtype === defaultDType() || (t.numel > 0 && (t.dtype === "i64" || t.dtype === "bool"));
  if (!natural) out.push(`dtype=${t.dtype}`);
  const edge = t.edge;
  if (edge !== null) out.push(t.isLeaf ? "requiresGrad=true" : `gradNode=<${edge.node.name}>`);
  return out;
}

/** Appends them, each on a new line where the last one is full. */
function withSuffixes(text: string, list: readonly string[], indent: number): string {
  let out = text;
  let column = text.length - text.lastIndexOf("\n") + 1;
  for (const suffix of list) {
    const full = column + suffix.length + 2 > LINE_WIDTH;
    out += full ? `,\n${" ".repeat(indent)}${suffix}` : `, ${suffix}`;
    column = full ? indent + suffix.length : column + suffix.length + 2;
  }
  return `${out})`;
}

export const formatTensor = async (t: Tensor): Promise<string> => formatData(t, await readData(t));
