// How the benchmarks measure: two or more sides in one process, run in turns, medians of nine, the spread kept. It knows
// nothing of what is measured; the floors of the machine stand in `floors.mjs`, the suites in `suites/`.

const now = () => performance.now();
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** How long and how often to measure; `quick` only shows that everything runs. */
export const settings = ({ quick = false } = {}) => ({
  quick,
  samples: quick ? 3 : 9,
  /** A sample repeats its side until it takes at least this long. */
  sampleMs: quick ? 4 : 30,
  /** Rest before each sample, so that the threads of the other side no longer wait for work by spinning. */
  restMs: quick ? 10 : 40,
});

const isPromise = (x) => typeof x?.then === "function";

/** Runs `once(i)` `count` times from `i = first`; gives milliseconds. */
async function timed(once, count, first) {
  const start = now();
  for (let i = first; i < first + count; i++) {
    const r = once(i);
    if (isPromise(r)) await r;
  }
  return now() - start;
}

/** @returns {{ ms: number, low: number, high: number, samples: number }} of a list of milliseconds */
export function summary(list) {
  const sorted = [...list].sort((a, b) => a - b);
  const mid = sorted.length >> 1;
  const ms = sorted.length % 2 ? sorted[mid] : (sorted[mid - 1] + sorted[mid]) / 2;
  return { ms, low: sorted[0], high: sorted.at(-1), samples: sorted.length };
}

/**
 * Measures sides in turns, the order turned round each time.
 *
 * @param sides `{ name, once(i), each? }`: `once` does the work and has finished when it returns or its promise
 * resolves; `each` (default 1) is how many times the work is done by one call
 * @param set {@link settings}; `rest: false` leaves out the pauses
 * @returns the median, lowest and highest milliseconds of each side by name; a side that throws gives `{ error }`
 */
export async function compare(sides, set, { rest = true } = {}) {
  const state = sides.map((side) => ({ ...side, counts: 1, times: [], next: 0 }));
  const run = async (s, count) => {
    const ms = await timed(s.once, count, s.next);
    s.next += count;
    return ms;
  };
  for (const s of state) {
    try {
      await run(s, 1);
      let one = await run(s, 1);
      // Young code is slower than it will be: look again until the number of repetitions holds.
      for (let tries = 0; tries < 8 && one * s.counts < set.sampleMs; tries++) {
        s.counts = Math.max(s.counts + 1, Math.ceil((set.sampleMs / Math.max(one, 1e-5)) * 1.1));
        one = (await run(s, s.counts)) / s.counts;
      }
    } catch (e) {
      s.error = e;
    }
  }
  for (let i = 0; i < set.samples; i++)
    for (const s of i % 2 ? state.toReversed() : state) {
      if (s.error) continue;
      if (rest) await sleep(set.restMs);
      try {
        s.times.push((await run(s, s.counts)) / s.counts / (s.each ?? 1));
      } catch (e) {
        s.error = e;
      }
    }
  return Object.fromEntries(
    state.map((s) => [s.name, s.error ? { error: firstLine(s.error) } : summary(s.times)]),
  );
}

export const firstLine = (e) => String(e?.message ?? e).split("\n")[0];

/** A small generator of its own, so that data is the same in every run (mulberry32). */
function uniform(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t >>> 0) + 0.5) / 4294967296;
  };
}

/** `count` normally distributed numbers (Box and Muller's method); past 2^20 they repeat, shifted. */
export function normal(count, seed = 1, scale = 1) {
  const out = new Float32Array(count);
  const unique = Math.min(count, 2 ** 20);
  const next = uniform(seed);
  for (let i = 0; i < unique; i += 2) {
    const r = Math.sqrt(-2 * Math.log(next())) * scale;
    const angle = 2 * Math.PI * next();
    out[i] = r * Math.cos(angle);
    if (i + 1 < unique) out[i + 1] = r * Math.sin(angle);
  }
  for (let at = unique; at < count; ) {
    const step = Math.min(unique - 1, count - at);
    out.copyWithin(at, 1, 1 + step);
    at += step;
  }
  return out;
}

/** How many sets of operands of `bytes` it takes to fill four times the last-level cache. */
export const setsFor = (bytes, cacheBytes) => Math.max(1, Math.ceil((4 * cacheBytes) / bytes));

/** The largest difference of two arrays over the largest value of the second. */
export function worst(got, want) {
  let diff = 0;
  let top = 1e-30;
  for (let i = 0; i < want.length; i++) {
    diff = Math.max(diff, Math.abs(got[i] - want[i]));
    top = Math.max(top, Math.abs(want[i]));
  }
  return diff / top;
}
