// Stop texts in a stream: what could be the beginning of one is held back until it is known.

export class StopTexts {
  readonly #stops: readonly string[];
  #held = "";
  /** Whether a stop text has come; nothing is given out after it. */
  found = false;

  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  /** Takes new text and returns what can be shown. */
  push(text: string): string {
    if (this.found) return "";
    const all = this.#held + text;
    const at = Math.min(
      ...this.#stops.map((s) => all.indexOf(s)).filter((i) => i >= 0),
      Number.POSITIVE_INFINITY,
    );
    if (at !== Number.POSITIVE_INFINITY) {
      this.found = true;
      this.#held = "";
      return all.slice(0, at);
    }
    const keep = Math.max(0, ...this.#stops.map((s) => overlap(all, s)));
    this.#held = all.slice(all.length - keep);
    return all.slice(0, all.length - keep);
  }

  /** The stream has ended with this last text: what was held back is shown. */
  end(text: string): string {
    const out = this.push(text) + (this.found ? "" : this.#held);
    this.#held = "";
    return out;
  }
}

/** The length of the longest end of `text` that is a proper beginning of `stop`. */
function overlap(text: string, stop: string): number {
  for (let n = Math.min(text.length, stop.length - 1); n > 0; n--)
    if (text.endsWith(stop.slice(0, n))) return n;
  return 0;
}
