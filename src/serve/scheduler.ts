// Which tokens of which requests run in the next step: everybody who is answering gets one token, and one chunk's worth
// of prompts joins them, first come first served. It computes nothing.

import { NO_CONTENT, type PagePool } from "./page-pool.js";

/** A request's tokens and how far they are. */
export class Sequence {
  /** The prompt, then what was made. */
  readonly tokens: number[];
  pages: number[] = [];
  /** Tokens whose keys stand in the pages. */
  done = 0;
  /** What the full pages hold, as {@link PagePool} names it, and how many of them were published. */
  content = NO_CONTENT;
  published = 0;
  /** Prompt tokens that were found in the cache when it first ran. */
  reused = 0;

  constructor(prompt: readonly number[]) {
    this.tokens = [...prompt];
  }

  /** Whether only the last token has not run yet. */
  get isAnswering(): boolean {
    return this.done === this.tokens.length - 1 && this.done > 0;
  }
}

export interface Work {
  readonly sequence: Sequence;
  /** How many tokens from `sequence.done` on run now. */
  readonly count: number;
}

/** A step being put together: tokens by sequence. */
type Plan = Map<Sequence, number>;

export interface SchedulerOptions {
  /** Most sequences that run at once. */
  readonly maxSequences: number;
  /** Tokens of a prompt that run together. Chunks begin at multiples of it, so that they do not depend on who else runs. */
  readonly chunk: number;
}

export class Scheduler {
  /** In the order in which they came. */
  readonly running: Sequence[] = [];
  readonly waiting: Sequence[] = [];
  /** How often a sequence had to give its pages back, and begin again. */
  preempted = 0;

  constructor(
    readonly pool: PagePool,
    readonly options: SchedulerOptions,
  ) {}

  add(sequence: Sequence): void {
    this.waiting.push(sequence);
  }

  /** Takes a sequence out, whatever it was doing. */
  remove(sequence: Sequence): void {
    for (const list of [this.running, this.waiting]) {
      const at = list.indexOf(sequence);
      if (at >= 0) list.splice(at, 1);
    }
    this.#letGo(sequence);
  }

  /** The next step. Empty only when there is nothing to do. */
  plan(): Work[] {
    const { maxSequences } = this.options;
    // Whoever gives way loses its place here, too: it may come in again, from its begin, in the same step.
    const work: Plan = new Map();
    for (const s of [...this.running])
      if (s.isAnswering && this.running.includes(s) && this.#room(s, 1, work)) work.set(s, 1);
    // One chunk's worth of prompts a step: answers never wait for more than that.
    let budget = this.options.chunk;
    for (const s of [...this.running]) {
      if (s.isAnswering || !this.running.includes(s)) continue;
      budget -= this.#prompt(s, budget, work);
    }
    while (this.waiting.length && this.running.length < maxSequences && budget > 0) {
      const s = this.waiting[0]!;
      const found = this.pool.find(s.tokens);
      s.pages = found.pages;
      s.content = found.content;
      s.published = found.pages.length;
      s.done = found.pages.length * this.pool.pageSize;
      const taken = this.#fits(s, this.#chunk(s)) ? this.#prompt(s, budget, work) : 0;
      if (taken === 0) {
        this.#letGo(s);
        // Those behind it wait too: nobody is overtaken for ever.
        break;
      }
      s.reused = s.published * this.pool.pageSize;
      this.waiting.shift();
      this.running.push(s);
      budget -= taken;
    }
    return Array.from(work, ([sequence, count]) => ({ sequence, count }));
  }

  /** A step has run: its tokens stand in the pages. */
  finish(work: readonly Work[]): void {
    const size = this.pool.pageSize;
    for (const { sequence: s, count } of work) {
      s.done += count;
      while ((s.published + 1) * size <= s.done) {
        s.content = this.pool.publish(s.pages[s.published]!, s.content, s.tokens, s.published);
        s.published++;
      }
    }
  }

  /** Tokens from the multiple of a chunk in which a work begins to its end: the same whatever of a prompt was found in the cache. */
  span({ sequence: s, count }: Work): number {
    return count + (s.done % this.options.chunk);
  }

  /** Tokens up to the next multiple of a chunk. */
  #chunk(s: Sequence): number {
    const { chunk } = this.options;
    return Math.min(s.tokens.length, (Math.floor(s.done / chunk) + 1) * chunk) - s.done;
  }

  /** A whole chunk of a prompt if the budget and the memory have room for it. */
  #prompt(s: Sequence, budget: number, work: Plan): number {
    const count = this.#chunk(s);
    if (count > budget || !this.#room(s, count, work)) return 0;
    work.set(s, count);
    return count;
  }

  #missing(s: Sequence, count: number): number {
    return Math.max(0, Math.ceil((s.done + count) / this.pool.pageSize) - s.pages.length);
  }

  #fits(s: Sequence, count: number): boolean {
    return this.#missing(s, count) <= this.pool.free;
  }

  /** Takes the pages that `count` more tokens need; who came last gives way. False when that is the sequence itself. */
  #room(s: Sequence, count: number, work: Plan): boolean {
    while (!this.#fits(s, count)) {
      const last = this.running.at(-1);
      if (!last || !this.running.includes(s)) return false;
      this.running.pop();
      this.#letGo(last);
      work.delete(last);
      this.waiting.unshift(last);
      this.preempted++;
      if (last === s) return false;
    }
    for (let n = this.#missing(s, count); n > 0; n--) s.pages.push(this.pool.take()!);
    return true;
  }

  #letGo(s: Sequence): void {
    this.pool.release(s.pages);
    s.pages = [];
    s.done = 0;
    s.content = NO_CONTENT;
    s.published = 0;
  }
}
