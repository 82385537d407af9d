// Scopes: what is created inside one is freed at its end, except what leaves it.
//
// The open scopes form one stack. An asynchronous scope stays open while its function waits, so whatever runs
// meanwhile allocates into it; scopes must therefore end in the reverse order of their beginning. Two
// asynchronous scopes that overlap (`Promise.all([scope(f), scope(g)])`) break this rule: the one that ends out
// of turn frees its memory and throws ScopeError. Give such work one scope around all of it, or a worker each.

import { recorder } from "./recording.js";
import type { Storage } from "./storage.js";

/** Scopes that did not end in the reverse order of their beginning. */
export class ScopeError extends Error {
  override name = "ScopeError";
}

const stack: Scope[] = [];
let opened = 0;

/** How many scopes were opened so far: what was made before a scope has a smaller number than its `serial`. */
export const scopesOpened = (): number => opened;

/** The innermost open scope, or `null`. */
export const currentScope = (): Scope | null => stack[stack.length - 1] ?? null;

/** Calls `visit` for every storage that `value` leads to. */
export type Reachability = (value: unknown, visit: (storage: Storage) => void) => void;

let reachability: Reachability = () => {};

/** How results are searched for storages; `tensor/` sets it. */
export function setReachability(walk: Reachability): void {
  reachability = walk;
}

/**
 * An open scope, for `using`:
 *
 * @example
 * {
 *   using s = new Scope();
 *   const y = f(x);        // freed at the end of the block …
 *   s.keep(y.storage);     // … unless kept: then it belongs to the scope around
 * }
 */
export class Scope {
  private owned: Storage[] = [];
  private live = 0;
  private closed = false;
  /** Grows from scope to scope. */
  readonly serial = ++opened;

  constructor() {
    stack.push(this);
  }

  /** Makes this scope the one that frees `storage`. */
  own(storage: Storage): void {
    storage.owner = this;
    this.live++;
    this.owned.push(storage);
    if (this.owned.length > 64 && this.owned.length > 2 * this.live)
      this.owned = this.owned.filter((s) => s.owner === this);
  }

  /** One of the storages was freed or moved away; its entry goes with the next clearing up. */
  forget(): void {
    this.live--;
  }

  /** Moves a storage to the scope around this one; without one, only `dispose` frees it. */
  keep(storage: Storage): void {
    if (storage.owner !== this) return;
    const at = stack.indexOf(this);
    move(storage, stack[at - 1] ?? null);
  }

  /** Ends the scope: frees what it still owns. Throws {@link ScopeError} when a later scope is still open. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    const at = stack.lastIndexOf(this);
    const turn = at === stack.length - 1;
    if (at >= 0) stack.splice(at, 1);
    const owned = this.owned;
    this.owned = [];
    for (const s of owned) if (s.owner === this) s.dispose();
    if (!turn)
      throw new ScopeError(
        "a scope ended while one that began later is still open. Asynchronous scopes must not overlap: " +
          "await one before the next begins, or put one scope around both",
      );
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function move(storage: Storage, to: Scope | null): void {
  if (storage.disposed || storage.owner === to) return;
  storage.owner?.forget();
  storage.owner = null;
  to?.own(storage);
}

/** Takes a storage out of all scopes: only its own `dispose` frees it (parameters, optimizer state, caches). */
export const keep = (storage: Storage): void => {
  recorder?.refuse();
  storage.kept = true;
  move(storage, null);
};

/** Gives a storage the lifetime of another: a gradient lives as long as its parameter. */
export const keepLike = (storage: Storage, like: Storage): void => move(storage, like.owner);

/**
 * Runs `fn` and frees the memory that was allocated meanwhile, except what its result leads to: that goes to
 * the scope around. When `fn` throws, everything is freed. An asynchronous `fn` is awaited.
 *
 * @example const y = scope(() => add(mul(a, b), c)); // the product is freed
 */
export function scope<T>(fn: () => T): T {
  const s = new Scope();
  let result: T;
  try {
    result = fn();
  } catch (e) {
    closeAfterFailure(s);
    throw e;
  }
  if (isThenable(result))
    return result.then(
      (value) => {
        finish(s, value);
        return value;
      },
      (e: unknown) => {
        closeAfterFailure(s);
        throw e;
      },
    ) as T;
  finish(s, result);
  return result;
}

function finish(s: Scope, result: unknown): void {
  if (result !== undefined && result !== null && typeof result !== "number")
    try {
      reachability(result, (storage) => s.keep(storage));
    } catch (e) {
      closeAfterFailure(s);
      throw e;
    }
  s.close();
}

/** What `fn` threw says more than the order of scopes. */
function closeAfterFailure(s: Scope): void {
  try {
    s.close();
  } catch (e) {
    if (!(e instanceof ScopeError)) throw e;
  }
}

const isThenable = (x: unknown): x is Promise<unknown> =>
  typeof x === "object" && x !== null && typeof (x as { then?: unknown }).then === "function";
