// Tables of rotary position embeddings, in the half-split layout of Hugging Face's models.

import { arange, cat, cos, indexSelect, mul, sin } from "../ops/index.js";
import { scope } from "../runtime/index.js";
import { keep, noGrad, type Tensor, tensor } from "../tensor/index.js";
import { frequencies, type RopeConfig } from "./rope-config.js";

export interface RopeTables {
  /** `[positions, dim / 2]` f32 */
  readonly cos: Tensor;
  readonly sin: Tensor;
}

/** The cosines and sines of positions `first` and those after it. */
function makeTables(c: RopeConfig, first: number, count: number, length: number, device: string): RopeTables {
  return noGrad(() =>
    scope(() => {
      const frequency = tensor(frequencies(c, length), { shape: [c.dim / 2], device });
      const position = arange(first, first + count, 1, { dtype: "f32", device }).unsqueeze(1);
      const angle = mul(position, frequency);
      const by = c.type === "yarn" ? c.attentionFactor : 1;
      return by === 1
        ? { cos: cos(angle), sin: sin(angle) }
        : { cos: mul(cos(angle), by), sin: mul(sin(angle), by) };
    }),
  );
}

/** Makes a model's tables and keeps them between calls. */
export class Rope {
  #kept: RopeTables | undefined;
  /** Shorter ones than those: captured steps read them. Together they are no larger. */
  readonly #earlier: RopeTables[] = [];
  constructor(
    readonly config: RopeConfig,
    readonly device: string,
  ) {}

  /** The rows of `count` tokens that follow `past` others. */
  at(past: number, count: number): RopeTables {
    const { config, device } = this;
    const length = past + count;
    // Beyond the trained length every length has frequencies of its own.
    if (config.type === "dynamic" && length > config.original)
      return makeTables(config, past, count, length, device);
    if (!this.#kept || this.#kept.cos.shape[0]! < length) {
      const size = Math.min(config.maxPositions, Math.max(64, 2 ** Math.ceil(Math.log2(length))));
      if (this.#kept) this.#earlier.push(this.#kept);
      const kept = makeTables(config, 0, size, 0, device);
      this.#kept = { cos: keep(kept.cos), sin: keep(kept.sin) };
    }
    return { cos: this.#kept.cos.narrow(0, past, count), sin: this.#kept.sin.narrow(0, past, count) };
  }

  /**
   * The rows of tokens of several sequences, one behind the other.
   * @param positions i64 `[tokens]`: where each token stands in its sequence
   * @param parts what stands before each sequence's tokens, and how many they are
   */
  among(positions: Tensor, parts: readonly { readonly past: number; readonly count: number }[]): RopeTables {
    const longest = Math.max(...parts.map((p) => p.past + p.count));
    if (this.config.type === "dynamic" && longest > this.config.original) {
      const each = parts.map((p) => this.at(p.past, p.count));
      return {
        cos: cat(
          each.map((t) => t.cos),
          0,
        ),
        sin: cat(
          each.map((t) => t.sin),
          0,
        ),
      };
    }
    const { cos: c, sin: s } = this.at(0, longest);
    return { cos: indexSelect(c, 0, positions), sin: indexSelect(s, 0, positions) };
  }

  dispose(): void {
    for (const t of [...this.#earlier.splice(0), ...(this.#kept ? [this.#kept] : [])]) {
      t.cos.dispose();
      t.sin.dispose();
    }
    this.#kept = undefined;
  }
}
