// Printing against PyTorch's own text of the same tensors (`scripts/oracle-print.py` wrote it): every character of
// the elements and their layout; the names that follow are our own.

import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import "../chips/index.js";
import { setDefaultChip } from "../runtime/index.js";
import { decode, encode, fromBytes, tensor, type DType, type Tensor } from "./index.js";
import { torchDType } from "./dtype.js";
import { formatData } from "./print.js";

interface Case {
  dtype: DType;
  shape: number[];
  text: string;
  bytes?: string;
  arange?: [number, number];
  requiresGrad?: boolean;
}
const { cases } = JSON.parse(
  readFileSync(new URL("../../test/fixtures/print.json", import.meta.url), "utf8"),
) as { cases: Case[] };

await setDefaultChip("interpreter");

function build(c: Case): Tensor {
  if (c.bytes !== undefined) {
    const bytes = new Uint8Array(Buffer.from(c.bytes, "base64"));
    const t = fromBytes(bytes, c.shape, c.dtype);
    return c.requiresGrad ? t.requiresGrad_() : t;
  }
  const [start, step] = c.arange!;
  const n = c.shape.reduce((a, b) => a * b, 1);
  const values = Float64Array.from({ length: n }, (_, i) => i * step + start);
  if (c.dtype === "bool") return tensor(values.map((v) => v % 2), { shape: c.shape, dtype: "bool" }); // biome-ignore format: one case
  return tensor(values, { shape: c.shape, dtype: c.dtype });
}

/** Python's words in ours; where suffixes break depends on how long the names are, so that is checked apart. */
function ours(text: string): string {
  return text
    .replace(/True/g, "true")
    .replace(/False/g, "false")
    .replace(/,\s+(requires_grad|dtype|size)=/g, ", $1=")
    .replace(/requires_grad=/, "requiresGrad=")
    .replace(/size=\(([^)]*?),?\)/, "shape=[$1]")
    .replace(/dtype=(torch\.\w+)/, (_m, name: string) => {
      const short = Object.entries(NAMES).find(([, t]) => `torch.${t}` === name);
      return `dtype=${short![0]}`;
    });
}
const DTYPES = ["bool", "u8", "i8", "i16", "i32", "i64", "f8e4m3", "f8e5m2", "f16", "bf16", "f32", "f64"] as const; // biome-ignore format: one line
const NAMES = Object.fromEntries(DTYPES.map((d) => [d, torchDType(d)]));

it("prints as PyTorch does", async () => {
  expect(cases.length).toBeGreaterThan(300);
  for (const c of cases) {
    const text = (await build(c).format()).replace(/,\s+(requiresGrad|dtype|shape)=/g, ", $1=");
    expect(`${c.dtype} [${c.shape}] ${text}`).toBe(`${c.dtype} [${c.shape}] ${ours(c.text)}`);
  }
});

it("breaks a line before a suffix that does not fit", async () => {
  const row = tensor(new Float32Array(8).fill(12.25), { requiresGrad: true });
  const lines = (await row.format()).split("\n");
  expect(lines.at(-1)).toBe("       requiresGrad=true)");
  expect((await tensor([1.5], { requiresGrad: true }).format()).split("\n")).toHaveLength(1);
});

it("names a chip that is not the default one", async () => {
  const t = tensor([1.5]);
  await setDefaultChip("wasm");
  expect(formatData(t, decode(encode([1.5], "f32"), "f32"))).toBe("tensor([1.5000], device=interpreter)");
  await setDefaultChip("interpreter");
});
