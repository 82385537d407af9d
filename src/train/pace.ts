// How fast a run goes: an average over recent steps.

/** An average that forgets, so that the first steps' compiling does not count for long. */
export class Pace {
  #last = performance.now();
  #seconds: number | undefined;
  #tokens = 0;

  /** Starts the next step's time now: what came before (an evaluation, a checkpoint) is not counted. */
  restart(): void {
    this.#last = performance.now();
  }

  /** A step with so many tokens has ended. */
  tick(tokens: number): { seconds: number; perSecond: number; secondsPerStep: number } {
    const now = performance.now();
    const seconds = (now - this.#last) / 1000;
    this.#last = now;
    const old = this.#seconds;
    this.#seconds = old === undefined || seconds < old / 2 ? seconds : old * 0.95 + seconds * 0.05;
    this.#tokens = old === undefined ? tokens : this.#tokens * 0.95 + tokens * 0.05;
    return { seconds, perSecond: this.#tokens / this.#seconds, secondsPerStep: this.#seconds };
  }
}
