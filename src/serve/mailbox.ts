// Items that one side puts and the other waits for, in order.

export class Mailbox<T> {
  readonly #items: (T | Error)[] = [];
  #wake: (() => void) | undefined;

  /** An error is thrown to whoever takes it. */
  put(item: T | Error): void {
    this.#items.push(item);
    this.#wake?.();
    this.#wake = undefined;
  }

  /** The next item, as soon as there is one. One taker at a time. */
  async take(): Promise<T> {
    while (this.#items.length === 0)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    const item = this.#items.shift()!;
    if (item instanceof Error) throw item;
    return item;
  }
}
