// What a family of models says about itself: how its config.json reads, and what its files call the parameters.

import type { ModelConfig } from "./config.js";

/** Where a parameter stands in files. */
export type Stored =
  /** One tensor; `transposed`: the files hold `[in, out]`. */
  | { readonly name: string; readonly transposed?: boolean }
  /** One tensor for each row of the first dimension. */
  | { readonly stack: readonly string[] };

export interface Family {
  /** `model_type` of its config.json. */
  readonly type: string;
  /** The class that `transformers` loads it with. */
  readonly architecture: string;
  /** @throws ModelConfigError naming `file` and the fields */
  readonly parse: (raw: unknown, file: string) => ModelConfig;
  /** What files call a module (`#` for a layer's number) where that is not what the model calls it. */
  readonly names?: Readonly<Record<string, string>>;
  /** Modules whose weight stands in the files as `[in, out]`. */
  readonly transposed?: readonly string[];
  /** What may stand before, or be missing before, all names of a file. */
  readonly prefix?: string;
}

const EXPERTS = /^(.*\.experts)\.(gate_proj|up_proj|down_proj)$/;
const PREDICT = /^predict\.(\d+)\.(?:(enorm|hnorm|eh_proj|norm)|layer\.(.*))\.(weight|bias|[a-z_]+)$/;

/** Where a parameter stands in a Hugging Face folder of the family. */
export function storedAs(
  family: Family,
  config: ModelConfig,
  name: string,
  shape: readonly number[],
): Stored {
  const plain = behindTheLast(config, name);
  const experts = EXPERTS.exec(plain);
  if (experts)
    return {
      stack: Array.from({ length: shape[0]! }, (_, e) => `${experts[1]}.${e}.${experts[2]}.weight`),
    };
  const at = plain.lastIndexOf(".");
  const module = plain.slice(0, at);
  const layer = /(?<=\.)\d+(?=\.)/.exec(module)?.[0] ?? "";
  const pattern = layer === "" ? module : module.replace(`.${layer}.`, ".#.");
  const known = family.names?.[pattern];
  const stored = (known ?? pattern).replace("#", layer) + plain.slice(at);
  return family.transposed?.includes(pattern) && plain.endsWith(".weight")
    ? { name: stored, transposed: true }
    : { name: stored };
}

/** Layers that predict further tokens are numbered on from the last one, and have a norm with a name of its own. */
function behindTheLast(config: ModelConfig, name: string): string {
  const m = PREDICT.exec(name);
  if (!m) return name;
  const layer = `model.layers.${config.mlps.length + Number(m[1])}`;
  return `${layer}.${m[2] === "norm" ? "shared_head.norm" : (m[2] ?? m[3])}.${m[4]}`;
}
