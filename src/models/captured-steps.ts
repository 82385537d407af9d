// Steps that add one token to each of the sequences that run together, captured and repeated: what the host does to find a step's
// launches (some hundred calls of operators, with their shapes and memory) is done once for as many sequences, not for each token. The
// host still writes where each sequence stands. Kernels and their order are those of the steps that it stands for, and so are results.

import { capture, CaptureError, type Graph } from "../runtime/index.js";
import { noGrad, type Tensor } from "../tensor/index.js";
import type { PagedCache } from "./paged-cache.js";
import { type DecodeStart, StepBuffers } from "./step-buffers.js";
import type { LanguageModel } from "./transformer.js";

/** Recordings that are kept: who runs together changes, and comes back. */
const KEPT = 8;
/** Lengths for which attention is laid out; beyond, powers of two. Steps of each up to the next launch the same kernels. */
const ROOMS = [16, 64, 512];

interface Recorded {
  readonly inputs: StepBuffers;
  readonly graph: Graph<Tensor>;
}

export class CapturedSteps {
  /** By how many sequences and the room of each; the one used last stands last. */
  readonly #recorded = new Map<string, Recorded>();
  #before = "";
  /** The model does something on its way that cannot be recorded. */
  #refused = false;

  constructor(
    readonly model: LanguageModel,
    readonly cache: PagedCache,
  ) {}

  /**
   * Runs a token of each sequence, if as many ran before at such a length: who comes and goes costs no recording.
   * @returns logits `[sequences, vocab]`, which the next step writes anew; undefined where nothing was run
   */
  run(sequences: readonly DecodeStart[]): Tensor | undefined {
    const room = this.#roomFor(Math.max(...sequences.map((s) => s.past)) + 1);
    if (room === undefined || this.#refused) return undefined;
    const key = `${sequences.length} ${room}`;
    const again = this.#before === key;
    this.#before = key;
    let found = this.#recorded.get(key);
    if (!found) {
      if (!again) return undefined;
      found = this.#record(sequences.length, room);
      if (!found) return undefined;
    } else this.#recorded.delete(key);
    this.#recorded.set(key, found);
    found.inputs.write(sequences);
    found.graph.replay();
    return found.graph.result;
  }

  #roomFor(longest: number): number | undefined {
    const { maxPositions, positions } = this.model.config;
    if (longest > maxPositions) return undefined;
    const room = ROOMS.find((r) => longest <= r) ?? 2 ** Math.ceil(Math.log2(longest));
    const most = Math.min(room, maxPositions);
    // Positions whose frequencies follow the length are computed by the host.
    const follows = positions !== "learned" && positions.type === "dynamic" && most > positions.original;
    return follows ? undefined : most;
  }

  #record(count: number, room: number): Recorded | undefined {
    const oldest = this.#recorded.keys().next();
    if (this.#recorded.size >= KEPT && !oldest.done) this.#drop(oldest.value);
    this.model.prepareFor(room);
    const inputs = new StepBuffers(this.cache, count, room);
    try {
      const graph = capture(() => noGrad(() => this.model.forwardStep(inputs)), { chip: inputs.ids.chip });
      return { inputs, graph };
    } catch (e) {
      inputs.dispose();
      if (!(e instanceof CaptureError)) throw e;
      this.#refused = true;
      return undefined;
    }
  }

  #drop(key: string): void {
    const { inputs, graph } = this.#recorded.get(key)!;
    this.#recorded.delete(key);
    graph.dispose();
    graph.result.dispose();
    inputs.dispose();
  }

  dispose(): void {
    for (const key of [...this.#recorded.keys()]) this.#drop(key);
  }
}
