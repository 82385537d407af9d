// The configuration of a training run: one schema, from which checks, defaults, types and the reference in
// docs are derived. Reading the YAML file is here too; running is `trainer.ts`.

import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parseDocument } from "yaml";
import * as z from "zod";
import { didYouMean } from "../compiler/nearest.js";
import { PRESETS } from "../models/presets.js";
import { RECOMPUTE } from "../models/training.js";

/** A configuration that cannot be used; the message names the file and the key. */
export class ConfigError extends Error {
  override name = "ConfigError";
}

const count = z.number().int().positive();
const rate = z.number().min(0).lt(1);

/** What a run may compute in. */
export const TRAIN_DTYPES = ["f32", "bf16"] as const;

export const trainSchema = z.strictObject({
  model: z
    .strictObject({
      folder: z.string().optional().describe("a Hugging Face folder or a GGUF file to continue from"),
      preset: z
        .enum(Object.keys(PRESETS))
        .optional()
        .describe(`a known shape, to start from random weights: ${Object.keys(PRESETS).join(", ")}`),
      config: z
        .union([z.string(), z.record(z.string(), z.unknown())])
        .optional()
        .describe("a config.json or its fields, to start from random weights; beside a preset, what differs"),
    })
    .refine(
      (m) => (m.folder === undefined) !== (m.config === undefined && m.preset === undefined),
      "give either folder, or preset or config",
    ),
  tokenizer: z
    .strictObject({
      folder: z.string().optional().describe("a folder with tokenizer.json; the model's own if absent"),
      characters: z.string().min(1).optional().describe("one token for each of these ASCII characters"),
      train: z
        .strictObject({
          vocab_size: z
            .number()
            .int()
            .min(257)
            .describe("tokens altogether: special ones, 256 bytes, merges"),
          special_tokens: z
            .array(z.string().min(1))
            .default(["<|endoftext|>"])
            .describe("whole tokens that are never cut; the first ends texts"),
        })
        .optional()
        .describe("trains a byte-level BPE on data.train"),
      chat_template: z
        .string()
        .optional()
        .describe("a .jinja file that renders conversations; the tokenizer's own if absent"),
    })
    .default({}),
  data: z.strictObject({
    train: z
      .union([
        z.string(),
        z
          .array(z.union([z.string(), z.strictObject({ path: z.string(), weight: z.number().positive() })]))
          .min(1),
      ])
      .describe(
        "a file (.jsonl, .npy with tokens, or text), a pattern such as docs/**/*.md, or a list of these or of {path, weight}",
      ),
    packed: z
      .boolean()
      .default(false)
      .describe("fill every sequence with documents one behind the other, an end between them"),
    evaluate: z.string().optional().describe("a file of the same form that is never trained on"),
  }),
  output: z.string().describe("the folder that the trained model and the checkpoints go to"),
  steps: count.describe("optimizer steps"),
  batch_size: count.default(32).describe("sequences in a step"),
  sequence_length: count
    .default(128)
    .describe("longest sequence in tokens; plain text is cut into pieces of this length"),
  lora: z
    .strictObject({
      rank: count.default(8).describe("rows of the small matrices"),
      alpha: z.number().positive().default(16).describe("what adapters add is multiplied by alpha / rank"),
      dropout: rate.default(0).describe("share of an adapter's inputs dropped while training"),
      targets: z
        .array(z.string())
        .min(1)
        .optional()
        .describe("names of linear layers, such as q_proj; all but the output matrix if absent"),
    })
    .optional()
    .describe("trains low-rank adapters of a model that stays as it is; `{}` takes the defaults"),
  mtp: z
    .strictObject({
      weight: z
        .number()
        .positive()
        .default(0.3)
        .describe("what the mean of the further tokens' losses is multiplied by"),
    })
    .optional()
    .describe(
      "trains the layers that predict further tokens too (DeepSeek-V3's MTP, num_nextn_predict_layers); `{}` takes the defaults",
    ),
  accumulate: count
    .default(1)
    .describe(
      "parts that a step's sequences are computed in, to save memory; gradients are the whole batch's",
    ),
  dtype: z
    .enum(TRAIN_DTYPES)
    .optional()
    .describe("dtype of weights and activations; if absent, bf16 for a model whose files are bf16, else f32"),
  master_weights: z
    .enum(["f32", "none"])
    .default("f32")
    .describe("whether bf16 weights have f32 copies that the updates go to, and f32 gradients"),
  recompute: z
    .enum(RECOMPUTE)
    .default("none")
    .describe(
      "what is computed again in the backward pass instead of kept: attention and MLPs (selective), or layers (full)",
    ),
  dropout: z
    .strictObject({
      attention: rate.default(0).describe("share of attention weights dropped while training"),
      residual: rate.default(0).describe("share dropped of what attention and MLPs add to hidden states"),
      embedding: rate.default(0).describe("share of the embeddings' elements dropped"),
    })
    .default({ attention: 0, residual: 0, embedding: 0 }),
  learning_rate: z.number().positive().default(1e-3).describe("the highest learning rate"),
  min_learning_rate: z.number().min(0).default(0).describe("the learning rate at the last step"),
  warmup_steps: z.number().int().min(0).default(0).describe("steps over which the learning rate rises"),
  schedule: z
    .enum(["cosine", "linear", "constant", "wsd"])
    .default("cosine")
    .describe(
      "how the learning rate falls after the warm-up; wsd: it stays, and falls at the end (warm-up, stable, decay)",
    ),
  decay_fraction: z
    .number()
    .gt(0)
    .max(1)
    .default(0.1)
    .describe("with wsd: the share of all steps over which the learning rate falls"),
  decay_shape: z
    .enum(["linear", "cosine", "sqrt", "exponential"])
    .default("sqrt")
    .describe("with wsd: how it falls; sqrt is 1 - sqrt(t), exponential needs a min_learning_rate"),
  betas: z
    .tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)])
    .default([0.9, 0.95])
    .describe("AdamW's decay rates"),
  eps: z.number().positive().default(1e-8).describe("AdamW's epsilon"),
  weight_decay: z
    .number()
    .min(0)
    .default(0.1)
    .describe("AdamW's weight decay, on weights of two or more dimensions"),
  clip_grad_norm: z.number().positive().optional().describe("largest norm of all gradients together"),
  skip_spikes: z
    .strictObject({
      factor: z
        .number()
        .gt(1)
        .default(4)
        .describe(
          "a step whose loss or gradient norm is more than this many times the recent median changes nothing",
        ),
      window: z
        .number()
        .int()
        .min(4)
        .default(64)
        .describe("steps that the median is taken over; none is skipped before so many are known"),
      most_in_a_row: count.default(8).describe("skipped steps in a row that end the run"),
    })
    .optional()
    .describe("leaves out the update of steps whose loss is a spike; `{}` takes the defaults"),
  evaluate_every: count
    .optional()
    .describe("steps between two evaluations of the loss on data.evaluate; only at the end if absent"),
  early_stopping: z
    .strictObject({
      patience: count.describe("evaluations without a better loss after which the run ends"),
      min_delta: z.number().min(0).default(0).describe("how much lower a loss must be to count as better"),
    })
    .optional()
    .describe("ends the run when the evaluation gets no better; needs evaluate_every"),
  seed: z.number().int().min(0).default(0).describe("decides the first weights and the order of the data"),
  log_every: count.default(10).describe("steps between two lines of progress in a pipe"),
  save_every: count.optional().describe("steps between two checkpoints; only at the end if absent"),
  keep: count
    .default(1)
    .describe("how many of the newest checkpoints stay; the best evaluated one stays too"),
  deterministic: z
    .boolean()
    .default(false)
    .describe("nothing that was measured decides how it is computed, so that runs repeat bit for bit"),
  chip: z.string().optional().describe("the chip to train on"),
});

