// AdamW (Loshchilov and Hutter, 2019) and the clipping of gradients, as PyTorch computes them.

import { adamwRates, adamwSteps_, clipCoefficient, zerosLike } from "../ops/index.js";
import { callOperator, keep, noGrad, type Tensor } from "../tensor/index.js";

export interface AdamWOptions {
  readonly betas: readonly [number, number];
  readonly eps: number;
  /** Applied to parameters that `decays` accepts. */
  readonly weightDecay: number;
  /** By default those of two or more dimensions; PyTorch's own default is all. */
  readonly decays?: (name: string, parameter: Tensor) => boolean;
  /**
   * Keeps an f32 copy of every parameter of a half type, which the updates go to; the parameter is its rounding
   * (Micikevicius et al., 2018, "Mixed precision training"). Its gradients are added up in f32 too.
   */
  readonly masterWeights?: boolean;
}

/** How gradients are clipped: their common norm before it, and what they are multiplied by; 0-dimensional f32. */
export interface Clip {
  readonly norm: Tensor;
  readonly scale: Tensor;
}

const isHalf = (p: Tensor): boolean => p.dtype === "bf16" || p.dtype === "f16";

interface Moments {
  readonly m: Tensor;
  readonly v: Tensor;
  /** The parameter in f32, where it is of a half type and master weights are kept. */
  readonly master: Tensor | undefined;
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
    if (options.masterWeights) for (const p of parameters.values()) if (isHalf(p)) p.gradDType = "f32";
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
   * @param learningRate the step's learning rate; or what {@link rates} gives as a tensor f32 `[3]`, which a captured step reads anew at
   *   each replay
   * @param clip the most that the gradients' common norm may be, or what they are multiplied by ({@link clip})
   * @returns the norm of all gradients before clipping (f32, 0-dimensional), if the most was given
   */
  step(learningRate: number | Tensor, clip?: number | Tensor): Tensor | undefined {
    return noGrad(() => {
      const { betas, eps, weightDecay, decays = (_n, p) => p.ndim >= 2 } = this.#options;
      this.steps++;
      const live = [...this.#parameters].filter(([, p]) => p.grad !== null);
      const clipped = typeof clip === "number" ? this.clip(clip) : undefined;
      const moments = live.map(([name, p]) => this.#moments(name, p));
      adamwSteps_(
        live.map(([, p], i) => moments[i]!.master ?? p),
        live.map(([, p]) => p.grad!),
        moments.map(({ m }) => m),
        moments.map(({ v }) => v),
        {
          lr: typeof learningRate === "number" ? learningRate : 0,
          beta1: betas[0],
          beta2: betas[1],
          eps,
          weightDecay: live.map(([name, p]) => (decays(name, p) ? weightDecay : 0)),
          step: this.steps,
          gradScale: clipped?.scale ?? (clip as Tensor | undefined),
          rates: typeof learningRate === "number" ? undefined : learningRate,
        },
      );
      live.forEach(([, p], i) => {
        const { master } = moments[i]!;
        if (master) p.copy_(master);
      });
      return clipped?.norm;
    });
  }

  /** What a step reads that is not captured with its numbers: for the learning rate and the number of the step, from 1. */
  rates(learningRate: number, step: number): Float32Array {
    const [beta1, beta2] = this.#options.betas;
    return adamwRates(learningRate, beta1, beta2, step);
  }

  #moments(name: string, p: Tensor): Moments {
    let s = this.#state.get(name);
    if (!s) {
      const zeros = () => keep(zerosLike(p, { dtype: "f32" }));
      const copied = this.#options.masterWeights === true && isHalf(p);
      const master = copied
        ? keep(callOperator("_to_copy", p.detach(), { dtype: "f32" }) as Tensor)
        : undefined;
      s = { m: zeros(), v: zeros(), master };
      this.#state.set(name, s);
    }
    return s;
  }

  /** The optimizer's tensors by name (`exp_avg.NAME`, `exp_avg_sq.NAME`, `master.NAME`), for checkpoints. */
  stateTensors(): Map<string, Tensor> {
    const out = new Map<string, Tensor>();
    for (const [name, p] of this.#parameters) {
      const { m, v, master } = this.#moments(name, p);
      out.set(`exp_avg.${name}`, m);
      out.set(`exp_avg_sq.${name}`, v);
      if (master) out.set(`master.${name}`, master);
    }
    return out;
  }

  /** Frees the optimizer's memory. */
  dispose(): void {
    for (const { m, v, master } of this.#state.values()) for (const t of [m, v, master]) t?.dispose();
    this.#state.clear();
  }
}
