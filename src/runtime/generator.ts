// Random numbers: a counter-based generator. A generator is a seed and a position; kernels compute element `i`
// of a draw as philox(seed, position + i), so results do not depend on the chip or on how a launch is split.

/** What a random operator hands to its kernel. */
export interface Draw {
  readonly seed: bigint;
  /** The seed's halves as u32 numbers. */
  readonly seedLow: number;
  readonly seedHigh: number;
  /** The first of the counters taken. */
  readonly offset: number;
}

export interface GeneratorState {
  readonly seed: bigint;
  readonly offset: number;
}

const toU64 = (seed: number | bigint): bigint => {
  if (typeof seed === "number" && !Number.isSafeInteger(seed))
    throw new RangeError(`a seed is an integer, not ${seed}; use a bigint above 2^53`);
  return BigInt.asUintN(64, BigInt(seed));
};

/**
 * A stream of random numbers that a seed decides.
 *
 * @example
 * const g = new Generator(42);
 * rand([2, 3], { generator: g });
 */
export class Generator {
  private known: bigint | undefined;
  private offset = 0;

  /** Without a seed, one is drawn from the machine's entropy. */
  constructor(seed?: number | bigint) {
    if (seed !== undefined) this.known = toU64(seed);
  }

  // Drawn when first needed: the first use of the source of entropy takes milliseconds.
  private get seed(): bigint {
    this.known ??= entropy();
    return this.known;
  }
  private set seed(seed: bigint) {
    this.known = seed;
  }

  /** Starts the stream of `seed` from its beginning. */
  manualSeed(seed: number | bigint): this {
    this.seed = toU64(seed);
    this.offset = 0;
    return this;
  }

  get initialSeed(): bigint {
    return this.seed;
  }

  /** Takes the next `count` counters (each worth four 32-bit words). */
  take(count: number): Draw {
    if (!(Number.isInteger(count) && count >= 0))
      throw new RangeError(`a generator gives a whole number of counters, not ${count}`);
    const offset = this.offset;
    this.offset += count;
    return {
      seed: this.seed,
      seedLow: Number(this.seed & 0xffffffffn),
      seedHigh: Number(this.seed >> 32n),
      offset,
    };
  }

  /** A number in [0, 1) with 32 random bits, on the host: for shuffles and choices. Takes one counter. */
  random(): number {
    const d = this.take(1);
    return philox(d.offset, 0, d.seedLow, d.seedHigh)[0] / 2 ** 32;
  }

  getState(): GeneratorState {
    return { seed: this.seed, offset: this.offset };
  }

  setState(state: GeneratorState): void {
    if (!(Number.isSafeInteger(state.offset) && state.offset >= 0))
      throw new RangeError(`the position of a generator is a whole number, not ${state.offset}`);
    this.seed = toU64(state.seed);
    this.offset = state.offset;
  }
}

function entropy(): bigint {
  const words = globalThis.crypto.getRandomValues(new Uint32Array(2));
  return (BigInt(words[0]!) << 32n) | BigInt(words[1]!);
}

/** The upper half of a 32 x 32 bit product. */
function mulHigh(a: number, b: number): number {
  const [al, ah, bl, bh] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const mid = ah * bl + ((al * bl) >>> 16);
  const cross = al * bh + (mid % 65536);
  return (ah * bh + Math.floor(mid / 65536) + Math.floor(cross / 65536)) >>> 0;
}

/**
 * Philox 4x32 with 10 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) on the host.
 * The counter is `offset` (up to 2^53) in its lower 64 bits and `stream` in its third word, the key is the seed.
 */
export function philox(
  offset: number,
  stream: number,
  seedLow: number,
  seedHigh: number,
): [number, number, number, number] {
  return philox4x32(offset >>> 0, Math.floor(offset / 2 ** 32) >>> 0, stream >>> 0, 0, seedLow, seedHigh);
}

/** {@link philox} with all four words of the counter and both of the key. */
export function philox4x32(
  c0: number,
  c1: number,
  c2: number,
  c3: number,
  k0: number,
  k1: number,
): [number, number, number, number] {
  for (let round = 0; round < 10; round++) {
    const h0 = mulHigh(0xd2511f53, c0);
    const l0 = Math.imul(0xd2511f53, c0) >>> 0;
    const h1 = mulHigh(0xcd9e8d57, c2);
    const l1 = Math.imul(0xcd9e8d57, c2) >>> 0;
    c0 = (h1 ^ c1 ^ k0) >>> 0;
    c1 = l1;
    c2 = (h0 ^ c3 ^ k1) >>> 0;
    c3 = l0;
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** The generator of random operators that are given none. */
export const defaultGenerator = new Generator();

/** Seeds the default generator. */
export function manualSeed(seed: number | bigint): void {
  defaultGenerator.manualSeed(seed);
}
