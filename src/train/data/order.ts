// The order of the data: which sequences make a step's batch. It follows from the seed and the step alone, so a step's batch is
// known without replaying the steps before it.

/** A small seeded generator for host-side choices (splitmix32); tensors have their own. */
export function hostRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return ((z ^ (z >>> 16)) >>> 0) / 2 ** 32;
  };
}

/** Shuffles in place (Fisher-Yates). */
export function shuffle<T extends { readonly length: number; [index: number]: unknown }>(
  items: T,
  random: () => number,
): T {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [items[i], items[j]] = [items[j], items[i]];
  }
  return items;
}

/** The numbers below `count` in the order of an epoch. */
function permutation(count: number, seed: number, epoch: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  return shuffle(order, hostRandom(Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(epoch + 1, 0x85ebca77)));
}

/** An endless walk through `count` things, shuffled anew each time all have come. */
class Walk {
  #epoch = -1;
  #order: Uint32Array = new Uint32Array(0);
  constructor(
    readonly count: number,
    readonly seed: number,
  ) {}

  at(position: number): number {
    const epoch = Math.floor(position / this.count);
    if (epoch !== this.#epoch) {
      this.#epoch = epoch;
      this.#order = permutation(this.count, this.seed, epoch);
    }
    return this.#order[position % this.count]!;
  }
}

/** One of several sources that take turns. */
export interface Share {
  /** Its sequences. */
  readonly count: number;
  /** Its part of all that is drawn, relative to the other weights. */
  readonly weight: number;
}

/**
 * Which sequences make step `s`'s batch, out of one source or, by weight, out of several.
 *
 * One source: every epoch holds each sequence once, in an order of its own. Several: a round holds as many as there are
 * sequences altogether, shared out by weight, in an order of its own; each source goes through its sequences on and on.
 */
export class DataOrder {
  readonly #total: number;
  readonly #walks: readonly Walk[];
  readonly #starts: readonly number[];
  readonly #quotas: readonly number[];
  readonly #rounds: Walk;

  constructor(
    examples: number | readonly Share[],
    readonly batch: number,
    readonly seed: number,
  ) {
    const shares = typeof examples === "number" ? [{ count: examples, weight: 1 }] : examples;
    this.#total = shares.reduce((n, s) => n + s.count, 0);
    let start = 0;
    this.#starts = shares.map((s) => {
      start += s.count;
      return start - s.count;
    });
    this.#quotas = quotas(shares, this.#total);
    // Sources must not be shuffled alike.
    this.#walks = shares.map((s, i) => new Walk(s.count, seed + 7919 * i));
    this.#rounds = new Walk(this.#total, seed + 7919 * shares.length);
  }

  indices(step: number): number[] {
    return Array.from({ length: this.batch }, (_, i) => this.#draw(step * this.batch + i));
  }

  /** The sequence of the `k`-th draw. */
  #draw(k: number): number {
    if (this.#walks.length === 1) return this.#walks[0]!.at(k);
    // A round's places are numbered source by source.
    let place = this.#rounds.at(k);
    const round = Math.floor(k / this.#total);
    let source = 0;
    while (place >= this.#quotas[source]!) place -= this.#quotas[source++]!;
    return this.#starts[source]! + this.#walks[source]!.at(round * this.#quotas[source]! + place);
  }
}

/** How many draws of a round each source has: by weight, rounded so that they add up. */
function quotas(shares: readonly Share[], total: number): number[] {
  const weights = shares.reduce((n, s) => n + s.weight, 0);
  const exact = shares.map((s) => (total * s.weight) / weights);
  const out = exact.map(Math.floor);
  const left = total - out.reduce((a, b) => a + b, 0);
  const byRest = exact
    .map((x, i) => [x - Math.floor(x), i] as const)
    .sort((a, b) => b[0] - a[0] || a[1] - b[1]);
  for (const [, i] of byRest.slice(0, left)) out[i]!++;
  return out;
}
