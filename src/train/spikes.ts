// Which steps are spikes: a loss or a gradient norm far above what recent steps had. Their update is left out, as for
// PaLM (Chowdhery et al., 2022, section 5.1), there by going back and passing over the data. Pure bookkeeping.

/** As it stands in a checkpoint. */
export interface SpikeState {
  /** Of the last steps that changed the weights, the oldest first. */
  readonly losses: readonly number[];
  readonly norms: readonly number[];
  /** Skipped steps since the last that was not. */
  readonly in_a_row: number;
  /** Skipped steps in all. */
  readonly skipped: number;
}

export interface SpikeSettings {
  /** How many times the median is too much. */
  readonly factor: number;
  /** Steps that the median is of. */
  readonly window: number;
}

const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
};

export class SpikeGuard {
  readonly #settings: SpikeSettings;
  #losses: number[];
  #norms: number[];
  inARow: number;
  skipped: number;

  constructor(settings: SpikeSettings, state?: SpikeState) {
    this.#settings = settings;
    // A run may go on with another window.
    this.#losses = state?.losses.slice(-settings.window) ?? [];
    this.#norms = state?.norms.slice(-settings.window) ?? [];
    this.inARow = state?.in_a_row ?? 0;
    this.skipped = state?.skipped ?? 0;
  }

  /** Takes a step's loss and gradient norm. Returns what is far too high, in words; undefined for a usual step. */
  judge(loss: number, gradNorm: number): string | undefined {
    const { factor, window } = this.#settings;
    if (this.#losses.length >= window)
      for (const [what, value, recent] of [
        ["loss", loss, this.#losses],
        ["gradients' norm", gradNorm, this.#norms],
      ] as const) {
        const usual = median(recent);
        if (value <= factor * usual) continue;
        this.inARow++;
        this.skipped++;
        return `the ${what} ${value.toPrecision(4)} is ${(value / usual).toPrecision(3)} times the recent median`;
      }
    this.inARow = 0;
    for (const [list, value] of [
      [this.#losses, loss],
      [this.#norms, gradNorm],
    ] as const) {
      list.push(value);
      if (list.length > window) list.shift();
    }
    return undefined;
  }

  get state(): SpikeState {
    return {
      losses: [...this.#losses],
      norms: [...this.#norms],
      in_a_row: this.inARow,
      skipped: this.skipped,
    };
  }
}
