// The state of one build: where ops go, whose text is being read, which variables exist, what was assigned.

import { Builder, type Block, type Func, type Loc } from "../ir/index.js";
import type { AnyNode } from "acorn";
import { KernelError } from "./errors.js";
import type { SourceFunction } from "./parse.js";
import { Unset, type Val } from "./value.js";

/** A variable. */
export class Cell {
  constructor(
    readonly name: string,
    public value: Val,
    readonly constant: boolean,
    /** Counts up over the build: cells born before a region started outlive it. */
    readonly born: number,
  ) {}
}

export class Scope {
  readonly cells = new Map<string, Cell>();
  constructor(readonly parent?: Scope) {}
  find(name: string): Cell | undefined {
    return this.cells.get(name) ?? this.parent?.find(name);
  }
}

/** The function whose body is being read. */
export interface Frame {
  readonly fn: SourceFunction;
  readonly source: number;
  /** Where it was inlined. */
  readonly caller: Loc | undefined;
  readonly parent: Frame | undefined;
  /** The kernel itself: what it returns is ignored. */
  readonly top: boolean;
}

/** What a region assigned of the variables around it: their values before. */
export interface Journal {
  readonly start: number;
  readonly before: Map<Cell, Val>;
  readonly parent: Journal | undefined;
}

export class Context {
  readonly b: Builder;
  /** The functions behind `sources`, by index. */
  readonly functions: (SourceFunction | undefined)[];
  frame!: Frame;
  /** Above 0 while a loop body is read only to find the types of its variables. */
  trials = 0;
  private journal: Journal | undefined;
  private clock = 0;
  private readonly indices = new Map<string, number>();

  constructor(
    readonly kernel: string,
    block: Block | Builder,
    readonly sources: Func["sources"],
  ) {
    this.b = block instanceof Builder ? block : new Builder(block);
    this.functions = sources.map(() => undefined);
  }

  /** The index of a function's text among the sources. */
  sourceOf(fn: SourceFunction): number {
    let i = this.indices.get(fn.text);
    if (i === undefined) {
      i = this.sources.length;
      this.sources.push({ name: fn.name, text: fn.text });
      this.functions[i] = fn;
      this.indices.set(fn.text, i);
    }
    return i;
  }

  /** Ops and errors from here on belong to `node`. */
  at(node: AnyNode): void {
    const { source, caller, fn } = this.frame;
    this.b.loc = {
      source,
      start: node.start - fn.shift,
      end: node.end - fn.shift,
      ...(caller ? { caller } : {}),
    };
  }

  /** Throws a {@link KernelError} at the current place. `hint` says what to do. */
  fail(message: string, hint?: string): never {
    throw new KernelError(this.kernel, message, hint, this.b.loc, this.functions);
  }

  declare(scope: Scope, name: string, value: Val, constant: boolean): Cell {
    const cell = new Cell(name, value, constant, this.clock++);
    scope.cells.set(name, cell);
    return cell;
  }

  write(cell: Cell, value: Val): void {
    const j = this.journal;
    if (j && cell.born < j.start && !j.before.has(cell)) j.before.set(cell, cell.value);
    cell.value = value;
  }

  read(cell: Cell): Val {
    if (cell.value instanceof Unset) this.fail(`${cell.name} has no value here: ${cell.value.why}`);
    return cell.value;
  }

  /**
   * Reads a region: ops go into `block`, and assignments to outer variables are undone afterwards and
   * returned, with the values they left.
   */
  region<T>(block: Block, fn: () => T): { result: T; after: Map<Cell, Val> } {
    const j: Journal = { start: this.clock++, before: new Map(), parent: this.journal };
    this.journal = j;
    const result = this.b.inside(block, fn);
    this.journal = j.parent;
    const after = new Map<Cell, Val>();
    for (const [cell, old] of j.before) {
      after.set(cell, cell.value);
      cell.value = old;
    }
    return { result, after };
  }
}
