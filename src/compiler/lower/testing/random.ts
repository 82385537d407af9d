// A random program from a seed, compared: what the random tests of the lowerings share.

import { type Func, print, verify } from "../../ir/index.js";
import { optimize } from "../../passes/optimize.js";
import type { Arg } from "./compare.js";
import { type Choose, randomProgram } from "./programs.js";

/** Decisions from a seed; small seeds and a size, so that a failure is easy to repeat. */
function chooser(seed: number): Choose {
  let s = (seed * 2654435761 + 12345) >>> 0;
  return (n) => {
    s ^= s << 13;
    s ^= s >>> 17;
    s ^= s << 5;
    return (s >>> 0) % n;
  };
}

/** Throws what `expectSame` throws, with the seed and the program's text. */
export function checkRandom(
  seed: number,
  size: number,
  optimized: boolean,
  expectSame: (func: Func, args: readonly Arg[], grid: readonly [number]) => unknown,
): void {
  const { func, args } = randomProgram(chooser(seed), size);
  verify(func);
  if (optimized) optimize(func);
  const text = print(func);
  try {
    expectSame(func, args, [1]);
  } catch (error) {
    throw new Error(
      `seed ${seed}, size ${size}\n${text}\n${(error as Error).message}\n${(error as Error).stack}`,
    );
  }
}