/** A checked configuration; paths are absolute, and a new model's shape is there as the fields of a config.json. */
export type TrainConfig = Omit<z.infer<typeof trainSchema>, "model"> & {
  readonly model: {
    readonly folder?: string | undefined;
    readonly config?: Record<string, unknown> | undefined;
  };
};

/** Every key the schema knows, as `a.b`, with its description and default: for docs and error messages. */
export function describeKeys(): { key: string; description: string; fallback: string | undefined }[] {
  const rows: { key: string; description: string; fallback: string | undefined }[] = [];
  const visit = (type: z.ZodType, path: string[]): void => {
    let inner = type;
    let fallback: string | undefined;
    const own = type.description;
    while (inner instanceof z.ZodOptional || inner instanceof z.ZodDefault) {
      if (inner instanceof z.ZodDefault) fallback = JSON.stringify(inner.def.defaultValue);
      inner = inner.def.innerType as z.ZodType;
    }
    if (inner instanceof z.ZodObject && own !== undefined)
      rows.push({ key: path.join("."), description: own, fallback });
    if (inner instanceof z.ZodObject)
      for (const [key, value] of Object.entries(inner.shape)) visit(value as z.ZodType, [...path, key]);
    else
      rows.push({ key: path.join("."), description: type.description ?? inner.description ?? "", fallback });
  };
  visit(trainSchema, []);
  return rows;
}

