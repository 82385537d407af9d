// Low-rank adapters of whole models: put on linear layers, written to and read from folders in the form of Hugging Face's PEFT
// (adapter_config.json and adapter_model.safetensors), and merged into the weights they belong to.

import * as fs from "node:fs";
import { join } from "node:path";
import { f32, Linear, LoraAdapter } from "../nn/index.js";
import { add, matmul, mul } from "../ops/index.js";
import { Generator, scope } from "../runtime/index.js";
import { fromBytes, noGrad, type Tensor } from "../tensor/index.js";
import { familyOf } from "./families/index.js";
import { storedAs } from "./family.js";
import { ModelFolderError, readJson, Weights, writeAtomic } from "./folder.js";
import { safetensorsChunks, type TensorBytes } from "./safetensors.js";
import type { LanguageModel } from "./transformer.js";

export interface LoraOptions {
  readonly rank: number;
  /** What adapters add is multiplied by `alpha / rank`. */
  readonly alpha: number;
  readonly dropout: number;
  /** Names of linear layers, ours or those of the family's files; absent: all but the output matrix. */
  readonly targets?: readonly string[] | undefined;
}

/** The linear layers of a model that may have adapters: by the names of the family's files. */
function linearLayers(model: LanguageModel): Map<string, { readonly layer: Linear; readonly name: string }> {
  const family = familyOf(model.config.raw, "config.json");
  const out = new Map<string, { layer: Linear; name: string }>();
  for (const [name, layer] of model.namedModules()) {
    if (!(layer instanceof Linear) || name === "lm_head") continue;
    const stored = storedAs(family, model.config, `${name}.weight`, layer.weight?.shape ?? []);
    if ("name" in stored) out.set(stored.name.replace(/\.weight$/, ""), { layer, name });
  }
  return out;
}

const lastOf = (name: string): string => name.slice(name.lastIndexOf(".") + 1);

/**
 * Puts adapters on a model's linear layers and freezes everything else.
 * @param base the folder that the model comes from, which adapters name when they are saved
 * @returns the adapters' parameters by the names of PEFT's files
 * @throws RangeError for a target that the model has no layer of
 */
export function attachLora(
  model: LanguageModel,
  options: LoraOptions,
  { base, seed }: { base: string; seed: number },
): Map<string, Tensor> {
  const { rank, alpha, dropout, targets } = options;
  const layers = linearLayers(model);
  const matches = (target: string, stored: string, name: string): boolean =>
    [lastOf(stored), lastOf(name), stored, name].includes(target);
  for (const target of targets ?? [])
    if (![...layers].some(([stored, { name }]) => matches(target, stored, name)))
      throw new RangeError(
        `lora.targets: the model has no linear layer "${target}"; it has ${[...new Set([...layers.keys()].map(lastOf))].join(", ")}`,
      );
  for (const p of model.parameters()) p.requiresGrad_(false);
  const generator = new Generator(seed);
  const adapters: LoraAdapter[] = [];
  for (const [stored, { layer, name }] of layers) {
    if (targets && !targets.some((t) => matches(t, stored, name))) continue;
    layer.adapter = new LoraAdapter(layer.weight!, { rank, scale: alpha / rank, dropout }, generator);
    adapters.push(layer.adapter);
  }
  model.lora = { base, adapters };
  return adapterParameters(model);
}

const fileName = (stored: string, part: "A" | "B"): string =>
  `base_model.model.${stored}.lora_${part}.weight`;

/** The parameters of a model's adapters by the names of PEFT's files. */
export function adapterParameters(model: LanguageModel): Map<string, Tensor> {
  const out = new Map<string, Tensor>();
  for (const [stored, { layer }] of linearLayers(model)) {
    if (!layer.adapter) continue;
    out.set(fileName(stored, "A"), layer.adapter.loraA);
    out.set(fileName(stored, "B"), layer.adapter.loraB);
  }
  return out;
}

/** Writes a model's adapters as a PEFT folder. */
export async function saveAdapter(path: string, model: LanguageModel): Promise<void> {
  const layers = [...linearLayers(model)].filter(([, { layer }]) => layer.adapter);
  const { rank, scale, dropout } = layers[0]![1].layer.adapter!.shape;
  const tensors = new Map<string, TensorBytes>();
  for (const [name, t] of adapterParameters(model))
    tensors.set(name, { dtype: t.dtype, shape: t.shape, data: await t.bytes() });
  fs.mkdirSync(path, { recursive: true });
  writeAtomic(join(path, "adapter_model.safetensors"), safetensorsChunks(tensors));
  const config = {
    peft_type: "LORA",
    task_type: "CAUSAL_LM",
    base_model_name_or_path: model.lora!.base,
    r: rank,
    lora_alpha: scale * rank,
    lora_dropout: dropout,
    target_modules: [...new Set(layers.map(([stored]) => lastOf(stored)))].sort(),
    // GPT-2's layers hold their matrices the other way round.
    fan_in_fan_out: familyOf(model.config.raw, "config.json").transposed !== undefined,
    bias: "none",
    use_rslora: false,
    use_dora: false,
    inference_mode: true,
  };
  writeAtomic(join(path, "adapter_config.json"), [`${JSON.stringify(config, null, 2)}\n`]);
}

