// Packed documents, files of tokens, patterns of names, weights.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { characterTokenizer } from "../../models/tokenizer.js";
import {
  DataOrder,
  expandPath,
  makeBatch,
  readSequences,
  readSources,
  type Sequences,
  sourceTexts,
  TokenFileWriter,
} from "./index.js";

const dir = mkdtempSync(join(tmpdir(), "vexil-sources-"));
afterAll(() => rmSync(dir, { recursive: true }));
const file = (name: string, data: string | Uint8Array) => {
  const path = join(dir, name);
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, data);
  return path;
};
const tokenizer = characterTokenizer("0123456789");
const ids = (text: string) => tokenizer.encode(text);
const EOS = tokenizer.eosIds[0]!;
const tokensOf = (s: Sequences) => Array.from({ length: s.length }, (_, i) => Array.from(s.at(i).tokens));

describe("packed documents", () => {
  it("fill sequences, with an end between them, and keep what is learned", () => {
    const path = file("p.jsonl", '{"text":"12"}\n{"prompt":"34","completion":"5"}\n{"text":"678"}\n');
    const s = readSequences([path], tokenizer, { length: 4, packed: true });
    const all = [...ids("12"), EOS, ...ids("345"), EOS, ...ids("678"), EOS];
    expect(tokensOf(s)).toEqual([all.slice(0, 5), all.slice(4, 9)]);
    expect(Array.from(s.at(0).learned!)).toEqual([1, 1, 1, 0, 0]);
    expect(Array.from(s.at(1).learned!)).toEqual([0, 1, 1, 1, 1]);
    const { learned } = makeBatch([s.at(0), s.at(1)], 4, 0);
    expect(learned).toBe(2 + 4);
  });

  it("come out of several files in the order of their names", () => {
    file("docs/b.txt", "34");
    file("docs/a.txt", "12");
    file("docs/deep/c.txt", "56");
    const s = readSources(join(dir, "docs/**/*.txt"), tokenizer, { length: 8, packed: true });
    expect(tokensOf(s.sequences)).toEqual([[...ids("12"), EOS, ...ids("34"), EOS, ...ids("56"), EOS]]);
  });

  it("must fill one sequence", () => {
    const path = file("few.txt", "12");
    expect(() => readSequences([path], tokenizer, { length: 8, packed: true })).toThrow(
      /few\.txt: 3 tokens do not fill one sequence of 9/,
    );
  });
});

describe("patterns", () => {
  it("name files of a folder, or of all folders below", () => {
    file("g/a1.txt", "1");
    file("g/a2.txt", "1");
    file("g/b1.md", "1");
    file("g/h/a3.txt", "1");
    const names = (p: string) => expandPath(join(dir, p)).map((f) => f.slice(dir.length + 1));
    expect(names("g/*.txt")).toEqual(["g/a1.txt", "g/a2.txt"]);
    expect(names("g/**/a?.txt")).toEqual(["g/a1.txt", "g/a2.txt", "g/h/a3.txt"]);
    expect(names("g/plain.txt")).toEqual(["g/plain.txt"]);
    expect(() => names("g/*.none")).toThrow(/\*\.none: no file has such a name/);
  });
});

/** A file as `numpy.save` writes it. */
function npy(descr: string, shape: string, data: Uint8Array, version = 1): Buffer {
  const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': ${shape}, }`;
  const start = version === 1 ? 10 : 12;
  const header = Buffer.from(`${text.padEnd(128 - start - 1)}\n`);
  const size = Buffer.alloc(start - 8);
  if (version === 1) size.writeUInt16LE(header.length);
  else size.writeUInt32LE(header.length);
  return Buffer.concat([Buffer.from([0x93, ...Buffer.from("NUMPY"), version, 0]), size, header, data]);
}
const bytes = (a: Uint16Array | Uint32Array) => new Uint8Array(a.buffer);

