// The parameters of a model in the files of a Hugging Face folder: by the model's own names, in the model's own form,
// whatever the family's files call them and however they lay them out. Bytes only; tensors are made in `load.ts`.

import { type DType, DTYPES } from "../compiler/ir/dtype.js";
import type { FileRange } from "../tensor/index.js";
import { type ModelConfig, ModelConfigError } from "./config.js";
import { type Family, storedAs } from "./family.js";
import type { Weights } from "./folder.js";
import { type IntegerBits, OUTPUT } from "./integers.js";
import type { TensorBytes } from "./safetensors.js";

/** A tensor that is still to be made. */
export interface TensorForm {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** What a matrix of integers is made of: `ops/quantized.ts` has the layout. */
export interface IntegerLayout {
  readonly packed: TensorForm;
  readonly scales: TensorForm;
  readonly zeros: TensorForm | undefined;
  readonly groupSize: number;
}

/** Bytes of some of its rows. */
export interface IntegerPiece {
  readonly packed: Uint8Array;
  readonly scales: Uint8Array;
  readonly zeros: Uint8Array | undefined;
}

/** A matrix of integers as bytes, some rows after the others. A piece may stand in the memory of the one before. */
export interface IntegerBytes extends IntegerLayout {
  readonly pieces: Iterable<IntegerPiece>;
}

/** A tensor's bytes in a file, row-major. */
export interface StoredRange extends FileRange {
  readonly dtype: DType;
}

/** Where parameters come from. */
export interface ParameterFiles extends Disposable {
  has(name: string, shape: readonly number[]): boolean;
  /** Where a parameter's bytes stand as they are in a file, if they do. @throws as {@link read} */
  where(name: string, shape: readonly number[]): StoredRange | undefined;
  /** @throws errors naming the file, the tensor, its shape and the expected one */
  read(name: string, shape: readonly number[]): TensorBytes;
  /** The integers of a matrix, if it is held so. */
  integers(name: string, shape: readonly [number, number]): IntegerBytes | undefined;
}

/** What a folder's config.json says of integers that stand for its matrices. */
export interface Quantization extends IntegerBits {
  readonly groupSize: number;
}

/** The quantization that a config.json tells of. @throws ModelConfigError for one that is not built */
export function quantizationOf(config: ModelConfig, file: string): Quantization | undefined {
  const q = config.raw["quantization_config"] as Record<string, unknown> | null | undefined;
  if (q == null) return undefined;
  const { quant_method: method, bits, group_size: groupSize, output_bits: outputBits } = q;
  if (method !== "vexil")
    throw new ModelConfigError(
      `${file}: weights quantized by ${JSON.stringify(method)} are not supported; take the unquantized model, and vexil quantize`,
    );
  if ((bits !== 4 && bits !== 8) || !Number.isInteger(groupSize) || (groupSize as number) < 0)
    throw new ModelConfigError(`${file}: quantization_config: bits ${bits}, group_size ${groupSize}`);
  if (outputBits !== undefined && outputBits !== 4 && outputBits !== 8)
    throw new ModelConfigError(`${file}: quantization_config: output_bits ${outputBits}`);
  return { bits, outputBits, groupSize: groupSize as number };
}

export class FolderParameters implements ParameterFiles {
  constructor(
    readonly weights: Weights,
    readonly family: Family,
    readonly config: ModelConfig,
    readonly quantization: Quantization | undefined,
  ) {}

