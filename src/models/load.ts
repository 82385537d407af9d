// From files to a model on a chip and back: parameters from a folder, from a seed, to a folder.

import { DTYPES } from "../compiler/ir/dtype.js";
import type { MakeParameter } from "../nn/index.js";
import { normal, ones, zeros } from "../ops/index.js";
import { Generator, scope } from "../runtime/index.js";
import { callOperator, fromBytes, noGrad, type Tensor } from "../tensor/index.js";
import { type ModelConfig, ModelConfigError } from "./config.js";
import { familyOf } from "./families/index.js";
import { type ModelFolder, ModelFolderError, openFolder, saveFolder } from "./folder.js";
import { FolderParameters, type ParameterFiles, type Quantization, toFiles } from "./parameters.js";
import type { TensorBytes } from "./safetensors.js";
import type { TextTokenizer } from "./tokenizer.js";
import { LanguageModel } from "./transformer.js";

/** The dtypes that a model's parameters may have. */
export type ModelDType = "f32" | "f16" | "bf16";

export interface LoadOptions {
  /** The chip that holds the weights. */
  readonly device: string;
  /** Whether the parameters want gradients (for training). Default false. */
  readonly requiresGrad?: boolean;
  /** Converts parameters of floats on load; absent, they stay as they are stored. */
  readonly dtype?: ModelDType | undefined;
}

export interface LoadedModel {
  readonly model: LanguageModel;
  readonly folder: ModelFolder;
  readonly tokenizer: TextTokenizer;
}

/**
 * Loads a model and its tokenizer from a Hugging Face folder.
 * @throws ModelFolderError, ModelConfigError, SafetensorsError naming the file
 *
 * @example const { model, tokenizer } = loadModel("./Qwen3-0.6B", { device: "cpu", dtype: "bf16" });
 */
export function loadModel(path: string, options: LoadOptions): LoadedModel {
  const folder = openFolder(path);
  const model = loadWeights(folder, options);
  try {
    return { model, folder, tokenizer: folder.tokenizer() };
  } catch (e) {
    model.dispose();
    throw e;
  }
}

/** The model of an open folder, without a tokenizer. */
export function loadWeights(folder: ModelFolder, options: LoadOptions): LanguageModel {
  const file = `${folder.path}/config.json`;
  const family = familyOf(folder.config, file);
  const config = family.parse(folder.config, file);
  using files = new FolderParameters(folder.weights(), family, config, quantizationOf(config, file));
  return buildModel(present(config, files), files, folder.path, options);
}

/** The quantization that a config.json tells of. @throws ModelConfigError for one that is not built */
function quantizationOf(config: ModelConfig, file: string): Quantization | undefined {
  const q = config.raw["quantization_config"] as Record<string, unknown> | null | undefined;
  if (q == null) return undefined;
  const { quant_method: method, bits, group_size: groupSize } = q;
  if (method !== "vexil")
    throw new ModelConfigError(
      `${file}: weights quantized by ${JSON.stringify(method)} are not supported; take the unquantized model, and vexil quantize`,
    );
  if ((bits !== 4 && bits !== 8) || !Number.isInteger(groupSize) || (groupSize as number) < 0)
    throw new ModelConfigError(`${file}: quantization_config: bits ${bits}, group_size ${groupSize}`);
  return { bits, groupSize: groupSize as number };
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

/** Makes a model of parameters from files. @param path what to call them in errors */
export function buildModel(
  config: ModelConfig,
  files: ParameterFiles,
  path: string,
  options: LoadOptions,
): LanguageModel {
  const { device, dtype, requiresGrad } = options;
  const made: Tensor[] = [];
  const upload = (t: TensorBytes): Tensor => {
    const p = fromBytes(t.data, t.shape, t.dtype, device);
    made.push(p);
    return p;
  };
  const floats = (t: TensorBytes, name: string): Tensor => {
    if (DTYPES[t.dtype].kind !== "float" || DTYPES[t.dtype].bytes < 2)
      throw new ModelFolderError(`${path}: tensor "${name}" has dtype ${t.dtype}, not f32, f16 or bf16`);
    if (dtype === undefined || dtype === t.dtype) return upload(t);
    const p = noGrad(() =>
      scope(() => callOperator("_to_copy", fromBytes(t.data, t.shape, t.dtype, device), { dtype }) as Tensor),
    );
    made.push(p);
    return p;
  };
  const make: MakeParameter = Object.assign(
    (name: string, shape: readonly number[]) => {
      const p = floats(files.read(name, shape), name);
      return requiresGrad ? p.requiresGrad_() : p;
    },
    {
      integers(name: string, shape: readonly [number, number]) {
        const q = files.integers(name, shape);
        if (!q) return undefined;
        if (requiresGrad)
          throw new ModelFolderError(
            `${path}: integer weights cannot be trained; continue from the model before vexil quantize`,
          );
        return {
          packed: upload(q.packed),
          scales: upload(q.scales),
          zeros: q.zeros && upload(q.zeros),
          groupSize: q.groupSize,
        };
      },
    },
  );
  try {
    return new LanguageModel(config, make);
  } catch (e) {
    for (const t of made) t.dispose();
    throw e;
  }
}

/**
 * A model with random weights from a seed: normal with the config's `initializer_range`, norms at one, biases at zero.
 * @param raw the fields of a `config.json`
 */
export function createModel(
  raw: Readonly<Record<string, unknown>>,
  options: { device: string; seed: number },
): LanguageModel {
  const file = "model.config";
  // Training has one loss, the next token's.
  const config: ModelConfig = { ...familyOf(raw, file).parse(raw, file), predictLayers: 0 };
  const generator = new Generator(options.seed);
  const { device } = options;
  return new LanguageModel(config, (_name, shape, init) => {
    const t =
      init === "ones"
        ? ones(shape, { dtype: "f32", device })
        : init === "zeros"
          ? zeros(shape, { dtype: "f32", device })
          : normal(0, config.initializerRange, shape, { generator, dtype: "f32", device });
    return t.requiresGrad_();
  });
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
  const dtype = TORCH_DTYPE[model.model.embedTokens.weight.dtype];
  const named = ["dtype", "torch_dtype"].filter((key) => key in raw);
  return { ...raw, ...Object.fromEntries(named.map((key) => [key, dtype])) };
}

/** Saves a model as a Hugging Face folder that `transformers` loads too. */
export async function saveModel(path: string, model: LanguageModel, tokenizer: TextTokenizer): Promise<void> {
  const eos = tokenizer.eosIds[0] ?? null;
  const { config } = model;
  saveFolder(path, {
    config: rawConfig(model),
    generation: { eos_token_id: eos },
    tokenizer,
    tensors: toFiles(familyOf(config.raw, "config.json"), config, await readTensors(model.namedParameters())),
  });
}
