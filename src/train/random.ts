// The random numbers of training itself (dropout): a stream for each step, decided by the seed and the step alone, so a
// run that goes on from a checkpoint draws what it would have drawn.

import { Generator } from "../runtime/index.js";

export class StepRandom {
  readonly #generator = new Generator(0);
  constructor(readonly seed: number) {}

  /** The generator at the beginning of a step's stream. */
  at(step: number): Generator {
    return this.#generator.manualSeed(((BigInt(this.seed) << 32n) + BigInt(step)) ^ 0x64726f7000000000n);
  }
}
