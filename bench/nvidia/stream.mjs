// Tokens that can be learned: after each token come a few others, each of them with its own share. And the learning rates.

const mix = (x) => {
  let h = Math.imul(x ^ (x >>> 16), 0x45d9f3b);
  h = Math.imul(h ^ (h >>> 16), 0x45d9f3b);
  return (h ^ (h >>> 16)) >>> 0;
};

/**
 * A chain of `count` tokens below `vocab`. Classes of `spread` neighbours follow one another: the `j`-th of a class's `successors` with
 * a share of 2^-j; which of a class's tokens it is, is chance, as most of a text is. With `skew` above 1 early classes follow more often
 * than late ones, as the words of a text do: then what follows what is learned little by little, the frequent first. Where all are
 * equally frequent the loss stands still for hundreds of steps, and how the sums were rounded decides when it falls.
 */
export function tokenStream({ vocab, count, seed, successors, spread = 1, skew = 1 }) {
  const classes = Math.floor(vocab / spread);
  const out = new Int32Array(count);
  let token = seed % vocab;
  for (let i = 0; i < count; i++) {
    out[i] = token;
    const drawn = mix(i + Math.imul(seed, 0x9e3779b1));
    const j = Math.min(Math.clz32(drawn), successors - 1);
    const at = mix(Math.floor(token / spread) * 64 + j + 1);
    const next = skew === 1 ? at % classes : Math.floor(classes * (at / 2 ** 32) ** skew);
    token = next * spread + (mix(drawn ^ 0x5bd1e995) % spread);
  }
  return out;
}

/** Linear warm-up, then a cosine to a tenth. */
export function rates({ rate, warm }, steps, i) {
  if (i < warm) return (rate * (i + 1)) / warm;
  const at = (i - warm) / Math.max(1, steps - warm);
  return rate * (0.1 + 0.45 * (1 + Math.cos(Math.PI * at)));
}
