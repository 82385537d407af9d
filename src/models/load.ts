// From a folder to a model on a chip and back: the table of families, parameters from files or from a seed.

import { DTYPES } from "../compiler/ir/dtype.js";
import type { MakeParameter } from "../nn/index.js";
import { normal, ones, zeros } from "../ops/index.js";
import { Generator } from "../runtime/index.js";
import { fromBytes, type Tensor } from "../tensor/index.js";
import { ModelConfigError, modelType, type Qwen3Config, qwen3Config } from "./config.js";
import { type ModelFolder, ModelFolderError, openFolder, saveFolder } from "./folder.js";
import { Qwen3 } from "./qwen3.js";
import type { TensorBytes } from "./safetensors.js";
import type { TextTokenizer } from "./tokenizer.js";

/** A causal language model of any family. */
export type LanguageModel = Qwen3;

interface Family {
  readonly parse: (raw: unknown, file?: string) => Qwen3Config;
  readonly make: (config: Qwen3Config, make: MakeParameter) => LanguageModel;
}

/** Every family that is built, by the `model_type` of its config.json. */
const FAMILIES: Readonly<Record<string, Family>> = {
  qwen3: { parse: qwen3Config, make: (c, make) => new Qwen3(c, make) },
};

export const supportedFamilies = (): string[] => Object.keys(FAMILIES);

function familyOf(raw: unknown, file: string): Family {
  const type = modelType(raw, file);
  const family = FAMILIES[type];
  if (!family)
    throw new ModelConfigError(
      `${file}: the model family "${type}" is not supported (supported: ${supportedFamilies().join(", ")})`,
    );
  return family;
}

export interface LoadedModel {
  readonly model: LanguageModel;
  readonly folder: ModelFolder;
  readonly tokenizer: TextTokenizer;
}

/**
 * Loads a Hugging Face folder.
 * @param options.device the chip that holds the weights
 * @param options.requiresGrad whether the parameters want gradients (for training)
 * @throws ModelFolderError, ModelConfigError, SafetensorsError naming the file
 */
export function loadModel(path: string, options: { device: string; requiresGrad?: boolean }): LoadedModel {
  const folder = openFolder(path);
  const file = `${path}/config.json`;
  const family = familyOf(folder.config, file);
  const config = family.parse(folder.config, file);
  using weights = folder.weights();
  const made: Tensor[] = [];
  try {
    const model = family.make(config, (name, shape) => {
      const t = weights.read(name, shape);
      if (DTYPES[t.dtype].kind !== "float")
        throw new ModelFolderError(`${path}: tensor "${name}" has dtype ${t.dtype}, not a float`);
      const p = fromBytes(t.data, t.shape, t.dtype, options.device);
      made.push(p);
      return options.requiresGrad ? p.requiresGrad_() : p;
    });
    return { model, folder, tokenizer: folder.tokenizer() };
  } catch (e) {
    for (const t of made) t.dispose();
    throw e;
  }
}

/**
 * A model with random weights from a seed: normal with the config's `initializer_range`, norms at one.
 * @param raw the fields of a `config.json`
 */
export function createModel(
  raw: Readonly<Record<string, unknown>>,
  options: { device: string; seed: number },
): LanguageModel {
  const family = familyOf(raw, "model.config");
  const config = family.parse(raw, "model.config");
  const generator = new Generator(options.seed);
  const { device } = options;
  return family.make(config, (_name, shape, init) => {
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

/** Saves a model as a Hugging Face folder that `transformers` loads too. */
export async function saveModel(path: string, model: LanguageModel, tokenizer: TextTokenizer): Promise<void> {
  const eos = tokenizer.eosIds[0] ?? null;
  saveFolder(path, {
    config: model.config.raw,
    generation: { eos_token_id: eos },
    tokenizer,
    tensors: await readTensors(model.namedParameters()),
  });
}
