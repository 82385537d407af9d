// A 128-bit hash of bytes, for naming and checking what is kept on disk. MurmurHash3's mixing (Appleby, 2011) over
// 32-bit lanes. Not cryptographic: Node's own hashes are, and loading them takes longer than a second start may.

const rotate = (x: number, bits: number): number => (x << bits) | (x >>> (32 - bits));

function finish(h: number): number {
  let x = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return x ^ (x >>> 16);
}

/** Four 32-bit words. */
export function hashWords(bytes: Uint8Array): Uint32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const whole = bytes.length & ~15;
  let [a, b, c, d] = [0, 0, 0, 0];
  const block = (from: DataView, at: number): void => {
    a ^= Math.imul(rotate(Math.imul(from.getInt32(at, true), 0x239b961b), 15), 0xab0e9789);
    a = (Math.imul(rotate(a, 19) + b, 5) + 0x561ccd1b) | 0;
    b ^= Math.imul(rotate(Math.imul(from.getInt32(at + 4, true), 0xab0e9789), 16), 0x38b34ae5);
    b = (Math.imul(rotate(b, 17) + c, 5) + 0x0bcaa747) | 0;
    c ^= Math.imul(rotate(Math.imul(from.getInt32(at + 8, true), 0x38b34ae5), 17), 0xa1e38b93);
    c = (Math.imul(rotate(c, 15) + d, 5) + 0x96cd1c35) | 0;
    d ^= Math.imul(rotate(Math.imul(from.getInt32(at + 12, true), 0xa1e38b93), 18), 0x239b961b);
    d = (Math.imul(rotate(d, 13) + a, 5) + 0x32ac3b17) | 0;
  };
  for (let at = 0; at < whole; at += 16) block(view, at);
  if (whole < bytes.length) {
    // The rest, filled up with zeros; the length tells it from real ones.
    const rest = new Uint8Array(16);
    rest.set(bytes.subarray(whole));
    block(new DataView(rest.buffer), 0);
  }
  const mix = (): void => {
    a = (a + b + c + d) | 0;
    b = (b + a) | 0;
    c = (c + a) | 0;
    d = (d + a) | 0;
  };
  [a, b, c, d] = [a, b, c, d].map((x) => x ^ bytes.length) as [number, number, number, number];
  mix();
  [a, b, c, d] = [a, b, c, d].map(finish) as [number, number, number, number];
  mix();
  return Uint32Array.of(a, b, c, d);
}

/**
 * 32 hexadecimal digits for texts and bytes; the boundaries between them count.
 * @example hashHex("a", "b") !== hashHex("ab", "")
 */
export function hashHex(...parts: readonly (string | Uint8Array)[]): string {
  const list = parts.map((p) => (typeof p === "string" ? new TextEncoder().encode(p) : p));
  const lengths = new TextEncoder().encode(`${list.map((p) => p.length).join(" ")}\0`);
  const all = new Uint8Array(list.reduce((n, p) => n + p.length, lengths.length));
  let at = 0;
  for (const p of [lengths, ...list]) {
    all.set(p, at);
    at += p.length;
  }
  return Array.from(hashWords(all), (w) => w.toString(16).padStart(8, "0")).join("");
}
