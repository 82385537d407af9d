// A short name for content: a 128-bit hash, the same in Node and browsers, without waiting. Not cryptographic.

/** 32 hexadecimal digits for a text: four FNV-1a-like lanes over UTF-16 units, mixed at the end. */
export function contentHash(text: string): string {
  let a = 0x811c9dc5;
  let b = 0x9e3779b9;
  let c = 0x85ebca6b;
  let d = 0xc2b2ae35;
  for (let i = 0; i < text.length; i++) {
    const u = text.charCodeAt(i);
    a = Math.imul(a ^ u, 0x01000193);
    b = Math.imul(b ^ u ^ (a >>> 15), 0x85ebca77);
    c = Math.imul(c ^ u ^ (b >>> 13), 0xc2b2ae3d);
    d = Math.imul(d ^ u ^ (c >>> 16), 0x27d4eb2f);
  }
  const lanes = [a ^ text.length, b, c, d];
  for (let round = 0; round < 2; round++)
    for (let i = 0; i < 4; i++) {
      let x = lanes[i]! ^ lanes[(i + 3) % 4]!;
      x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
      x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
      lanes[i] = x ^ (x >>> 16);
    }
  return lanes.map((x) => (x >>> 0).toString(16).padStart(8, "0")).join("");
}

/** A value of constants as text that tells all values apart (-0, NaN, infinities, bigints). */
export function showConstant(v: unknown): string {
  if (Array.isArray(v)) return `[${v.map(showConstant).join(",")}]`;
  if (typeof v === "bigint") return `${v}n`;
  if (typeof v === "number") return Object.is(v, -0) ? "-0" : String(v);
  return JSON.stringify(v) ?? "undefined";
}
