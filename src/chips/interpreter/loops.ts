// Element loops. An operation is written once as a closed function over arrays; every combination of element
// types gets its own copy of that function, so that the engine optimises each for one kind of array.

import type { Elements } from "./elements.js";

/**
 * An array in a loop. Loops are typed for numbers and also run on BigInt arrays where their text has the same
 * meaning there (`a + b`, `a < b`, …); storing wraps or rounds to the element type.
 */
export type A = Float64Array;
export const A = (e: Elements): A => e as unknown as A;

// biome-ignore lint/complexity/noBannedTypes: any function type
type AnyFunction = Function;
const copies = new Map<AnyFunction, Map<string, AnyFunction>>();

/** Counters that coverage tools write into function texts; such a text does not stand alone. */
const INSTRUMENTED = /\bcov_\w+|__cov|__vi_import|__vite_ssr/;

/**
 * A private copy of `fn` for the array types named by `key`. `fn` must use nothing but its parameters and
 * globals. Where code may not be made from text (a page's content security policy), `fn` itself serves.
 */
export function specialize<F extends AnyFunction>(fn: F, key: string): F {
  let byKey = copies.get(fn);
  if (!byKey) {
    byKey = new Map();
    copies.set(fn, byKey);
  }
  let copy = byKey.get(key);
  if (!copy) {
    copy = fn;
    const text = fn.toString();
    if (!INSTRUMENTED.test(text))
      try {
        copy = new Function(`return (${text})`)() as AnyFunction;
      } catch {
        // Forbidden by the page: the shared function is slower, and right.
      }
    byKey.set(key, copy);
  }
  return copy as F;
}

export type Unary = (o: A, a: A, n: number) => void;
export type Binary = (o: A, a: A, b: A, n: number) => void;
export type Ternary = (o: A, a: A, b: A, c: A, n: number) => void;
