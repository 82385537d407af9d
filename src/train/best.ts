// The best evaluation so far, and when a run has waited long enough for a better one. Pure bookkeeping.

/** As it stands in a checkpoint. */
export interface BestState {
  readonly step: number;
  readonly loss: number;
  /** Evaluations since then. */
  readonly waited: number;
}

/**
 * Follows the evaluation's loss.
 *
 * @example
 * const best = new Best({ patience: 3, min_delta: 0.01 });
 * best.see(100, 2.5).better; // true
 */
export class Best {
  #state: BestState | undefined;
  readonly #patience: number;
  readonly #delta: number;

  /** @param stopping absent: no run is ever ended */
  constructor(stopping: { patience: number; min_delta: number } | undefined, state?: BestState) {
    this.#patience = stopping?.patience ?? Number.POSITIVE_INFINITY;
    this.#delta = stopping?.min_delta ?? 0;
    this.#state = state;
  }

  get state(): BestState | undefined {
    return this.#state;
  }

  /** Whether the run has waited long enough. */
  get exhausted(): boolean {
    return (this.#state?.waited ?? 0) >= this.#patience;
  }

  /** Takes the loss of an evaluation; says whether it is the best. A loss that is no number never is. */
  see(step: number, loss: number): boolean {
    const before = this.#state;
    const better = before === undefined ? !Number.isNaN(loss) : loss < before.loss - this.#delta;
    if (better) this.#state = { step, loss, waited: 0 };
    else if (before) this.#state = { ...before, waited: before.waited + 1 };
    return better;
  }
}
