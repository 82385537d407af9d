// A Hugging Face model folder on disk: config.json, tokenizer files, safetensors (one file or shards with an
// index), read lazily and written atomically. It makes no tensors and knows no family.

import * as fs from "node:fs";
import { join } from "node:path";
import type { DType } from "../compiler/ir/dtype.js";
import type { ModelConfig } from "./config.js";
import type { Family } from "./family.js";
import { FolderParameters, type ParameterFiles, quantizationOf, type StoredRange } from "./parameters.js";
import {
  headerLength,
  parseHeader,
  SafetensorsError,
  type SafetensorsHeader,
  safetensorsChunks,
  type TensorBytes,
} from "./safetensors.js";
import { TextTokenizer } from "./tokenizer.js";

/** A folder or file that cannot be used; the message names it and says what to do. */
export class ModelFolderError extends Error {
  override name = "ModelFolderError";
}

/** Reads and parses a JSON file. @throws ModelFolderError naming the file */
export function readJson(path: string): unknown {
  let text: string;
  try {
    text = fs.readFileSync(path, "utf8");
  } catch (e) {
    throw new ModelFolderError(
      `${path}: ${(e as NodeJS.ErrnoException).code === "ENOENT" ? "there is no such file" : (e as Error).message}`,
    );
  }
  try {
    return JSON.parse(text);
  } catch (e) {
    throw new ModelFolderError(`${path}: not valid JSON: ${(e as Error).message}`);
  }
}