/** Whether a setting is absent, or says that something is not there. */
const isOff = (v: unknown): boolean =>
  v == null || v === false || v === "none" || (typeof v === "object" && Object.keys(v).length === 0);

interface AdapterConfig {
  readonly scale: number;
  readonly rank: number;
  /** The model that they were made for. */
  readonly base: unknown;
}

/** What a PEFT folder says of its adapters. @throws ModelFolderError for what is not built */
function readAdapterConfig(path: string): AdapterConfig {
  const file = join(path, "adapter_config.json");
  const c = readJson(file) as Record<string, unknown>;
  const { peft_type: type, r, lora_alpha: alpha } = c;
  if (type !== "LORA")
    throw new ModelFolderError(
      `${file}: adapters of the kind ${JSON.stringify(type)} are not supported, only LORA`,
    );
  for (const key of ["use_dora", "bias", "modules_to_save", "rank_pattern", "alpha_pattern"])
    if (!isOff(c[key]))
      throw new ModelFolderError(`${file}: ${key} ${JSON.stringify(c[key])} is not supported`);
  if (!(Number.isInteger(r) && (r as number) > 0 && typeof alpha === "number"))
    throw new ModelFolderError(`${file}: r ${r} and lora_alpha ${alpha} must be numbers`);
  const rank = r as number;
  const scale = alpha / (c["use_rslora"] === true ? Math.sqrt(rank) : rank);
  return { rank, scale, base: c["base_model_name_or_path"] };
}

/** Reads adapters that a run wrote into those on a model. @throws ModelFolderError when they do not fit */
export function loadAdapter(model: LanguageModel, path: string): void {
  const written = readAdapterConfig(path);
  const { rank, scale } = model.lora!.adapters[0]!.shape;
  if (written.rank !== rank || written.scale !== scale)
    throw new ModelFolderError(
      `${path}: its adapters have rank ${written.rank} and alpha ${written.scale * written.rank}, those to go on with rank ${rank} and alpha ${scale * rank}`,
    );
  const file = join(path, "adapter_model.safetensors");
  using weights = new Weights([file]);
  const parameters = adapterParameters(model);
  const extra = weights.names.find((name) => !parameters.has(name));
  if (extra !== undefined)
    throw new ModelFolderError(`${file}: tensor "${extra}" belongs to no layer that adapters are put on`);
  noGrad(() => {
    for (const [name, t] of parameters) {
      const { data, dtype, shape } = weights.read(name, t.shape, "the model asks");
      using fresh = fromBytes(data, shape, dtype, t.device);
      t.copy_(fresh);
    }
  });
}

/**
 * Adds the adapters of a PEFT folder to a model's weights: `W + alpha / r * B A`, computed in f32.
 * @throws ModelFolderError when an adapter has no layer, or another shape than it
 */
export function mergeAdapter(model: LanguageModel, path: string): void {
  const { rank, scale, base } = readAdapterConfig(path);
  const file = join(path, "adapter_model.safetensors");
  using weights = new Weights([file]);
  if (weights.names.length === 0) throw new ModelFolderError(`${file}: there are no adapters in it`);
  const left = new Set(weights.names);
  const made = base === undefined ? "" : ` (they were made for ${base})`;
  const asks = `the model${made} and r ${rank} in adapter_config.json ask`;
  const { device } = model;
  for (const [stored, { layer }] of linearLayers(model)) {
    const [a, b] = [fileName(stored, "A"), fileName(stored, "B")];
    const [hasA, hasB] = [left.delete(a), left.delete(b)];
    if (!hasA && !hasB) continue;
    const { weight } = layer;
    if (!weight)
      throw new ModelFolderError(
        `${path}: adapters cannot be merged into integer weights; merge first, then vexil quantize`,
      );
    const [outFeatures, inFeatures] = weight.shape as [number, number];
    noGrad(() =>
      scope(() => {
        const read = (name: string, shape: readonly number[]) => {
          const t = weights.read(name, shape, asks);
          return f32(fromBytes(t.data, t.shape, t.dtype, device));
        };
        const delta = matmul(read(b, [outFeatures, rank]), read(a, [rank, inFeatures]));
        weight.copy_(add(f32(weight), mul(delta, scale)));
      }),
    );
  }
  const [unknown] = left;
  if (unknown !== undefined)
    throw new ModelFolderError(`${file}: tensor "${unknown}" belongs to no linear layer of the model${made}`);
}
