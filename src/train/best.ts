// The best evaluation so far, and when a run has waited long enough for a better one. Pure bookkeeping.

/** As it stands in a checkpoint. */
export interface BestState {
  /** The evaluation with the lowest loss: the one whose checkpoint stays. */
  readonly step: number;
  readonly loss: number;
  /** The loss that the next ones must be lower than by `min_delta`; checkpoints of old have none, and mean `loss`. */
  readonly mark?: number;
  /** Evaluations since one was. */
  readonly waited: number;
}

/**
 * Follows the evaluation's loss.
 *
 * @example
 * const best = new Best({ patience: 3, min_delta: 0.01 });
 * best.see(100, 2.5); // true
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

  /** Takes the loss of an evaluation; says whether it is the lowest so far. A loss that is no number never is. */
  see(step: number, loss: number): boolean {
    const before = this.#state;
    if (before === undefined) {
      if (!Number.isNaN(loss)) this.#state = { step, loss, mark: loss, waited: 0 };
      return this.#state !== undefined;
    }
    const lowest = loss < before.loss;
    const mark = before.mark ?? before.loss;
    const better = loss < mark - this.#delta;
    this.#state = {
      step: lowest ? step : before.step,
      loss: lowest ? loss : before.loss,
      mark: better ? loss : mark,
      waited: better ? 0 : before.waited + 1,
    };
    return lowest;
  }
}
