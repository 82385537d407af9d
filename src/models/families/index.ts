// The table of families: all that are built, by the `model_type` of their config.json.

import { ModelConfigError, modelType } from "../config.js";
import type { Family } from "../family.js";
import { aquila } from "./aquila.js";
import { bert } from "./bert.js";
import { deepseekV3 } from "./deepseek-v3.js";
import { gpt2 } from "./gpt2.js";
import { llama } from "./llama.js";
import { mistral } from "./mistral.js";
import { qwen2 } from "./qwen2.js";
import { qwen3 } from "./qwen3.js";
import { qwen3Moe } from "./qwen3-moe.js";

const FAMILIES: ReadonlyMap<string, Family> = new Map(
  [llama, qwen2, qwen3, qwen3Moe, deepseekV3, mistral, aquila, gpt2, bert].map((f) => [f.type, f]),
);

export const supportedFamilies = (): string[] => [...FAMILIES.keys()];

/** The family that a parsed config.json names. @throws ModelConfigError naming `file` */
export function familyOf(raw: unknown, file: string): Family {
  const type = modelType(raw, file);
  const family = FAMILIES.get(type);
  if (!family)
    throw new ModelConfigError(
      `${file}: the model family "${type}" is not supported (supported: ${supportedFamilies().join(", ")})`,
    );
  return family;
}