describe("files of tokens", () => {
  it.each<[string, Buffer]>([
    ["<u2", npy("<u2", "(9,)", bytes(Uint16Array.from([1, 2, 3, 4, 5, 6, 7, 8, 65000])))],
    ["<u4", npy("<u4", "(9,)", bytes(Uint32Array.from([1, 2, 3, 4, 5, 6, 7, 8, 65000])))],
    ["<u4 v2", npy("<u4", "(9,)", bytes(Uint32Array.from([1, 2, 3, 4, 5, 6, 7, 8, 65000])), 2)],
  ])("of %s are read in pieces that overlap by one", (name, data) => {
    const s = readSequences([file(`${name}.npy`, data)], tokenizer, { length: 4 });
    expect(tokensOf(s)).toEqual([
      [1, 2, 3, 4, 5],
      [5, 6, 7, 8, 65000],
    ]);
    expect([s.longest, s.largest]).toEqual([5, 65000]);
  });

  it("are written as they are read", () => {
    for (const vocab of [65536, 65537]) {
      const path = join(dir, `w${vocab}.npy`);
      const writer = new TokenFileWriter(path, vocab);
      writer.write([1, 2, 3]);
      writer.write([4, 5]);
      writer.close();
      expect(readFileSync(path).length).toBe(128 + 5 * (vocab === 65536 ? 2 : 4));
      expect(tokensOf(readSequences([path], tokenizer, { length: 2 }))).toEqual([
        [1, 2, 3],
        [3, 4, 5],
      ]);
    }
  });

  it.each<[string, Uint8Array, RegExp]>([
    ["text.npy", Buffer.from("no numpy here"), /text\.npy: not an \.npy file/],
    ["i8.npy", npy("<i8", "(3,)", new Uint8Array(24)), /i8\.npy: tokens must be uint16 or uint32.*not <i8/],
    [
      "two.npy",
      npy("<u2", "(3, 4)", new Uint8Array(24)),
      /two\.npy: tokens must be one-dimensional, not of shape \(3, 4\)/,
    ],
    [
      "short.npy",
      npy("<u2", "(30,)", new Uint8Array(24)),
      /short\.npy: the header tells of 30 tokens.*truncated/,
    ],
    ["few.npy", npy("<u2", "(3,)", new Uint8Array(6)), /few\.npy: 3 tokens do not fill one sequence of 5/],
  ])("say what is wrong in %s", (name, data, message) => {
    expect(() => readSequences([file(name, data)], tokenizer, { length: 4 })).toThrow(message);
  });

  it("are no text to train a tokenizer on", () => {
    const path = file("t.npy", npy("<u2", "(3,)", new Uint8Array(6)));
    expect(() => [...sourceTexts([path])]).toThrow(/t\.npy: holds tokens already/);
  });
});

describe("weights", () => {
  it("share out what is drawn, each source going round its own sequences", () => {
    const order = new DataOrder(
      [
        { count: 10, weight: 1 },
        { count: 30, weight: 3 },
        { count: 10, weight: 6 },
      ],
      10,
      5,
    );
    const drawn = Array.from({ length: 15 }, (_, s) => order.indices(s)).flat();
    // Three rounds of 50 draws: 5, 15 and 30 of them a round.
    const of = (from: number, to: number) => drawn.filter((i) => i >= from && i < to);
    expect([of(0, 10).length, of(10, 40).length, of(40, 50).length]).toEqual([15, 45, 90]);
    for (let k = 0; k < 9; k++)
      expect(new Set(of(40, 50).slice(10 * k, 10 * k + 10)).size).toBeGreaterThan(5);
    const counts = new Map<number, number>();
    for (const i of of(40, 50)) counts.set(i, (counts.get(i) ?? 0) + 1);
    expect([...counts.values()]).toEqual(new Array(10).fill(9));
    // A step is known without those before it.
    const shares = [
      { count: 10, weight: 1 },
      { count: 30, weight: 3 },
      { count: 10, weight: 6 },
    ];
    expect(new DataOrder(shares, 10, 5).indices(7)).toEqual(order.indices(7));
  });

  it("are read from the configuration's list", () => {
    const [a, b] = [file("wa.txt", "12"), file("wb.txt", "345")];
    const { sequences, shares } = readSources([a, { path: b, weight: 3 }], tokenizer, { length: 1 });
    expect(tokensOf(sequences)).toEqual([ids("12"), ids("34"), ids("45")]);
    expect(shares).toEqual([
      { count: 1, weight: 1 },
      { count: 2, weight: 3 },
    ]);
    expect(readSources([a, b], tokenizer, { length: 1 }).shares).toEqual([{ count: 3, weight: 1 }]);
  });
});
