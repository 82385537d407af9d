// Tokens that can be learned: after each token come a few others, each of them with its own share. And the learning rates.

const mix = (x) => {
  let h = Math.imul(x ^ (x >>> 16), 0x45d9f3b);
  h = Math.imul(h ^ (h >>> 16), 0x45d9f3b);
  return (h ^ (h >>> 16)) >>> 0;
};

/** A chain of `count` tokens below `vocab`: the `j`-th of a token's `successors` follows with a share of 2^-j. */
export function tokenStream({ vocab, count, seed, successors }) {
  const out = new Int32Array(count);
  let token = seed % vocab;
  for (let i = 0; i < count; i++) {
    out[i] = token;
    const drawn = mix(i + Math.imul(seed, 0x9e3779b1));
    const j = Math.min(Math.clz32(drawn), successors - 1);
    token = mix(token * 64 + j + 1) % vocab;
  }
  return out;
}

/** Linear warm-up, then a cosine to a tenth. */
export function rates({ rate, warm }, steps, i) {
  if (i < warm) return (rate * (i + 1)) / warm;
  const at = (i - warm) / Math.max(1, steps - warm);
  return rate * (0.1 + 0.45 * (1 + Math.cos(Math.PI * at)));
}