  has(name: string, shape: readonly number[]): boolean {
    const s = storedAs(this.family, this.config, name, shape);
    return this.weights.has(this.#find("stack" in s ? s.stack[0]! : s.name));
  }

  read(name: string, shape: readonly number[]): TensorBytes {
    const s = storedAs(this.family, this.config, name, shape);
    if ("stack" in s) {
      const parts = s.stack.map((n) => this.weights.read(this.#find(n), shape.slice(1)));
      return joined(parts, shape);
    }
    const stored = this.#find(s.name);
    if (!s.transposed) return this.weights.read(stored, shape);
    return transposed(this.weights.read(stored, [...shape].reverse()));
  }

  where(name: string, shape: readonly number[]): StoredRange | undefined {
    const s = storedAs(this.family, this.config, name, shape);
    return "stack" in s || s.transposed ? undefined : this.weights.where(this.#find(s.name), shape);
  }

  integers(name: string, [rows, columns]: readonly [number, number]): IntegerBytes | undefined {
    if (!this.quantization) return undefined;
    const s = storedAs(this.family, this.config, name, [rows, columns]);
    if ("stack" in s) return undefined;
    const packed = `${s.name}_packed`;
    if (!this.weights.has(packed)) return undefined;
    const { groupSize, outputBits = this.quantization.bits } = this.quantization;
    const bits = name === OUTPUT ? outputBits : this.quantization.bits;
    const groups = groupSize === 0 ? 1 : Math.ceil(columns / groupSize);
    const bytes =
      bits === 8 ? columns : groupSize === 0 ? Math.ceil(columns / 2) : Math.ceil(groups / 2) * groupSize;
    const zero = `${s.name}_zero`;
    const parts = {
      packed: this.weights.read(packed, [rows, bytes]),
      scales: this.weights.read(`${s.name}_scale`, [rows, groups]),
      zeros: this.weights.has(zero) ? this.weights.read(zero, [rows, groups]) : undefined,
    };
    const all = { packed: parts.packed.data, scales: parts.scales.data, zeros: parts.zeros?.data };
    return { ...parts, groupSize, pieces: [all] };
  }

  /** The name in these files: with or without the family's prefix, norms by TensorFlow's names in old ones. */
  #find(name: string): string {
    const { prefix } = this.family;
    const names = [name];
    if (prefix) names.push(name.startsWith(prefix) ? name.slice(prefix.length) : prefix + name);
    for (const n of [...names])
      names.push(
        n.replace(/LayerNorm\.weight$/, "LayerNorm.gamma").replace(/LayerNorm\.bias$/, "LayerNorm.beta"),
      );
    return names.find((n) => this.weights.has(n)) ?? name;
  }

  [Symbol.dispose](): void {
    this.weights[Symbol.dispose]();
  }
}

function joined(parts: readonly TensorBytes[], shape: readonly number[]): TensorBytes {
  const data = new Uint8Array(parts.reduce((n, p) => n + p.data.length, 0));
  let at = 0;
  for (const p of parts) {
    data.set(p.data, at);
    at += p.data.length;
  }
  return { dtype: parts[0]!.dtype, shape, data };
}

/** A matrix with rows and columns exchanged. */
export function transposed(t: TensorBytes): TensorBytes {
  const [rows, columns] = t.shape as [number, number];
  const { bytes } = DTYPES[t.dtype];
  const data = new Uint8Array(t.data.length);
  const Units = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array, 8: BigUint64Array }[bytes as 1 | 2 | 4 | 8];
  const aligned = (t.data.byteOffset % bytes === 0 ? t.data : t.data.slice()) as Uint8Array<ArrayBuffer>;
  const from = new Units(aligned.buffer, aligned.byteOffset, rows * columns);
  const to = new Units(data.buffer, 0, rows * columns);
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++) to[c * rows + r] = from[r * columns + c] as never;
  return { dtype: t.dtype, shape: [columns, rows], data };
}

/** Parameters under the names and in the form of the family's files. */
export function toFiles(
  family: Family,
  config: ModelConfig,
  parameters: ReadonlyMap<string, TensorBytes>,
): Map<string, TensorBytes> {
  const out = new Map<string, TensorBytes>();
  for (const [name, t] of parameters) {
    const s = storedAs(family, config, name, t.shape);
    if ("stack" in s) {
      const shape = t.shape.slice(1);
      const bytes = t.data.length / s.stack.length;
      s.stack.forEach((n, i) => {
        out.set(n, { dtype: t.dtype, shape, data: t.data.subarray(i * bytes, (i + 1) * bytes) });
      });
    } else out.set(s.name, s.transposed ? transposed(t) : t);
  }
  return out;
}
