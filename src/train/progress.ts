// Shows how a run goes: one line that is rewritten in a terminal, plain lines in a pipe. No training here.

export interface Progress {
  readonly step: number;
  readonly steps: number;
  readonly loss: number;
  readonly learningRate: number;
  readonly gradNorm: number;
  readonly tokensPerSecond: number;
  /** Seconds until the last step, at the present pace. */
  readonly secondsLeft: number;
}

/** `75s`, `2m05s`, `1h03m`. */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < 100) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m${String(s % 60).padStart(2, "0")}s`;
  return `${Math.floor(s / 3600)}h${String(Math.floor((s % 3600) / 60)).padStart(2, "0")}m`;
}

const compact = (n: number) =>
  n >= 10_000 ? `${(n / 1000).toFixed(0)}k` : n >= 1000 ? `${(n / 1000).toFixed(1)}k` : n.toFixed(0);

export function progressLine(p: Progress): string {
  return (
    `step ${p.step}/${p.steps}  loss ${p.loss.toFixed(4)}  lr ${p.learningRate.toExponential(1)}  norm ${p.gradNorm.toPrecision(3)}  ` +
    `${compact(p.tokensPerSecond)} tokens/s  ${p.step < p.steps ? `${duration(p.secondsLeft)} left` : "done"}`
  );
}

/** Writes progress to a stream as fits it. */
export class ProgressView {
  readonly #out: { write(text: string): unknown; isTTY?: boolean; columns?: number };
  readonly #every: number;
  #open = false;

  /** @param every steps between two lines where the stream is not a terminal */
  constructor(out: { write(text: string): unknown; isTTY?: boolean; columns?: number }, every: number) {
    this.#out = out;
    this.#every = every;
  }

  show(p: Progress): void {
    if (!this.#out.isTTY) {
      if (p.step % this.#every === 0 || p.step === p.steps || p.step === 1)
        this.#out.write(`${progressLine(p)}\n`);
      return;
    }
    // A line that wraps could not be rewritten.
    const text = progressLine(p).slice(0, Math.max(1, (this.#out.columns ?? 80) - 1));
    const width = Math.max(0, Math.min(30, (this.#out.columns ?? 80) - text.length - 4));
    const full = Math.round((width * p.step) / p.steps);
    const bar = width >= 8 ? `[${"=".repeat(full)}${" ".repeat(width - full)}] ` : "";
    this.#out.write(`\r\u001b[2K${bar}${text}`);
    this.#open = true;
    if (p.step === p.steps) this.end();
  }

  /** Leaves the rewritten line, so that other output starts on its own. */
  end(): void {
    if (this.#open) this.#out.write("\n");
    this.#open = false;
  }
}
