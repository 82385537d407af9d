// Reads a set of operator samples: `PREFIX.jsonl` with one case a line, `PREFIX.safetensors` with their tensors.

import { readFileSync } from "node:fs";
import type { DType } from "../../compiler/ir/index.js";
import { headerLength, parseHeader } from "../../models/safetensors.js";

/** A value as the sets write it: a JSON scalar, null, or an object that says what it is. */
export type Json = null | boolean | number | string | { readonly [key: string]: unknown };

/** One sample: the call and what it gave. */
export interface Case {
  readonly op: string;
  readonly variant: string;
  readonly aten: string;
  /** PyTorch's name of the dtype the sample was made for. */
  readonly dtype: string;
  readonly sample: number;
  readonly input: Json;
  readonly args: readonly Json[];
  readonly kwargs: Readonly<Record<string, Json>>;
  readonly output: Json;
  /** `{ list: [...] }`: one gradient for each leaf that requires them. */
  readonly grads?: Json;
  /** Only shape and dtype of the output are defined. */
  readonly uninitialised?: boolean;
}

/** A tensor as stored: row-major bytes. */
export interface StoredTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

export interface SampleSet {
  readonly cases: readonly Case[];
  tensor(key: string): StoredTensor;
}

/** `add`, or `div.trunc_rounding` for a variant. */
export const caseName = (c: Case): string => (c.variant ? `${c.op}.${c.variant}` : c.op);

/** Throws where a file is missing or malformed; the message names it. */
export function readSampleSet(prefix: string): SampleSet {
  const cases = readFileSync(`${prefix}.jsonl`, "utf8")
    .split("\n")
    .flatMap((line, i): Case[] => {
      if (line === "") return [];
      try {
        return [JSON.parse(line) as Case];
      } catch (error) {
        throw new Error(`${prefix}.jsonl, line ${i + 1}: ${(error as Error).message}`);
      }
    });
  const file = `${prefix}.safetensors`;
  // A plain array: slices of a Buffer share its memory and keep its alignment.
  const data = new Uint8Array(readFileSync(file));
  const length = headerLength(data, data.length, file);
  const { tensors } = parseHeader(data.subarray(8, 8 + length), data.length, file);
  return {
    cases,
    tensor(key) {
      const entry = tensors.get(key);
      if (!entry) throw new Error(`${file} has no tensor ${key}`);
      return { dtype: entry.dtype, shape: entry.shape, bytes: data.subarray(entry.begin, entry.end) };
    },
  };
}

/** At most `count` cases of each operator, variant and dtype, spread over its samples. */
export function stratified(cases: readonly Case[], count: number): Case[] {
  const groups = new Map<string, Case[]>();
  for (const c of cases) {
    const key = `${caseName(c)} ${c.dtype}`;
    const list = groups.get(key);
    if (list) list.push(c);
    else groups.set(key, [c]);
  }
  return [...groups.values()].flatMap((list) =>
    list.length <= count
      ? list
      : Array.from({ length: count }, (_, i) => list[Math.floor((i * list.length) / count)]!),
  );
}
