// From files to a model on a chip and back: parameters from a folder, from a seed, to a folder.

import { type DType, DTYPES } from "../compiler/ir/dtype.js";
import type { IntegerMatrix, MakeParameter } from "../nn/index.js";
import { dequantize, normal, ones, quantizeInt4, quantizeInt8, zeros } from "../ops/index.js";
import { Generator, scope } from "../runtime/index.js";
import {
  callOperator,
  empty,
  fromBytes,
  fromFile,
  noGrad,
  type Tensor,
  writeBytes,
} from "../tensor/index.js";
import type { ModelConfig } from "./config.js";
import { familyOf } from "./families/index.js";
import { type ModelFolder, ModelFolderError, saveFolder, saveTokenizer } from "./folder.js";
import { bitsOf, type IntegerBits } from "./integers.js";
import { mergeAdapter, saveAdapter } from "./lora.js";
import { openModel } from "./open.js";
import { type IntegerBytes, type ParameterFiles, type TensorForm, toFiles } from "./parameters.js";
import type { TensorBytes } from "./safetensors.js";
import type { TextTokenizer } from "./tokenizer.js";
import { LanguageModel } from "./transformer.js";

/** The dtypes that a model's parameters may have. */
export const MODEL_DTYPES = ["f32", "f16", "bf16"] as const;
export type ModelDType = (typeof MODEL_DTYPES)[number];

export interface LoadOptions {
  /** The chip that holds the weights. */
  readonly device: string;
  /** Whether the parameters want gradients (for training). Default false. */
  readonly requiresGrad?: boolean;
  /** Converts parameters of floats on load; absent, they stay as they are stored. */
  readonly dtype?: ModelDType | undefined;
  /** A PEFT folder of low-rank adapters to add to the weights. */
  readonly adapter?: string | undefined;
  /** Copies the weights into the chip's own memory where they could be pages of the file. Default: `requiresGrad`. */
  readonly copy?: boolean;
}

export interface LoadedModel {
  readonly model: LanguageModel;
  readonly folder: ModelFolder;
  readonly tokenizer: TextTokenizer;
}

/**
 * Loads a model and its tokenizer from a Hugging Face folder or a GGUF file.
 * @throws ModelFolderError, ModelConfigError, SafetensorsError naming the file
 *
 * @example const { model, tokenizer } = loadModel("./Qwen3-0.6B", { device: "cpu", dtype: "bf16" });
 */
export function loadModel(path: string, options: LoadOptions): LoadedModel {
  const folder = openModel(path);
  const model = loadWeights(folder, options);
  try {
    if (options.adapter !== undefined) mergeAdapter(model, options.adapter);
    return { model, folder, tokenizer: folder.tokenizer() };
  } catch (e) {
    model.dispose();
    throw e;
  }
}

/** The model of an open folder, without a tokenizer. */
export function loadWeights(folder: ModelFolder, options: LoadOptions): LanguageModel {
  const { config, files } = openParameters(folder);
  using open = files;
  return buildModel(config, open, folder, options);
}

/** The declaration of an open folder's model, and its parameters; the caller closes them. */
export function openParameters(folder: ModelFolder): { config: ModelConfig; files: ParameterFiles } {
  const family = familyOf(folder.config, folder.configFile);
  const declared = family.parse(folder.config, folder.configFile);
  const files = folder.parameters(family, declared);
  return { config: present(declared, files), files };
}

/** The dtype that a model's embeddings are stored in; f32 for files that mix dtypes. */
export function storedDType(folder: ModelFolder): DType {
  if (folder.activations) return folder.activations;
  const { config, files } = openParameters(folder);
  using open = files;
  return open.where("model.embed_tokens.weight", [config.vocabSize, config.hiddenSize])?.dtype ?? "f32";
}

/** Every parameter of a model by its name. `device`: a chip that is loaded; nothing is computed on it. */
export function parameterShapes(config: ModelConfig, device: string): Map<string, readonly number[]> {
  const shapes = new Map<string, readonly number[]>();
  const nothing = empty([0], { device });
  new LanguageModel(config, (name, shape) => {
    shapes.set(name, shape);
    return nothing;
  });
  nothing.dispose();
  return shapes;
}

