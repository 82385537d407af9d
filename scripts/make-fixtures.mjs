// Makes test/fixtures/opinfo: a small extract of the operator samples, for the operators that the table has.
// Usage: node scripts/make-fixtures.mjs FOLDER   (with public, half and wide .jsonl + .safetensors)

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { register } from "tsx/esm/api";

const from = process.argv[2];
if (!from) {
  console.error("usage: node scripts/make-fixtures.mjs FOLDER");
  process.exit(2);
}
register();
await import("../src/ops/index.ts");
const { operators } = await import("../src/tensor/index.ts");
const { readSampleSet } = await import("../src/cli/opinfo/read.ts");

const LIMIT = 1_500_000;
/**
 * The first of these with which all fits into the limit. `bytes`: of the tensors of one case; `most`: of a group's
 * smallest case, where none is below that; `count`: cases of one operator and dtype, for f32, which has gradients.
 */
const BOUNDS = [
  { bytes: 4000, most: 6000, count: 2 },
  { bytes: 1000, most: 6000, count: 2 },
  { bytes: 1000, most: 2000, count: 1 },
  { bytes: 500, most: 1000, count: 1 },
];

const claimed = new Set();
for (const op of operators().values()) for (const e of op.opinfo) claimed.add(`${e.op}\n${e.variant ?? ""}`);

const keysOf = (v, into) => {
  if (Array.isArray(v)) for (const x of v) keysOf(x, into);
  else if (v && typeof v === "object") {
    if (typeof v.tensor === "string") into.add(v.tensor);
    else for (const x of Object.values(v)) keysOf(x, into);
  }
  return into;
};
const renamed = (v, set) => {
  if (Array.isArray(v)) return v.map((x) => renamed(x, set));
  if (!v || typeof v !== "object") return v;
  if (typeof v.tensor === "string") return { ...v, tensor: `${set}${v.tensor}` };
  return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, renamed(x, set)]));
};
const strided = (v) => JSON.stringify(v).includes('"strides"');

const DTYPES = { f64: "F64", f32: "F32", f16: "F16", bf16: "BF16", i64: "I64", i32: "I32", i16: "I16", i8: "I8", u8: "U8", bool: "BOOL" }; // biome-ignore format: a table
const sets = Object.fromEntries(
  ["public", "half", "wide"].map((name) => [name, readSampleSet(join(from, name))]),
);

/** The files' contents within a bound. */
function extract(bound) {
  const lines = [];
  const header = {};
  const chunks = [];
  let offset = 0;
  for (const name of ["public", "half", "wide"]) {
    const set = sets[name];
    const groups = new Map();
    for (const c of set.cases) {
      if (!claimed.has(`${c.op}\n${c.variant}`)) continue;
      let bytes = 0;
      for (const key of keysOf([c.input, c.args, c.kwargs, c.output, c.grads ?? null], new Set()))
        bytes += set.tensor(key).bytes.length;
      const group = `${c.op}\n${c.variant}\n${c.dtype}`;
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push({ c, bytes });
    }
    for (const all of groups.values()) {
      const small = all.filter((x) => x.bytes <= bound.bytes);
      const least = all.reduce((a, b) => (b.bytes < a.bytes ? b : a));
      const list = small.length > 0 ? small : least.bytes <= bound.most ? [least] : [];
      if (list.length === 0) continue;
      // Of the samples of a group: the first with strides, then evenly from the rest.
      const count = list[0].c.dtype === "float32" ? bound.count : 1;
      const chosen = new Set();
      const odd = list.find((x) => strided(x.c));
      if (odd && count > 1) chosen.add(odd);
      for (let i = 0; chosen.size < Math.min(count, list.length) && i < list.length; i++)
        chosen.add(list[Math.floor((i * list.length) / Math.max(1, count)) % list.length] ?? list[i]);
      for (const { c } of chosen) {
        lines.push(JSON.stringify(renamed(c, name[0])));
        for (const key of keysOf([c.input, c.args, c.kwargs, c.output, c.grads ?? null], new Set())) {
          const own = `${name[0]}${key}`;
          if (header[own]) continue;
          const t = set.tensor(key);
          header[own] = {
            dtype: DTYPES[t.dtype],
            shape: t.shape,
            data_offsets: [offset, offset + t.bytes.length],
          };
          chunks.push(t.bytes);
          offset += t.bytes.length;
        }
      }
    }
  }
  let text = JSON.stringify(header);
  text += " ".repeat((8 - (text.length % 8)) % 8);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const tensors = Buffer.concat([length, Buffer.from(text), ...chunks]);
  return { count: lines.length, samples: `${lines.join("\n")}\n`, tensors };
}

let files;
for (const bound of BOUNDS) {
  files = extract(bound);
  if (files.samples.length + files.tensors.length <= LIMIT) break;
}
const total = files.samples.length + files.tensors.length;
if (total > LIMIT) {
  console.error(`the extract would take ${total} bytes, more than ${LIMIT}`);
  process.exit(1);
}
const target = fileURLToPath(new URL("../test/fixtures/opinfo/", import.meta.url));
mkdirSync(target, { recursive: true });
writeFileSync(join(target, "sample.jsonl"), files.samples);
writeFileSync(join(target, "sample.safetensors"), files.tensors);
console.log(`${files.count} cases, ${total} bytes`);
process.exit();
