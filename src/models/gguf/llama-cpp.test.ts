// What llama.cpp makes of numbers and models, against what is read here: the fixtures of scripts/make-gguf-fixtures.py.

import * as fs from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import "../../chips/index.js";
import { loadChip, scope } from "../../runtime/index.js";
import { noGrad, tensor } from "../../tensor/index.js";
import { Weights } from "../folder.js";
import { loadModel } from "../load.js";
import type { TensorForm } from "../parameters.js";
import { blockFloats, blockIntegers, encode, integerLayout } from "./blocks.js";
import { isBlockType, TYPES, type TypeName } from "./types.js";

const FIXTURES = join(import.meta.dirname, "../../../test/fixtures/models/gguf");
const TYPE_NAMES = (Object.keys(TYPES) as TypeName[]).filter(isBlockType);
const bits = (x: Float32Array): number[] => [...new Uint32Array(x.buffer, x.byteOffset, x.length)];

describe("blocks of llama.cpp's own package", () => {
  using fixture = new Weights([join(FIXTURES, "blocks.safetensors")]);
  const bytes = new Map(fixture.names.map((n) => [n, fixture.bytes(n)]));
  const floats = (name: string) => new Float32Array(bytes.get(name)!.slice().buffer);

  it.each(TYPE_NAMES)("%s become the same floats, bit for bit", (type) => {
    const got = blockFloats(type, bytes.get(`${type}.bytes`)!);
    expect(bits(got).map((b) => (b === 0x80000000 ? 0 : b))).toEqual(
      bits(floats(`${type}.floats`)).map((b) => (b === 0x80000000 ? 0 : b)),
    );
  });

  /** Matrices of the blocks that there are; one has an odd number of groups in a row. */
  const MATRICES = TYPE_NAMES.flatMap((type) => [
    [type, 2, 512] as const,
    ...(TYPES[type].block === 32 ? [[type, 10, 96] as const] : []),
  ]);
  it.each(MATRICES)("%s become integers that stand for the same floats, [%d, %d]", (type, rows, columns) => {
    const want = floats(`${type}.floats`);
    const layout = integerLayout(type, rows, columns);
    const blocks = bytes.get(`${type}.bytes`)!;
    const taken = blocks.subarray(0, ((rows * columns) / TYPES[type].block) * TYPES[type].bytes);
    // Twice in the same memory, and from an odd place.
    const room = {};
    blockIntegers(type, blocks, 2, 512, room);
    const odd = new Uint8Array(taken.length + 1);
    odd.set(taken, 1);
    const q = blockIntegers(type, odd.subarray(1), rows, columns, room);
    const scale = numbers(q.scales, layout.scales.dtype);
    const zero = q.zeros && numbers(q.zeros, layout.zeros!.dtype);
    const largest = want.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
    const groups = columns / layout.groupSize;
    expect(q.packed.length).toBe(rows * layout.packed.shape[1]!);
    for (let r = 0; r < rows; r++)
      for (let k = 0; k < columns; k++) {
        const g = r * groups + Math.floor(k / layout.groupSize);
        const at = element(q.packed, layout.packed, r, k);
        expect(Math.abs((at - (zero?.[g] ?? 0)) * scale[g]! - want[r * columns + k]!)).toBeLessThan(
          1e-6 * largest,
        );
      }
  });

  it.each(["Q8_0", "Q4_0"] as const)("%s are made of floats in the same way, byte for byte", (type) => {
    expect([...encode(type, floats(`${type}.from`))]).toEqual([...bytes.get(`${type}.to`)!]);
  });
});

function numbers(data: Uint8Array, dtype: string): ArrayLike<number> {
  const own = data.slice().buffer;
  if (dtype === "f32") return new Float32Array(own);
  expect(dtype).toBe("f16");
  return Array.from(new Uint16Array(own), (h) => {
    const [e, m] = [(h >> 10) & 31, h & 1023];
    return (h & 0x8000 ? -1 : 1) * (e === 0 ? m * 2 ** -24 : (1 + m / 1024) * 2 ** (e - 15));
  });
}

/** Element `k` of row `r` of a matrix, as `ops/quantized.ts` lays it out. */
function element(data: Uint8Array, { dtype, shape }: TensorForm, r: number, k: number): number {
  const width = shape[1]!;
  if (dtype === "i8") return (data[r * width + k]! << 24) >> 24;
  const byte = data[r * width + (k % width)]!;
  return ((k < width ? byte & 15 : byte >> 4) << 28) >> 28;
}

describe("models quantized by llama.cpp", () => {
  const device = "wasm";
  beforeAll(async () => {
    await loadChip(device);
  });
  const greedy = JSON.parse(fs.readFileSync(join(FIXTURES, "greedy.json"), "utf8")) as Record<
    string,
    number[]
  >;
  using w = new Weights([join(FIXTURES, "reference.safetensors")]);
  const ids = [...new BigInt64Array(w.bytes("ids").slice().buffer)];
  const reference = new Map(Object.keys(greedy).map((k) => [k, new Float32Array(w.bytes(k).slice().buffer)]));

  it.each(Object.keys(greedy))(
    "%s: the logits of its blocks, and tokens as likely as llama.cpp's",
    async (kind) => {
      const { model } = loadModel(join(FIXTURES, `${kind}.gguf`), { device });
      const run = async (tokens: readonly bigint[]): Promise<number[]> => {
        const out = noGrad(() =>
          scope(() =>
            model.forward(tensor(BigInt64Array.from(tokens), { shape: [1, tokens.length], device })),
          ),
        );
        return Array.from(await out.data(), Number);
      };
      const want = reference.get(kind)!;
      const largest = want.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
      const got = await run(ids);
      expect(got.length).toBe(want.length);
      for (const [i, x] of got.entries()) expect(Math.abs(x - want[i]!)).toBeLessThan(1e-5 * largest);
      const tokens = [...ids];
      for (const next of greedy[kind]!) {
        const last = (await run(tokens)).slice(-40);
        // llama.cpp rounds activations to eight bits: of two tokens that are nearly as likely it may take the other.
        expect(Math.max(...last) - last[next]!).toBeLessThan(0.03 * largest);
        tokens.push(BigInt(next));
      }
      model.dispose();
    },
  );
});
