// Which tokens of a vocabulary a state of a grammar allows next.

import type { State } from "./grammar.js";

/**
 * The bytes of every token, in an order in which tokens that begin alike stand together, so that what a state refuses is
 * refused once for all of them.
 */
export class TokenTable {
  readonly #order: readonly number[];
  readonly #bytes: readonly (Uint8Array | undefined)[];
  /** Bytes that a token of the order shares with the one before it. */
  readonly #shared: readonly number[];

  /** @param tokens by id; undefined or empty for special tokens, which no grammar allows */
  constructor(tokens: readonly (Uint8Array | undefined)[]) {
    this.#bytes = tokens;
    this.#order = tokens
      .map((_, id) => id)
      .filter((id) => tokens[id]?.length)
      .sort((a, b) => compare(tokens[a]!, tokens[b]!));
    this.#shared = this.#order.map((id, i) => (i ? common(tokens[this.#order[i - 1]!]!, tokens[id]!) : 0));
  }

  get size(): number {
    return this.#bytes.length;
  }

  /** 1 for each token id that may come next. Kept with the state: do not change it. */
  allowed(state: State): Uint8Array {
    const known = state.notes.get(this) as Uint8Array | undefined;
    if (known) return known;
    const mask = new Uint8Array(this.#bytes.length);
    /** `path[d]` is the state after the first `d` bytes of the last token that was followed. */
    const path: State[] = [state];
    let refused = Number.POSITIVE_INFINITY;
    for (const [i, id] of this.#order.entries()) {
      let depth = this.#shared[i]!;
      // It begins with the very bytes that were refused.
      if (depth > refused) continue;
      refused = Number.POSITIVE_INFINITY;
      const token = this.#bytes[id]!;
      for (; depth < token.length; depth++) {
        const next = path[depth]!.step(token[depth]!);
        if (!next) {
          refused = depth;
          break;
        }
        path[depth + 1] = next;
      }
      if (refused === Number.POSITIVE_INFINITY) mask[id] = 1;
    }
    state.notes.set(this, mask);
    return mask;
  }

  /** The state after a token, or null when it is not allowed. */
  advance(state: State, id: number): State | null {
    let at: State | null | undefined = this.#bytes[id]?.length ? state : null;
    for (const byte of this.#bytes[id] ?? []) at = at?.step(byte);
    return at ?? null;
  }
}

function compare(a: Uint8Array, b: Uint8Array): number {
  const n = common(a, b);
  return n < a.length && n < b.length ? a[n]! - b[n]! : a.length - b.length;
}

function common(a: Uint8Array, b: Uint8Array): number {
  let n = 0;
  while (n < a.length && n < b.length && a[n] === b[n]) n++;
  return n;
}
