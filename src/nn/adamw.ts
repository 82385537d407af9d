// AdamW (Loshchilov and Hutter, 2019) and the clipping of gradients, as PyTorch computes them.

import { adamwSteps_, clipCoefficient, zerosLike } from "../ops/index.js";
import { keep, noGrad, type Tensor } from "../tensor/index.js";

export interface AdamWOptions {
  readonly betas: readonly [number, number];
  readonly eps: number;
  /** Applied to parameters that `decays` accepts. */
  readonly weightDecay: number;
  /** By default those of two or more dimensions; PyTorch's own default is all. */
  readonly decays?: (name: string, parameter: Tensor) => boolean;
}

/** How gradients are clipped: their common norm before it, and what they are multiplied by; 0-dimensional f32. */
export interface Clip {
  readonly norm: Tensor;
  readonly scale: Tensor;
}

interface Moments {
  readonly m: Tensor;
  readonly v: Tensor;
}

/**
 * Updates parameters from their gradients.
 *
 * @example
 * const optimizer = new AdamW(model.namedParameters(), { betas: [0.9, 0.95], eps: 1e-8, weightDecay: 0.1 });
 * loss.backward();
 * optimizer.step(1e-3);
 * model.zeroGrad();
 */
export class AdamW {
  readonly #parameters: ReadonlyMap<string, Tensor>;
  readonly #options: AdamWOptions;
  readonly #state = new Map<string, Moments>();
  /** Steps taken. */
  steps = 0;

  constructor(parameters: ReadonlyMap<string, Tensor>, options: AdamWOptions) {
    this.#parameters = parameters;
    this.#options = options;
  }

  /** How to scale all gradients so that their common norm is at most `maxNorm`; changes nothing. */
  clip(maxNorm: number): Clip {
    return noGrad(() => {
      const gradients = [...this.#parameters.values()].flatMap((p) => (p.grad === null ? [] : [p.grad]));
      const [norm, scale] = clipCoefficient(gradients, maxNorm);
      return { norm, scale };
    });
  }

  /**
   * One update. Parameters without a gradient stay as they are.
   * @param learningRate the step's learning rate
   * @param clip the most that the gradients' common norm may be, or what they are multiplied by ({@link clip})
   * @returns the norm of all gradients before clipping (f32, 0-dimensional), if the most was given
   */
  step(learningRate: number, clip?: number | Tensor): Tensor | undefined {
    return noGrad(() => {
      const { betas, eps, weightDecay, decays = (_n, p) => p.ndim >= 2 } = this.#options;
      this.steps++;
      const live = [...this.#parameters].filter(([, p]) => p.grad !== null);
      const clipped = typeof clip === "number" ? this.clip(clip) : undefined;
      const moments = live.map(([name, p]) => this.#moments(name, p));
      adamwSteps_(
        live.map(([, p]) => p),
        live.map(([, p]) => p.grad!),
        moments.map(({ m }) => m),
        moments.map(({ v }) => v),
        {
          lr: learningRate,
          beta1: betas[0],
          beta2: betas[1],
          eps,
          weightDecay: live.map(([name, p]) => (decays(name, p) ? weightDecay : 0)),
          step: this.steps,
          gradScale: clipped?.scale ?? (clip as Tensor | undefined),
        },
      );
      return clipped?.norm;
    });
  }

  #moments(name: string, p: Tensor): Moments {
    let s = this.#state.get(name);
    if (!s) {
      s = { m: keep(zerosLike(p, { dtype: "f32" })), v: keep(zerosLike(p, { dtype: "f32" })) };
      this.#state.set(name, s);
    }
    return s;
  }

  /** The optimizer's tensors by name (`exp_avg.NAME`, `exp_avg_sq.NAME`), for checkpoints. */
  stateTensors(): Map<string, Tensor> {
    const out = new Map<string, Tensor>();
    for (const [name, p] of this.#parameters) {
      const { m, v } = this.#moments(name, p);
      out.set(`exp_avg.${name}`, m);
      out.set(`exp_avg_sq.${name}`, v);
    }
    return out;
  }

  /** Frees the optimizer's memory. */
  dispose(): void {
    for (const { m, v } of this.#state.values()) {
      m.dispose();
      v.dispose();
    }
    this.#state.clear();
  }
}