/** One open safetensors file; tensors are read when asked for. */
class WeightFile {
  readonly header: SafetensorsHeader;
  readonly #fd: number;
  constructor(readonly path: string) {
    try {
      this.#fd = fs.openSync(path, "r");
    } catch {
      throw new ModelFolderError(`${path}: there is no such file, or it cannot be read`);
    }
    try {
      const bytes = fs.fstatSync(this.#fd).size;
      const n = headerLength(this.#read(0, Math.min(8, bytes)), bytes, path);
      this.header = parseHeader(this.#read(8, n), bytes, path);
    } catch (e) {
      fs.closeSync(this.#fd);
      throw e;
    }
  }

  #read(position: number, length: number): Uint8Array {
    const out = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const n = fs.readSync(this.#fd, out, done, length - done, position + done);
      if (n === 0) throw new SafetensorsError(`${this.path}: the file ended while it was read`);
      done += n;
    }
    return out;
  }

  data(name: string): Uint8Array {
    const e = this.header.tensors.get(name)!;
    return this.#read(e.begin, e.end - e.begin);
  }

  close(): void {
    fs.closeSync(this.#fd);
  }
}

/** The weights of a folder by name. Close it when the model is loaded. */
export class Weights implements Disposable {
  readonly #where = new Map<string, WeightFile>();
  readonly #files: WeightFile[];

  constructor(paths: readonly string[]) {
    this.#files = [];
    try {
      for (const p of paths) {
        const f = new WeightFile(p);
        this.#files.push(f);
        for (const name of f.header.tensors.keys()) {
          if (this.#where.has(name))
            throw new ModelFolderError(`${p}: tensor "${name}" stands in ${this.#where.get(name)!.path} too`);
          this.#where.set(name, f);
        }
      }
    } catch (e) {
      this[Symbol.dispose]();
      throw e;
    }
  }

  get names(): string[] {
    return [...this.#where.keys()];
  }

  has(name: string): boolean {
    return this.#where.has(name);
  }

  /** Dtype and shape of a tensor that is here. */
  entry(name: string): { readonly dtype: DType; readonly shape: readonly number[] } {
    const { dtype, shape } = this.#where.get(name)!.header.tensors.get(name)!;
    return { dtype, shape };
  }

  /** The bytes of a tensor that is here. */
  bytes(name: string): Uint8Array {
    return this.#where.get(name)!.data(name);
  }

  /**
   * Reads one tensor's bytes.
   * @param asks what the shape comes from, for the message
   * @throws ModelFolderError when it is missing or has another shape
   */
  read(name: string, shape: readonly number[], asks?: string): TensorBytes {
    const { file, dtype } = this.#checked(name, shape, asks);
    return { dtype, shape, data: file.data(name) };
  }

  /** Where a tensor's bytes stand. @throws as {@link read} */
  where(name: string, shape: readonly number[]): StoredRange {
    const { file, dtype, begin } = this.#checked(name, shape);
    return { path: file.path, position: begin, dtype };
  }

  #checked(
    name: string,
    shape: readonly number[],
    asks = "config.json asks",
  ): { file: WeightFile; dtype: DType; begin: number } {
    const file = this.#where.get(name);
    if (!file)
      throw new ModelFolderError(`${this.#files[0]?.path ?? "the folder"}: tensor "${name}" is missing`);
    const e = file.header.tensors.get(name)!;
    if (e.shape.length !== shape.length || e.shape.some((d, i) => d !== shape[i]))
      throw new ModelFolderError(
        `${file.path}: tensor "${name}" is [${e.shape}], but ${asks} for [${shape}]`,
      );
    return { file, dtype: e.dtype, begin: e.begin };
  }

  [Symbol.dispose](): void {
    for (const f of this.#files.splice(0)) f.close();
  }
}

/** What a model is made from, wherever that stands. */
export interface ModelFolder {
  readonly path: string;
  /** The file that its numbers come from, for error messages. */
  readonly configFile: string;
  /** Parsed `config.json`, or what says the same. */
  readonly config: unknown;
  /** Parsed `generation_config.json`, or `{}`. */
  readonly generation: Readonly<Record<string, unknown>>;
  /** The dtype that the model computes in where no other is asked for; absent: that of its embeddings. */
  readonly activations?: "f32";
  tokenizer(): TextTokenizer;
  parameters(family: Family, config: ModelConfig): ParameterFiles;
}

/** A Hugging Face folder on disk. */
export interface HuggingFaceFolder extends ModelFolder {
  weights(): Weights;
}

/**
 * Opens a folder and reads its config.
 * @throws ModelFolderError when the folder or its config.json is missing or damaged
 */
export function openFolder(path: string): HuggingFaceFolder {
  if (!fs.existsSync(path)) throw new ModelFolderError(`${path}: there is no such folder`);
  if (!fs.statSync(path).isDirectory())
    throw new ModelFolderError(`${path}: not a folder; give the folder that holds config.json`);
  const optional = (name: string): Record<string, unknown> => {
    const file = join(path, name);
    return fs.existsSync(file) ? (readJson(file) as Record<string, unknown>) : {};
  };
  const configFile = join(path, "config.json");
  const adapters = join(path, "adapter_config.json");
  if (!fs.existsSync(configFile) && fs.existsSync(adapters)) {
    const base = (readJson(adapters) as { base_model_name_or_path?: unknown }).base_model_name_or_path;
    throw new ModelFolderError(
      `${path}: low-rank adapters, not a model; give their model (${base}) and --adapter ${path}, or merge them: vexil export ${base} --adapter ${path} --folder OUT`,
    );
  }
  return {
    path,
    configFile,
    config: readJson(configFile),
    generation: optional("generation_config.json"),
    tokenizer: () => openTokenizer(path),
    parameters(family, config) {
      return new FolderParameters(this.weights(), family, config, quantizationOf(config, configFile));
    },
    weights() {
      const single = join(path, "model.safetensors");
      if (fs.existsSync(single)) return new Weights([single]);
      const index = join(path, "model.safetensors.index.json");
      if (!fs.existsSync(index))
        throw new ModelFolderError(
          `${path}: there is neither model.safetensors nor model.safetensors.index.json`,
        );
      const map = (readJson(index) as { weight_map?: Record<string, unknown> } | null)?.weight_map;
      if (typeof map !== "object" || map === null)
        throw new ModelFolderError(`${index}: there is no "weight_map"`);
      const shards = [...new Set(Object.values(map))];
      for (const s of shards)
        if (typeof s !== "string" || /[\\/]|^\.\.?$/.test(s))
          throw new ModelFolderError(`${index}: ${JSON.stringify(s)} is not a file name`);
      return new Weights(shards.map((s) => join(path, s as string)));
    },
  };
}

/** The tokenizer of a folder, which need not hold a model. @throws ModelFolderError naming the folder or the file */
export function openTokenizer(path: string): TextTokenizer {
  const [config, template] = [join(path, "tokenizer_config.json"), join(path, "chat_template.jinja")];
  const files = {
    tokenizer: readJson(join(path, "tokenizer.json")),
    config: fs.existsSync(config) ? (readJson(config) as Record<string, unknown>) : {},
    ...(fs.existsSync(template) ? { chatTemplate: fs.readFileSync(template, "utf8") } : {}),
  };
  try {
    return new TextTokenizer(files);
  } catch (e) {
    throw new ModelFolderError(`${path}: ${(e as Error).message}`);
  }
}

/** One call of the system writes 2 GiB at most, and less where a disk is slow or full. */
function writeAll(fd: number, bytes: Uint8Array): void {
  let done = 0;
  do done += fs.writeSync(fd, bytes, done);
  while (done < bytes.length);
}

/** Writes a file so that a reader, or a crash, never sees half of it. */
export function writeAtomic(path: string, chunks: Iterable<Uint8Array | string>): void {
  const temporary = `${path}.${process.pid}.${Math.random().toString(36).slice(2, 10)}.tmp`;
  const fd = fs.openSync(temporary, "w");
  try {
    for (const c of chunks) writeAll(fd, typeof c === "string" ? Buffer.from(c) : c);
    fs.fsyncSync(fd);
    fs.closeSync(fd);
    fs.renameSync(temporary, path);
  } catch (e) {
    try {
      fs.closeSync(fd);
    } catch {}
    fs.rmSync(temporary, { force: true });
    throw e;
  }
}

/** Writes a model as a Hugging Face folder; existing files of the same names are replaced one by one, atomically. */
export function saveFolder(
  path: string,
  model: {
    config: Readonly<Record<string, unknown>>;
    generation?: Readonly<Record<string, unknown>>;
    tokenizer?: TextTokenizer;
    tensors: ReadonlyMap<string, TensorBytes>;
  },
): void {
  fs.mkdirSync(path, { recursive: true });
  const json = (name: string, value: unknown) =>
    writeAtomic(join(path, name), [JSON.stringify(value, null, 2) + "\n"]);
  writeAtomic(join(path, "model.safetensors"), safetensorsChunks(model.tensors));
  json("config.json", model.config);
  if (model.generation) json("generation_config.json", model.generation);
  if (model.tokenizer) saveTokenizer(path, model.tokenizer);
}

/** Writes a tokenizer's files into a folder. */
export function saveTokenizer(path: string, { files }: TextTokenizer): void {
  const { tokenizer, config, chatTemplate } = files;
  fs.mkdirSync(path, { recursive: true });
  const json = (name: string, value: unknown) =>
    writeAtomic(join(path, name), [`${JSON.stringify(value, null, 2)}\n`]);
  json("tokenizer.json", tokenizer);
  if (config) json("tokenizer_config.json", config);
  if (chatTemplate !== undefined) writeAtomic(join(path, "chat_template.jinja"), [chatTemplate]);
}