/** The config without the optional parts that the files lack: a pooler, layers that predict further tokens. */
function present(c: ModelConfig, files: ParameterFiles): ModelConfig {
  const square = [c.hiddenSize, c.hiddenSize];
  return {
    ...c,
    pooler: c.pooler && files.has("pooler.weight", square),
    predictLayers: files.has("predict.0.eh_proj.weight", [c.hiddenSize, 2 * c.hiddenSize])
      ? c.predictLayers
      : 0,
  };
}

function buildModel(
  config: ModelConfig,
  files: ParameterFiles,
  folder: ModelFolder,
  options: LoadOptions,
): LanguageModel {
  const { device, requiresGrad } = options;
  const { path, activations } = folder;
  // Gradients want one dtype.
  const dtype = options.dtype ?? (requiresGrad ? activations : undefined);
  const made: Tensor[] = [];
  const note = (p: Tensor): Tensor => {
    made.push(p);
    return p;
  };
  const upload = (t: TensorBytes): Tensor => note(fromBytes(t.data, t.shape, t.dtype, device));
  const checkFloat = (found: DType, name: string): void => {
    if (DTYPES[found].kind !== "float" || DTYPES[found].bytes < 2)
      throw new ModelFolderError(`${path}: tensor "${name}" has dtype ${found}, not f32, f16 or bf16`);
  };
  const converted = (from: () => Tensor): Tensor =>
    note(noGrad(() => scope(() => callOperator("_to_copy", from(), { dtype }) as Tensor)));
  const floats = (name: string, shape: readonly number[]): Tensor => {
    const stored = files.where(name, shape);
    if (stored) {
      checkFloat(stored.dtype, name);
      if (dtype !== undefined && dtype !== stored.dtype)
        return converted(() => fromFile(stored, shape, stored.dtype, { device }));
      // What is trained is written to all the time: pages of a file would be copied one by one.
      return note(
        fromFile(stored, shape, stored.dtype, { device, copy: options.copy ?? requiresGrad === true }),
      );
    }
    const q = shape.length === 2 ? files.integers(name, [shape[0]!, shape[1]!]) : undefined;
    if (q && !q.zeros) {
      // The same products as the host's, and no matrix of floats there.
      const widened = (): Tensor => {
        const { packed, scales, groupSize } = integersOn(device, q, (t) => t);
        return dequantize(packed, scales, null, shape[1]!, { groupSize });
      };
      return dtype === undefined || dtype === "f32" ? note(noGrad(() => scope(widened))) : converted(widened);
    }
    const t = files.read(name, shape);
    checkFloat(t.dtype, name);
    if (dtype === undefined || dtype === t.dtype) return upload(t);
    return converted(() => fromBytes(t.data, t.shape, t.dtype, device));
  };
  const make: MakeParameter = Object.assign(
    (name: string, shape: readonly number[]) => {
      const p = floats(name, shape);
      return requiresGrad ? p.requiresGrad_() : p;
    },
    {
      integers(name: string, shape: readonly [number, number]) {
        // The blocks of a GGUF file are read as floats for training.
        if (requiresGrad && activations) return undefined;
        const q = files.integers(name, shape);
        if (!q) return undefined;
        if (requiresGrad)
          throw new ModelFolderError(
            `${path}: integer weights cannot be trained; continue from the model before vexil quantize`,
          );
        return integersOn(device, q, note);
      },
    },
  );
  try {
    return new LanguageModel(config, make, dtype ?? activations);
  } catch (e) {
    for (const t of made) t.dispose();
    throw e;
  }
}

/** Integers on a chip, piece by piece. `note` is told of each tensor before it is filled. */
function integersOn(device: string, q: IntegerBytes, note: (t: Tensor) => Tensor): IntegerMatrix {
  const make = ({ dtype, shape }: TensorForm): Tensor => note(empty(shape, { dtype, device }));
  const [packed, scales, zeros] = [make(q.packed), make(q.scales), q.zeros && make(q.zeros)];
  let [p, s, z] = [0, 0, 0];
  for (const piece of q.pieces) {
    p = writeBytes(packed, p, piece.packed);
    s = writeBytes(scales, s, piece.scales);
    if (zeros && piece.zeros) z = writeBytes(zeros, z, piece.zeros);
  }
  return { packed, scales, zeros, groupSize: q.groupSize };
}

