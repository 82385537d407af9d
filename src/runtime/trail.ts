// What memory a call of an operator took, so that it can give back at once what is not in its result. Unlike a scope this
// costs a call next to nothing: a list grows by an entry for each piece of memory while a call runs. Calls are synchronous
// and nested; what an inner one gives to the outer one stays in the list until that ends, too.

import type { Storage } from "./storage.js";

const taken: Storage[] = [];
let depth = 0;

/** Notes memory that was taken just now, if a call runs. */
export function noteTaken(storage: Storage): void {
  if (depth > 0) taken.push(storage);
}

/** A call begins. What comes out goes to {@link endCall} or {@link leaveCall}. */
export function beginCall(): number {
  depth++;
  return taken.length;
}

/** Whether the call that began at `from` took the memory. */
export const tookSince = (from: number, storage: Storage): boolean => taken.indexOf(storage, from) >= 0;

/** A call ends: what it took is freed, but for the results and what was freed already or kept (`keep`). */
export function endCall(from: number, results: Storage | readonly Storage[]): void {
  let to = from;
  for (let i = from; i < taken.length; i++) {
    const storage = taken[i]!;
    if (storage.disposed || storage.kept) continue;
    const needed = Array.isArray(results) ? results.includes(storage) : results === storage;
    if (needed) taken[to++] = storage;
    else storage.dispose();
  }
  taken.length = --depth === 0 ? 0 : to;
}

/** A call ends, or fails, and nothing is freed. */
export function leaveCall(): void {
  if (--depth === 0) taken.length = 0;
}
