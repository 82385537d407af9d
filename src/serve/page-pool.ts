// Who has which page of the cache, and which pages hold the beginning of a prompt that came before. Bookkeeping only: the
// memory is `models/paged-cache.ts`.

interface Page {
  readonly id: number;
  /** Sequences that use it. */
  users: number;
  /** What it holds, once it is full and known: its place in the index. */
  key: string | undefined;
  /** Names what it and all pages before it hold; 0: unknown. */
  content: number;
}

/** What stands for the empty beginning of every sequence. */
export const NO_CONTENT = 0;

export class PagePool {
  readonly #pages: Page[];
  /** Pages of nobody that hold nothing. */
  readonly #empty: Page[];
  /** Pages of nobody that can still be found, the one let go longest ago first. */
  readonly #idle = new Set<Page>();
  readonly #index = new Map<string, Page>();
  #contents = NO_CONTENT;
  /** Prompt tokens that were looked for in the cache, and those that were there. */
  readonly looked = { tokens: 0, found: 0 };

  constructor(
    count: number,
    readonly pageSize: number,
  ) {
    this.#pages = Array.from({ length: count }, (_, id) => ({
      id,
      users: 0,
      key: undefined,
      content: NO_CONTENT,
    }));
    this.#empty = [...this.#pages].reverse();
  }

  get total(): number {
    return this.#pages.length;
  }

  /** Pages that nobody uses; what they hold may still be found. */
  get free(): number {
    return this.#empty.length + this.#idle.size;
  }

  /**
   * The pages that hold the beginning of these tokens, taken for the caller. At least one token is left over, since a
   * sequence needs the logits of its last.
   */
  find(tokens: readonly number[]): { readonly pages: number[]; readonly content: number } {
    const pages: number[] = [];
    let content = NO_CONTENT;
    const whole = Math.floor((tokens.length - 1) / this.pageSize);
    for (let i = 0; i < whole; i++) {
      const page = this.#index.get(keyOf(content, tokens, i, this.pageSize));
      if (!page) break;
      this.#use(page);
      pages.push(page.id);
      content = page.content;
    }
    this.looked.tokens += tokens.length;
    this.looked.found += pages.length * this.pageSize;
    return { pages, content };
  }

  /** An empty page, or undefined when all are in use. */
  take(): number | undefined {
    const page = this.#empty.pop() ?? this.#idle.values().next().value;
    if (!page) return undefined;
    this.#use(page);
    if (page.key !== undefined) this.#index.delete(page.key);
    page.key = undefined;
    page.content = NO_CONTENT;
    return page.id;
  }

  /**
   * Says that page `i` of a sequence is full, so that others with the same beginning find it.
   * @param content what stands before the page
   * @returns what stands up to its end
   */
  publish(id: number, content: number, tokens: readonly number[], i: number): number {
    const key = keyOf(content, tokens, i, this.pageSize);
    const known = this.#index.get(key);
    if (known) return known.content;
    const page = this.#pages[id]!;
    page.key = key;
    page.content = ++this.#contents;
    this.#index.set(key, page);
    return page.content;
  }

  /** Lets go of a sequence's pages. What they hold can be found until the room is needed. */
  release(ids: readonly number[]): void {
    // The last pages first: without them the beginning is still of use, not the other way round.
    for (const id of [...ids].reverse()) {
      const page = this.#pages[id]!;
      if (--page.users > 0) continue;
      if (page.key === undefined) this.#empty.push(page);
      else this.#idle.add(page);
    }
  }

  #use(page: Page): void {
    page.users++;
    this.#idle.delete(page);
  }
}

const keyOf = (content: number, tokens: readonly number[], i: number, size: number): string =>
  `${content}:${tokens.slice(i * size, (i + 1) * size).join(",")}`;