export interface CreateOptions {
  /** The chip that holds the weights. */
  readonly device: string;
  readonly seed: number;
  /** The parameters' dtype. Default f32. */
  readonly dtype?: ModelDType | undefined;
  /** Whether the parameters want gradients. Default true. */
  readonly requiresGrad?: boolean | undefined;
  /** Whether it has the layers that predict further tokens, where the config asks for some. Default false. */
  readonly ahead?: boolean | undefined;
  /** Integers in place of the matrices of the blocks, with `outputBits` of the output matrix too; such a model cannot be trained. */
  readonly integers?: (IntegerBits & { readonly groupSize: number }) | undefined;
}

/** The declaration that {@link createModel} goes by. @throws ModelConfigError */
export function newConfig(raw: Readonly<Record<string, unknown>>, ahead = false): ModelConfig {
  const file = "model.config";
  const declared = familyOf(raw, file).parse(raw, file);
  return ahead ? declared : { ...declared, predictLayers: 0 };
}

/**
 * A model with random weights from a seed: normal with the config's `initializer_range`, norms at one, biases at zero.
 * @param raw the fields of a `config.json`
 * @throws ModelConfigError, and RangeError where integers are to be trained
 *
 * @example const model = createModel(raw, { device: "cpu", seed: 1, dtype: "bf16", requiresGrad: false });
 */
export function createModel(raw: Readonly<Record<string, unknown>>, options: CreateOptions): LanguageModel {
  const config = newConfig(raw, options.ahead);
  const generator = new Generator(options.seed);
  const { device, integers, dtype = "f32", requiresGrad = true } = options;
  if (integers && requiresGrad) throw new RangeError("createModel: integer weights cannot be trained");
  // Drawn in f32, so that the same seed gives the same weights, rounded.
  const random = (shape: readonly number[]): Tensor => {
    const drawn = normal(0, config.initializerRange, shape, { generator, dtype: "f32", device });
    if (dtype === "f32") return drawn;
    const t = callOperator("_to_copy", drawn, { dtype }) as Tensor;
    drawn.dispose();
    return t;
  };
  const make: MakeParameter = (_name, shape, init) => {
    const t =
      init === "ones"
        ? ones(shape, { dtype, device })
        : init === "zeros"
          ? zeros(shape, { dtype, device })
          : random(shape);
    return requiresGrad ? t.requiresGrad_() : t;
  };
  const narrowed = (name: string, shape: readonly [number, number]): IntegerMatrix | undefined => {
    const bits = integers && bitsOf(name, shape, integers);
    if (!bits) return undefined;
    const { groupSize } = integers;
    const [packed, scales] = noGrad(() =>
      scope(() =>
        bits === 8 ? quantizeInt8(random(shape), groupSize) : quantizeInt4(random(shape), groupSize),
      ),
    );
    return { packed, scales, zeros: undefined, groupSize };
  };
  return new LanguageModel(config, Object.assign(make, { integers: narrowed }));
}

/** Reads tensors back to the host, row-major. */
export async function readTensors(tensors: ReadonlyMap<string, Tensor>): Promise<Map<string, TensorBytes>> {
  const out = new Map<string, TensorBytes>();
  for (const [name, t] of tensors) out.set(name, { dtype: t.dtype, shape: t.shape, data: await t.bytes() });
  return out;
}

/** The names of dtypes in a config.json. */
const TORCH_DTYPE: Readonly<Record<string, string>> = { f32: "float32", f16: "float16", bf16: "bfloat16" };

/** The fields of a config.json that say what a model is now. */
export function rawConfig(model: LanguageModel): Record<string, unknown> {
  const { raw } = model.config;
  const dtype = TORCH_DTYPE[model.model.embedTokens.dtype];
  const named = ["dtype", "torch_dtype"].filter((key) => key in raw);
  const keys = named.length > 0 ? named : ["dtype"];
  return { ...raw, ...Object.fromEntries(keys.map((key) => [key, dtype])) };
}

/** Saves a model as a Hugging Face folder that `transformers` loads too; of one with adapters, these in PEFT's form. */
export async function saveModel(path: string, model: LanguageModel, tokenizer: TextTokenizer): Promise<void> {
  if (model.lora) {
    await saveAdapter(path, model);
    saveTokenizer(path, tokenizer);
    return;
  }
  const eos = tokenizer.eosIds[0] ?? null;
  const { config } = model;
  saveFolder(path, {
    config: rawConfig(model),
    generation: { eos_token_id: eos },
    tokenizer,
    tensors: toFiles(familyOf(config.raw, "config.json"), config, await readTensors(model.namedParameters())),
  });
}
