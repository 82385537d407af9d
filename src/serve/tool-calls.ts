// Calls of tools in a stream of text: what stands between `<tool_call>` and `</tool_call>` becomes a call, the rest stays
// text. What could be the beginning of a mark is held back until it is known.

import { CALL_CLOSE, CALL_OPEN } from "./constrain/index.js";

export interface ToolCall {
  readonly id: string;
  readonly name: string;
  /** JSON text. */
  readonly arguments: string;
}

export class ToolCalls {
  #held = "";
  #isInside = false;
  /** Calls that came so far. */
  count = 0;

  /** Takes new text and returns what can be shown, and the calls that it completed. */
  push(text: string): { readonly text: string; readonly calls: readonly ToolCall[] } {
    this.#held += text;
    let shown = "";
    const calls: ToolCall[] = [];
    for (;;) {
      const mark = this.#isInside ? CALL_CLOSE : CALL_OPEN;
      const at = this.#held.indexOf(mark);
      if (at < 0) break;
      const before = this.#held.slice(0, at);
      this.#held = this.#held.slice(at + mark.length);
      if (this.#isInside) {
        const call = readCall(before);
        // What is no call is shown as the model wrote it.
        if (call) calls.push(call);
        else shown += CALL_OPEN + before + CALL_CLOSE;
        this.#held = this.#held.replace(/^\s+/, "");
      } else shown += before;
      this.#isInside = !this.#isInside;
    }
    if (!this.#isInside) {
      const keep = overlap(this.#held, CALL_OPEN);
      shown += this.#held.slice(0, this.#held.length - keep);
      this.#held = this.#held.slice(this.#held.length - keep);
    }
    this.count += calls.length;
    // White space before a call belongs to the mark, not to the answer.
    return { text: this.count && shown.trim() === "" ? "" : shown, calls };
  }

  /** The stream has ended: what was held back is shown. */
  end(): string {
    const out = this.#isInside ? CALL_OPEN + this.#held : this.#held;
    this.#held = "";
    return out;
  }
}

function readCall(text: string): ToolCall | undefined {
  try {
    const call = JSON.parse(text) as { name?: unknown; arguments?: unknown };
    if (typeof call.name !== "string") return undefined;
    const given = call.arguments ?? {};
    return {
      id: `call_${crypto.randomUUID().replaceAll("-", "").slice(0, 24)}`,
      name: call.name,
      arguments: typeof given === "string" ? given : JSON.stringify(given),
    };
  } catch {
    return undefined;
  }
}

/** The length of the longest end of `text` that is a proper beginning of `mark`. */
function overlap(text: string, mark: string): number {
  for (let n = Math.min(text.length, mark.length - 1); n > 0; n--)
    if (text.endsWith(mark.slice(0, n))) return n;
  return 0;
}
