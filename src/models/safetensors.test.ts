import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readSafetensors, SafetensorsError, safetensorsChunks, type TensorBytes } from "./safetensors.js";

const join = (chunks: Uint8Array[]) => new Uint8Array(Buffer.concat(chunks));
const sample = new Map<string, TensorBytes>([
  ["b", { dtype: "f32", shape: [2, 3], data: new Uint8Array(new Float32Array([1, 2, 3, 4, 5, 6]).buffer) }],
  ["a", { dtype: "i64", shape: [], data: new Uint8Array(new BigInt64Array([7n]).buffer) }],
  ["empty", { dtype: "bf16", shape: [0, 4], data: new Uint8Array(0) }],
  ["d", { dtype: "f8e4m3", shape: [2], data: new Uint8Array([0x38, 0x7f]) }],
  ["e", { dtype: "f8e5m2", shape: [1, 1], data: new Uint8Array([0x3c]) }],
  ["c", { dtype: "bool", shape: [3], data: new Uint8Array([1, 0, 1]) }],
]);

/** A file with this header text and this many data bytes. */
function file(header: string, data: number): Uint8Array {
  const json = new TextEncoder().encode(header);
  const out = new Uint8Array(8 + json.length + data);
  new DataView(out.buffer).setBigUint64(0, BigInt(json.length), true);
  out.set(json, 8);
  return out;
}

describe("safetensors", () => {
  it("reads back what it wrote", () => {
    const f = readSafetensors(join(safetensorsChunks(sample, { who: "test" })), "x.safetensors");
    expect(f.metadata).toEqual({ who: "test" });
    expect([...f.tensors.keys()].sort()).toEqual([...sample.keys()].sort());
    for (const [name, t] of sample) {
      expect(f.tensors.get(name)).toMatchObject({ dtype: t.dtype, shape: t.shape });
      expect([...f.data(name)]).toEqual([...t.data]);
    }
  });

  it.each([
    ["a length past the end", file("{}", 0).fill(0xff, 0, 3), /truncated|not plausible/],
    ["no JSON", file("{oops", 0), /m\.safetensors: the header is not JSON/],
    ["a list", file("[]", 0), /not a JSON object/],
    [
      "an unknown dtype",
      file('{"w":{"dtype":"F3","shape":[1],"data_offsets":[0,4]}}', 4),
      /tensor "w": dtype "F3"/,
    ],
    [
      "a wrong size",
      file('{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', 4),
      /needs 8 bytes, data_offsets give 4/,
    ],
    ["data past the end", file('{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', 4), /truncated/],
    [
      "a negative size",
      file('{"w":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', 4),
      /not a list of sizes/,
    ],
    [
      "an overlap",
      file(
        '{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"v":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}',
        6,
      ),
      /overlap or gap/,
    ],
    [
      "bytes that belong to nobody",
      file('{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}', 6),
      /2 bytes after the last tensor/,
    ],
    ["three bytes", new Uint8Array(3), /3 bytes are too few/],
  ])("refuses %s", (_what, bytes, message) => {
    expect(() => readSafetensors(bytes, "m.safetensors")).toThrow(message);
  });

  it("throws only its own error on any damaged file", () => {
    const good = join(safetensorsChunks(sample));
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }),
        fc.nat(good.length),
        (edits, length) => {
          const bytes = good.slice(0, length);
          for (const [at, v] of edits) if (at < length) bytes[at] = v;
          try {
            const f = readSafetensors(bytes, "fuzz");
            for (const [name, e] of f.tensors) expect(f.data(name).length).toBe(e.end - e.begin);
          } catch (e) {
            expect(e).toBeInstanceOf(SafetensorsError);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});
