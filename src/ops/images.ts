// The operands that operators over images (convolutions, pooling) are timed with. Not what they do.

import type { Tensor } from "../tensor/index.js";
import { randn } from "./random.js";

/** Edge of an image with 1, 2 or 3 dimensions, so that all have about as many elements. */
const EDGES = [4096, 64, 16] as const;

/** A batch of 8 images `[8, channels, ...]` with `rank` dimensions of equal length: 2 M elements with 64 channels. */
export const timedImages = (rank: 1 | 2 | 3, channels = 64): Tensor =>
  randn([8, channels, ...new Array<number>(rank).fill(EDGES[rank - 1]!)]);

/** Half of the edge of {@link timedImages}, for each dimension. */
export const halfEdges = (rank: 1 | 2 | 3): number[] => new Array<number>(rank).fill(EDGES[rank - 1]! / 2);
