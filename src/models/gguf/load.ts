// A GGUF file as a model folder: its metadata as a config.json, its tokenizer, its tensors by the model's own names.

import * as fs from "node:fs";
import type { ModelConfig } from "../config.js";
import type { Family } from "../family.js";
import { type ModelFolder, ModelFolderError } from "../folder.js";
import type { IntegerBytes, IntegerPiece, ParameterFiles, StoredRange } from "../parameters.js";
import type { TensorBytes } from "../safetensors.js";
import { TextTokenizer } from "../tokenizer.js";
import { blockFloats, blockIntegers, integerLayout } from "./blocks.js";
import { type ByteSource, GgufError, type GgufHeader, type GgufTensor, parseGguf } from "./format.js";
import { architectureOf, configOf, Keys } from "./metadata.js";
import { ggufName, interleavedHeads, moveRows } from "./names.js";
import { tokenizerFiles } from "./tokenizer.js";
import { type Room, roomFor } from "./room.js";
import { type BlockType, isBlockType } from "./types.js";

/** Bytes of a file that are taken apart at once: they stay in a near cache. */
const PIECE = 2 ** 19;

const DTYPE = { F32: "f32", F16: "f16", BF16: "bf16" } as const;

class OpenFile implements ByteSource, Disposable {
  readonly size: number;
  readonly #fd: number;
  constructor(readonly path: string) {
    try {
      this.#fd = fs.openSync(path, "r");
    } catch (e) {
      const why =
        (e as NodeJS.ErrnoException).code === "ENOENT" ? "there is no such file" : (e as Error).message;
      throw new ModelFolderError(`${path}: ${why}`);
    }
    this.size = fs.fstatSync(this.#fd).size;
  }

  read(at: number, length: number, out = new Uint8Array(length)): Uint8Array {
    let done = 0;
    while (done < length) {
      const n = fs.readSync(this.#fd, out, done, length - done, at + done);
      if (n === 0) throw new GgufError(`${this.path}: the file ended while it was read`);
      done += n;
    }
    return out;
  }

  [Symbol.dispose](): void {
    fs.closeSync(this.#fd);
  }
}

/** A model's parameters in an open file. */
export class GgufParameters implements ParameterFiles {
  readonly #room: Room = {};

  constructor(
    readonly source: ByteSource & Disposable,
    readonly header: GgufHeader,
    readonly file: string,
    readonly config: ModelConfig,
  ) {}

  has(name: string): boolean {
    const stored = ggufName(name);
    return stored !== undefined && this.header.tensors.has(stored);
  }

  where(name: string, shape: readonly number[]): StoredRange | undefined {
    const t = this.#tensor(name, shape);
    if (isBlockType(t.type) || this.#heads(name) !== undefined) return undefined;
    return { path: this.file, position: t.begin, dtype: DTYPE[t.type] };
  }

  read(name: string, shape: readonly number[]): TensorBytes {
    const t = this.#tensor(name, shape);
    const data = this.source.read(t.begin, t.bytes);
    if (!isBlockType(t.type)) return this.#inOrder(name, { dtype: DTYPE[t.type], shape, data });
    const floats = blockFloats(t.type, data);
    return this.#inOrder(name, { dtype: "f32", shape, data: new Uint8Array(floats.buffer) });
  }

  integers(name: string, shape: readonly [number, number]): IntegerBytes | undefined {
    const t = this.#tensor(name, shape);
    return isBlockType(t.type)
      ? { ...integerLayout(t.type, ...shape), pieces: this.#pieces(name, t, t.type, shape) }
      : undefined;
  }

  *#pieces(
    name: string,
    t: GgufTensor,
    type: BlockType,
    [rows, columns]: readonly [number, number],
  ): Generator<IntegerPiece> {
    const heads = this.#heads(name);
    const width = t.bytes / rows;
    // Rows of heads change their places among all of the head's.
    const most = heads === undefined ? Math.max(1, Math.floor(PIECE / width)) : rows;
    for (let r = 0; r < rows; r += most) {
      const n = Math.min(most, rows - r);
      const into = roomFor(this.#room, "file", n * width);
      const data = this.source.read(t.begin + r * width, n * width, into);
      const q = blockIntegers(type, data, n, columns, this.#room);
      if (heads === undefined) yield q;
      else {
        const inOrder = (part: Uint8Array): Uint8Array => moveRows(part, rows, heads, true);
        yield { packed: inOrder(q.packed), scales: inOrder(q.scales), zeros: q.zeros && inOrder(q.zeros) };
      }
    }
  }

  #tensor(name: string, shape: readonly number[]): GgufTensor {
    const stored = ggufName(name);
    const t = stored === undefined ? undefined : this.header.tensors.get(stored);
    if (!t) throw new GgufError(`${this.file}: tensor "${stored ?? name}" is missing`);
    if (t.shape.length !== shape.length || t.shape.some((d, i) => d !== shape[i]))
      throw new GgufError(
        `${this.file}: tensor "${stored}" is [${t.shape}], but the metadata asks for [${shape}]`,
      );
    return t;
  }

  #heads(name: string): number | undefined {
    return interleavedHeads(architectureOf(this.header, this.file), this.config, name);
  }

  #inOrder(name: string, t: TensorBytes): TensorBytes {
    const heads = this.#heads(name);
    return heads === undefined ? t : { ...t, data: moveRows(t.data, t.shape[0]!, heads, true) };
  }

  [Symbol.dispose](): void {
    this.source[Symbol.dispose]();
  }
}

/**
 * Opens a GGUF file and reads its metadata.
 * @throws GgufError, ModelFolderError naming the file
 */
export function openGguf(path: string): ModelFolder {
  using source = new OpenFile(path);
  const header = parseGguf(source, path);
  const factors = header.tensors.get("rope_freqs.weight");
  if (factors && factors.type !== "F32")
    throw new GgufError(`${path}: tensor "rope_freqs.weight" is ${factors.type}, not F32`);
  const stretch = factors && new Float32Array(source.read(factors.begin, factors.bytes).buffer);
  const keys = new Keys(header.metadata, path);
  return {
    path,
    configFile: path,
    config: configOf(header, path, stretch),
    generation: {},
    // Files mix dtypes: norms are f32 beside matrices of halves or integers.
    activations: "f32",
    tokenizer() {
      try {
        return new TextTokenizer(tokenizerFiles(keys));
      } catch (e) {
        if (e instanceof GgufError) throw e;
        throw new GgufError(`${path}: ${(e as Error).message}`);
      }
    },
    parameters: (_family: Family, config: ModelConfig) =>
      new GgufParameters(new OpenFile(path), header, path, config),
  };
}
