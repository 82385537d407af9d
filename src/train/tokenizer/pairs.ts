// The bookkeeping of BPE training: how often each pair of neighbouring symbols occurs, where, and which is the most
// frequent one. Merging a pair touches the words that hold it and nothing else.

/** A distinct word of the text. */
interface Word {
  symbols: number[];
  readonly count: number;
}

interface Entry {
  readonly count: number;
  readonly left: number;
  readonly right: number;
}

/** More frequent first; of equally frequent ones that of the smaller symbols. */
const before = (a: Entry, b: Entry): boolean =>
  a.count !== b.count ? a.count > b.count : a.left !== b.left ? a.left < b.left : a.right < b.right;

/** A binary heap of pairs; counts that have changed meanwhile are found out when an entry comes to the top. */
class Heap {
  readonly #items: Entry[] = [];

  push(entry: Entry): void {
    const items = this.#items;
    let at = items.length;
    items.push(entry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(entry, items[parent]!)) break;
      items[at] = items[parent]!;
      at = parent;
    }
    items[at] = entry;
  }

  pop(): Entry | undefined {
    const items = this.#items;
    const top = items[0];
    const last = items.pop();
    if (items.length === 0 || last === undefined) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && before(items[child + 1]!, items[child]!)) child++;
      if (!before(items[child]!, last)) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = last;
    return top;
  }
}

const SHIFT = 2 ** 24;
const keyOf = (left: number, right: number): number => left * SHIFT + right;

/** All pairs of a set of words. */
export class Pairs {
  readonly #words: Word[] = [];
  readonly #counts = new Map<number, number>();
  readonly #places = new Map<number, Set<number>>();
  readonly #heap = new Heap();

  /** @param words each word's symbols (at least one) and how often it occurs */
  constructor(words: Iterable<readonly [symbols: readonly number[], count: number]>) {
    for (const [symbols, count] of words) {
      const index = this.#words.push({ symbols: [...symbols], count }) - 1;
      for (let i = 0; i + 1 < symbols.length; i++) this.#add(symbols[i]!, symbols[i + 1]!, count, index);
    }
    for (const [key, count] of this.#counts) this.#queue(key, count);
  }

  #add(left: number, right: number, count: number, word: number): number {
    const key = keyOf(left, right);
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + count);
    const places = this.#places.get(key);
    if (places) places.add(word);
    else this.#places.set(key, new Set([word]));
    return key;
  }

  #take(left: number, right: number, count: number): void {
    const key = keyOf(left, right);
    this.#counts.set(key, this.#counts.get(key)! - count);
  }

  #queue(key: number, count: number): void {
    if (count > 0) this.#heap.push({ count, left: Math.floor(key / SHIFT), right: key % SHIFT });
  }

  /** The most frequent pair, taken off; undefined when no pair is left. */
  next(): readonly [left: number, right: number] | undefined {
    for (;;) {
      const top = this.#heap.pop();
      if (!top) return undefined;
      const key = keyOf(top.left, top.right);
      const count = this.#counts.get(key) ?? 0;
      if (count === top.count) return [top.left, top.right];
      this.#queue(key, count);
    }
  }

  /** Replaces every occurrence of a pair, from left to right, by a symbol. */
  merge(left: number, right: number, symbol: number): void {
    const key = keyOf(left, right);
    const places = this.#places.get(key) ?? new Set();
    this.#places.delete(key);
    const grown = new Set<number>();
    for (const index of places) {
      const word = this.#words[index]!;
      const { symbols, count } = word;
      const out: number[] = [];
      for (let i = 0; i < symbols.length; i++) {
        const here = symbols[i]!;
        if (here !== left || symbols[i + 1] !== right) {
          out.push(here);
          continue;
        }
        const previous = out.at(-1);
        const following = symbols[i + 2];
        // The neighbour on the left is what it has become, that on the right what it still is.
        if (previous !== undefined) {
          this.#take(previous, left, count);
          grown.add(this.#add(previous, symbol, count, index));
        }
        if (following !== undefined) {
          this.#take(right, following, count);
          grown.add(this.#add(symbol, following, count, index));
        }
        out.push(symbol);
        i++;
      }
      word.symbols = out;
    }
    this.#counts.delete(key);
    for (const k of grown) this.#queue(k, this.#counts.get(k) ?? 0);
  }
}
