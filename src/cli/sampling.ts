// The flags that commands share: those of sampling with the request they make, and the dtype that a model is loaded in.

import * as z from "zod";
import { MODEL_DTYPES, type ModelDType } from "../models/load.js";
import { ACTIVATION_DTYPES } from "../nn/index.js";
import type { EngineOptions, GenerateRequest, Prompt } from "../serve/index.js";

/** The flag of every command that loads a model. */
export const dtypeFlag = z
  .enum(["keep", ...MODEL_DTYPES])
  .default("keep")
  .describe("what a model's floats become on load; keep: as they are stored");

/** The dtype that the flag asks for, as options take it. */
export const dtypeOf = (f: { readonly dtype: z.infer<typeof dtypeFlag> }): { dtype?: ModelDType } =>
  f.dtype === "keep" ? {} : { dtype: f.dtype };

/** How prompts are computed by models of integers. */
export const promptActivationsFlag = z
  .enum(ACTIVATION_DTYPES)
  .default("keep")
  .describe("what activations of prompts become where weights are integers; int8: faster, less exact");

export const samplingFlags = {
  maxTokens: z
    .number()
    .int()
    .positive()
    .optional()
    .describe("most tokens to make (default: what the context holds)"),
  temperature: z.number().min(0).max(2).default(0).describe("0 takes the most likely token each time"),
  topP: z.number().gt(0).max(1).default(1).describe("keep the most likely tokens up to this probability"),
  topK: z.number().int().min(0).default(0).describe("keep this many most likely tokens; 0 keeps all"),
  seed: z.number().int().optional().describe("the same seed gives the same text"),
  chip: z.string().optional().describe("the chip to run on"),
  adapter: z.string().optional().describe("a folder of low-rank adapters (PEFT) to add to the weights"),
  dtype: dtypeFlag,
  promptActivations: promptActivationsFlag,
};

type Flags = z.infer<z.ZodObject<typeof samplingFlags>>;

/** What the engine is started with. */
export const engineOf = (
  model: string,
  { chip, adapter, dtype, promptActivations }: Flags,
): EngineOptions => ({
  model,
  promptActivations,
  ...dtypeOf({ dtype }),
  ...(chip ? { chip } : {}),
  ...(adapter ? { adapter } : {}),
});

export function requestOf(prompt: Prompt, f: Flags): GenerateRequest {
  return {
    prompt,
    temperature: f.temperature,
    topP: f.topP,
    topK: f.topK,
    stop: [],
    ...(f.maxTokens !== undefined ? { maxTokens: f.maxTokens } : {}),
    ...(f.seed !== undefined ? { seed: f.seed } : {}),
  };
}

/** An abort signal for Ctrl-C; `release` gives Ctrl-C its usual meaning back. */
export function interruptible(): { signal: AbortSignal; release: () => void } {
  const abort = new AbortController();
  const onInterrupt = () => abort.abort(new Error("interrupted"));
  process.once("SIGINT", onInterrupt);
  return { signal: abort.signal, release: () => process.off("SIGINT", onInterrupt) };
}
