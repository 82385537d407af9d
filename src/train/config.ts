// The configuration of a training run: one schema, from which checks, defaults, types and the reference in
// docs are derived. Reading the YAML file is here too; running is `trainer.ts`.

import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parseDocument } from "yaml";
import { z } from "zod";
import { didYouMean } from "../compiler/nearest.js";

/** A configuration that cannot be used; the message names the file and the key. */
export class ConfigError extends Error {
  override name = "ConfigError";
}

const count = z.number().int().positive();

export const trainSchema = z.strictObject({
  model: z
    .strictObject({
      folder: z.string().optional().describe("a Hugging Face folder to continue from"),
      config: z
        .record(z.string(), z.unknown())
        .optional()
        .describe("the fields of a config.json, to start from random weights"),
    })
    .refine((m) => (m.folder === undefined) !== (m.config === undefined), "give either folder or config"),
  tokenizer: z
    .strictObject({
      folder: z.string().optional().describe("a folder with tokenizer.json; the model's own if absent"),
      characters: z.string().min(1).optional().describe("one token for each of these ASCII characters"),
    })
    .default({}),
  data: z.strictObject({
    train: z.string().describe("a .jsonl file of {prompt, completion} or {text}, or a plain text file"),
    evaluate: z.string().optional().describe("a file of the same form that is never trained on"),
  }),
  output: z.string().describe("the folder that the trained model and the checkpoints go to"),
  steps: count.describe("optimizer steps"),
  batch_size: count.default(32).describe("sequences in a step"),
  sequence_length: count
    .default(128)
    .describe("longest sequence in tokens; plain text is cut into pieces of this length"),
  learning_rate: z.number().positive().default(1e-3).describe("the highest learning rate"),
  min_learning_rate: z.number().min(0).default(0).describe("the learning rate at the last step"),
  warmup_steps: z.number().int().min(0).default(0).describe("steps over which the learning rate rises"),
  schedule: z
    .enum(["cosine", "linear", "constant"])
    .default("cosine")
    .describe("how the learning rate falls after the warm-up"),
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
  seed: z.number().int().min(0).default(0).describe("decides the first weights and the order of the data"),
  log_every: count.default(10).describe("steps between two lines of progress in a pipe"),
  save_every: count.optional().describe("steps between two checkpoints; only at the end if absent"),
  chip: z.string().optional().describe("the chip to train on"),
});

/** A checked configuration; paths are absolute. */
export type TrainConfig = z.infer<typeof trainSchema>;

/** Every key the schema knows, as `a.b`, with its description and default: for docs and error messages. */
export function describeKeys(): { key: string; description: string; fallback: string | undefined }[] {
  const rows: { key: string; description: string; fallback: string | undefined }[] = [];
  const visit = (type: z.ZodType, path: string[]): void => {
    let inner = type;
    let fallback: string | undefined;
    while (inner instanceof z.ZodOptional || inner instanceof z.ZodDefault) {
      if (inner instanceof z.ZodDefault) fallback = JSON.stringify(inner.def.defaultValue);
      inner = inner.def.innerType as z.ZodType;
    }
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
    const issue = parsed.error.issues[0]!;
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
  const absolute = (p: string | undefined) => (p === undefined ? undefined : resolve(folder, p));
  return {
    ...c,
    model: { ...c.model, folder: absolute(c.model.folder) },
    tokenizer: { ...c.tokenizer, folder: absolute(c.tokenizer.folder) },
    data: { train: absolute(c.data.train)!, evaluate: absolute(c.data.evaluate) },
    output: absolute(c.output)!,
  };
}

/** Reads a YAML file. @throws ConfigError naming the file, and the line where it is not YAML */
export function readConfig(path: string): TrainConfig {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (e) {
    throw new ConfigError(
      `${path}: ${(e as NodeJS.ErrnoException).code === "ENOENT" ? "there is no such file" : (e as Error).message}`,
    );
  }
  const document = parseDocument(text);
  if (document.errors.length > 0) throw new ConfigError(`${path}: ${document.errors[0]!.message}`);
  return parseConfig(document.toJS(), path, dirname(resolve(path)));
}
