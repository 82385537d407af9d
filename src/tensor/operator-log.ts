// What ran while `useOps({ record: log }, …)` watched: each operator and implementation with counts and host times.

/** One line of a log. */
export interface OperatorLogRow {
  readonly operator: string;
  /** `vexil` is the operator's own. */
  readonly implementation: string;
  readonly count: number;
  /** Milliseconds of the host from call to return, with the operators called inside. */
  readonly total: number;
  /** Without those. */
  readonly self: number;
}

interface Counts {
  operator: string;
  implementation: string;
  count: number;
  total: number;
  self: number;
}

/**
 * Counts and times operators. Times are the host's: on a chip that works on the caller's threads (`cpu`, `wasm`,
 * `interpreter`) they contain the kernels, elsewhere only their launches (`profile` times kernels there).
 *
 * @example
 * const log = new OperatorLog();
 * useOps({ record: log }, () => model.forward(x));
 * console.log(log.table());
 */
export class OperatorLog {
  readonly #rows = new Map<string, Counts>();
  /** Time spent in operators inside each open one. */
  readonly #open: number[] = [];

  /** @internal Notes that an operator starts; the result notes its end. */
  begin(operator: string, implementation: string): () => void {
    const start = performance.now();
    const depth = this.#open.push(0);
    return () => {
      const total = performance.now() - start;
      const inside = this.#open[depth - 1] ?? 0;
      this.#open.length = Math.min(this.#open.length, depth - 1);
      if (depth > 1) this.#open[depth - 2]! += total;
      const key = `${operator}:${implementation}`;
      let row = this.#rows.get(key);
      if (row === undefined) {
        row = { operator, implementation, count: 0, total: 0, self: 0 };
        this.#rows.set(key, row);
      }
      row.count++;
      row.total += total;
      row.self += Math.max(0, total - inside);
    };
  }

  /** What ran, most time first. */
  rows(): OperatorLogRow[] {
    return [...this.#rows.values()].map((r) => ({ ...r })).sort((a, b) => b.self - a.self);
  }

  /** Forgets everything. */
  clear(): void {
    this.#rows.clear();
  }

  /** The rows as text. */
  table(): string {
    const cells = this.rows().map((r) => [
      r.operator,
      r.implementation,
      String(r.count),
      r.self.toFixed(3),
      r.total.toFixed(3),
    ]);
    const all = [["operator", "implementation", "count", "self ms", "total ms"], ...cells];
    const widths = all[0]!.map((_, c) => Math.max(...all.map((row) => row[c]!.length)));
    return all
      .map((row) =>
        row
          .map((x, c) => (c < 2 ? x.padEnd(widths[c]!) : x.padStart(widths[c]!)))
          .join("  ")
          .trimEnd(),
      )
      .join("\n");
  }
}