/**
 * Checks a parsed configuration.
 * @param file its name, for error messages
 * @param folder what relative paths start from
 * @throws ConfigError naming the key; for an unknown key, with the nearest right name
 */
export function parseConfig(raw: unknown, file: string, folder: string): TrainConfig {
  const parsed = trainSchema.safeParse(raw);
  if (!parsed.success) {
    // A mistyped key is often why another one is missing.
    const { issues } = parsed.error;
    const issue = issues.find((i) => i.code === "unrecognized_keys") ?? issues[0]!;
    const path = issue.path.join(".");
    if (issue.code === "unrecognized_keys") {
      const siblings = describeKeys()
        .filter((r) => r.key.startsWith(path ? `${path}.` : ""))
        .map((r) => r.key.slice(path ? path.length + 1 : 0).split(".")[0]!);
      const key = issue.keys[0]!;
      throw new ConfigError(
        `${file}: unknown key "${path ? `${path}.` : ""}${key}"${didYouMean(key, new Set(siblings)) || `; known keys: ${[...new Set(siblings)].join(", ")}`}`,
      );
    }
    throw new ConfigError(`${file}: ${path ? `${path}: ` : ""}${issue.message}`);
  }
  const c = parsed.data;
  const needs = (key: string, given: unknown, other: string, there: unknown) => {
    if (given !== undefined && there === undefined) throw new ConfigError(`${file}: ${key} needs ${other}`);
  };
  needs("evaluate_every", c.evaluate_every, "data.evaluate", c.data.evaluate);
  needs("early_stopping", c.early_stopping, "evaluate_every", c.evaluate_every);
  if (c.schedule === "wsd" && c.decay_shape === "exponential" && c.min_learning_rate === 0)
    throw new ConfigError(`${file}: decay_shape exponential needs a min_learning_rate above 0`);
  const absolute = (p: string | undefined) => (p === undefined ? undefined : resolve(folder, p));
  const { train } = c.data;
  const resolved =
    typeof train === "string"
      ? absolute(train)!
      : train.map((t) => (typeof t === "string" ? absolute(t)! : { ...t, path: absolute(t.path)! }));
  return {
    ...c,
    model: { folder: absolute(c.model.folder), config: shapeOf(c.model, file, folder) },
    tokenizer: {
      ...c.tokenizer,
      folder: absolute(c.tokenizer.folder),
      chat_template: absolute(c.tokenizer.chat_template),
    },
    data: { ...c.data, train: resolved, evaluate: absolute(c.data.evaluate) },
    output: absolute(c.output)!,
  };
}

/** The fields of a new model's config.json; undefined for one that is there. */
function shapeOf(
  { preset, config }: z.infer<typeof trainSchema>["model"],
  file: string,
  folder: string,
): Record<string, unknown> | undefined {
  if (preset === undefined && config === undefined) return undefined;
  const own = typeof config === "string" ? fieldsOf(resolve(folder, config), file) : config;
  if (preset === undefined) return own;
  const known = PRESETS[preset]!;
  // A config.json may hold what nobody reads; what changes a preset, and is nearly called as one of its fields, is meant to be that.
  for (const key of Object.keys(own ?? {})) {
    const meant = key in known ? "" : didYouMean(key, Object.keys(known));
    if (meant) throw new ConfigError(`${file}: model.config: ${preset} has no field "${key}"${meant}`);
  }
  return { ...known, ...own };
}

function fieldsOf(path: string, file: string): Record<string, unknown> {
  const fails = (why: string): never => {
    throw new ConfigError(`${file}: model.config: ${path}: ${why}`);
  };
  const text = readText(path, fails);
  let fields: unknown;
  try {
    fields = JSON.parse(text);
  } catch (e) {
    return fails((e as Error).message);
  }
  return fields !== null && typeof fields === "object" && !Array.isArray(fields)
    ? (fields as Record<string, unknown>)
    : fails("it holds no JSON object");
}

function readText(path: string, fails: (why: string) => never): string {
  try {
    return readFileSync(path, "utf8");
  } catch (e) {
    const { code, message } = e as NodeJS.ErrnoException;
    return fails(code === "ENOENT" ? "there is no such file" : message);
  }
}

/** Reads a YAML file. @throws ConfigError naming the file, and the line where it is not YAML */
export function readConfig(path: string): TrainConfig {
  const text = readText(path, (why) => {
    throw new ConfigError(`${path}: ${why}`);
  });
  const document = parseDocument(text);
  if (document.errors.length > 0) throw new ConfigError(`${path}: ${document.errors[0]!.message}`);
  return parseConfig(document.toJS(), path, dirname(resolve(path)));
}
