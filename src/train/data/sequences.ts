// Sequences to learn from, by number: documents as they are, text cut into pieces, documents packed to full length. Tokens
// stand in typed arrays or in a file, not in objects.

import type { Document } from "./documents.js";
import { DataError } from "./lines.js";

/** One training sequence. */
export interface Example {
  readonly tokens: ArrayLike<number>;
  /** 1 for each token that is learned, 0 for one that is given; absent: all are learned. */
  readonly learned?: ArrayLike<number>;
}

/** All sequences of a run's data. */
export interface Sequences {
  readonly length: number;
  /** Tokens of the longest one. */
  readonly longest: number;
  /** The largest token id. */
  readonly largest: number;
  at(index: number): Example;
}

/** Tokens of many documents, one behind the other. */
class TokenBuffer {
  #tokens = new Uint32Array(1024);
  #learned = new Uint8Array(1024);
  length = 0;
  largest = 0;

  push(tokens: readonly number[], learned: readonly number[]): void {
    const end = this.length + tokens.length;
    if (end > this.#tokens.length) {
      const size = Math.max(end, 2 * this.#tokens.length);
      const [oldTokens, oldLearned] = [this.#tokens, this.#learned];
      this.#tokens = new Uint32Array(size);
      this.#learned = new Uint8Array(size);
      this.#tokens.set(oldTokens);
      this.#learned.set(oldLearned);
    }
    this.#tokens.set(tokens, this.length);
    this.#learned.set(learned, this.length);
    this.length = end;
    for (const t of tokens) if (t > this.largest) this.largest = t;
  }

  slice(from: number, to: number): Example {
    return { tokens: this.#tokens.subarray(from, to), learned: this.#learned.subarray(from, to) };
  }
}

/** Pieces of a buffer. */
class Slices implements Sequences {
  readonly #buffer: TokenBuffer;
  readonly #ends: readonly (readonly [from: number, to: number])[];
  readonly longest: number;

  constructor(buffer: TokenBuffer, ends: readonly (readonly [from: number, to: number])[]) {
    this.#buffer = buffer;
    this.#ends = ends;
    this.longest = ends.reduce((n, [from, to]) => Math.max(n, to - from), 0);
  }

  get length(): number {
    return this.#ends.length;
  }

  get largest(): number {
    return this.#buffer.largest;
  }

  at(index: number): Example {
    return this.#buffer.slice(...this.#ends[index]!);
  }
}

/**
 * Each document as one sequence of at most `length + 1` tokens (inputs and next tokens).
 * @throws DataError naming the line of a document that is longer, or shorter than two tokens
 */
export function wholeDocuments(documents: Iterable<Document>, length: number): Sequences {
  const buffer = new TokenBuffer();
  const ends: [number, number][] = [];
  for (const { tokens, learned, where } of documents) {
    if (tokens.length > length + 1)
      throw new DataError(`${where}: ${tokens.length} tokens; sequence_length ${length} holds ${length + 1}`);
    if (tokens.length < 2) throw new DataError(`${where}: too short: fewer than two tokens`);
    const from = buffer.length;
    buffer.push(tokens, learned);
    ends.push([from, buffer.length]);
  }
  return new Slices(buffer, ends);
}

/** Documents cut into pieces; the last one of each may be shorter. @throws DataError for fewer than two tokens */
export function cutDocuments(documents: Iterable<Document>, length: number): Sequences {
  const buffer = new TokenBuffer();
  const ends: [number, number][] = [];
  for (const { tokens, learned, where } of documents) {
    if (tokens.length < 2) throw new DataError(`${where}: the file has fewer than two tokens`);
    const from = buffer.length;
    buffer.push(tokens, learned);
    // Pieces overlap by one token: the last of one is the first input of the next.
    for (let at = from; at + 1 < buffer.length; at += length)
      ends.push([at, Math.min(at + length + 1, buffer.length)]);
  }
  return new Slices(buffer, ends);
}

/**
 * Documents one behind the other with an end between them, cut into pieces of exactly `length + 1` tokens; what is left at the
 * end is dropped. Tokens see those of earlier documents in their piece.
 * @param end the token that ends a document, added where one does not end so
 * @throws DataError when all documents together do not fill one piece
 */
export function packDocuments(
  documents: Iterable<Document>,
  length: number,
  end: number | undefined,
  name: string,
): Sequences {
  const buffer = new TokenBuffer();
  for (const { tokens, learned } of documents) {
    buffer.push(tokens, learned);
    if (end !== undefined && tokens.at(-1) !== end) buffer.push([end], [1]);
  }
  const count = Math.floor((buffer.length - 1) / length);
  if (count < 1)
    throw new DataError(`${name}: ${buffer.length} tokens do not fill one sequence of ${length + 1}`);
  return new Slices(
    buffer,
    Array.from({ length: count }, (_, i) => [i * length, (i + 1) * length + 1] as const),
  );
}

/** Several sets as one. */
export class Joined implements Sequences {
  readonly #sets: readonly Sequences[];
  readonly #starts: readonly number[];
  readonly length: number;
  readonly longest: number;
  readonly largest: number;

  constructor(sets: readonly Sequences[]) {
    this.#sets = sets;
    let n = 0;
    this.#starts = sets.map((s) => {
      n += s.length;
      return n - s.length;
    });
    this.length = n;
    this.longest = Math.max(...sets.map((s) => s.longest));
    this.largest = Math.max(...sets.map((s) => s.largest));
  }

  at(index: number): Example {
    const set = this.#starts.findLastIndex((start) => start <= index);
    return this.#sets[set]!.at(index - this.#starts[set]!);
  }
}
