// Tensors as text, laid out as PyTorch does: one width for all elements, four digits, long tensors summarised.

import type { Scalar } from "./dtype.js";
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

type Formatter = (v: Scalar | bigint) => string;

function exponential(v: number): string {
  const [mantissa, exponent] = v.toExponential(PRECISION).split("e");
  const digits = exponent!.slice(1).padStart(2, "0");
  return `${mantissa}e${exponent![0]}${digits}`;
}

const special = (v: number): string => (Number.isNaN(v) ? "nan" : v > 0 ? "inf" : "-inf");

/** One way to write all the elements shown, chosen from their sizes. */
function formatter(values: readonly (number | bigint)[], t: Tensor): Formatter {
  if (t.dtype === "bool")
    return (v) => (Number(v) !== 0 ? "true" : "false").padStart(values.some((x) => Number(x) === 0) ? 5 : 4);
  let write: Formatter;
  if (!isFloatDType(t.dtype)) write = String;
  else {
    const finite = values.map(Number).filter((v) => Number.isFinite(v) && v !== 0);
    const sizes = finite.map(Math.abs);
    const most = sizes.reduce((a, b) => Math.max(a, b), 0);
    const least = sizes.reduce((a, b) => Math.min(a, b), Infinity);
    const whole = finite.every(Number.isInteger);
    const scientific = sizes.length > 0 && (most / least > 1000 || most > 1e8 || (!whole && least < 1e-4));
    write = (v) => {
      const x = Number(v);
      if (!Number.isFinite(x)) return special(x);
      if (scientific) return exponential(x);
      return whole ? `${Object.is(x, -0) ? "-0" : x}.` : x.toFixed(PRECISION);
    };
  }
  const width = values.reduce<number>((w, v) => Math.max(w, write(v).length), 0);
  return (v) => write(v).padStart(width);
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
  const perLine = (indent: number): number => {
    const width = visible.length > 0 ? format(visible[0]!).length + 2 : 2;
    return Math.max(1, Math.floor((LINE_WIDTH - indent) / width));
  };
  const render = (dim: number, base: number, indent: number): string => {
    if (dim === shape.length) return format(data[base]!);
    if (shape[dim] === 0) return "[]";
    const items = indices[dim]!.map((i) =>
      i === null ? null : render(dim + 1, base * shape[dim]! + i, indent + 1),
    );
    if (dim === shape.length - 1) {
      const words = items.map((x) => x ?? "...");
      const n = perLine(indent + 1);
      const lines: string[] = [];
      for (let i = 0; i < words.length; i += n) lines.push(words.slice(i, i + n).join(", "));
      return `[${lines.join(`,\n${" ".repeat(indent + 1)}`)}]`;
    }
    const gap = "\n".repeat(shape.length - dim - 1) + " ".repeat(indent + 1);
    return `[${items.map((x) => x ?? "...").join(`,${gap}`)}]`;
  };
  const body = t.numel === 0 ? emptyBody(shape) : render(0, 0, prefix.length);
  return `${prefix}${body}${suffix(t)})`;
}

const emptyBody = (shape: readonly number[]): string =>
  shape.length === 1 ? "[]" : `[], shape=[${shape.join(", ")}]`;

function suffix(t: Tensor): string {
  const natural = t.dtype === defaultDType() || (t.numel > 0 && (t.dtype === "i64" || t.dtype === "bool"));
  const dtype = natural ? "" : `, dtype=${t.dtype}`;
  const edge = t.edge;
  if (edge === null) return dtype;
  return dtype + (t.isLeaf ? ", requiresGrad=true" : `, gradNode=<${edge.node.name}>`);
}

export const formatTensor = async (t: Tensor): Promise<string> => formatData(t, await readData(t));
