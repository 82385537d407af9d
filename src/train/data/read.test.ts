import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { characterTokenizer } from "../../models/tokenizer.js";
import {
  DataOrder,
  hostRandom,
  IGNORE,
  makeBatch,
  readPrompts,
  readSequences,
  type Sequences,
  shuffle,
} from "./index.js";

const dir = mkdtempSync(join(tmpdir(), "vexil-data-"));
afterAll(() => rmSync(dir, { recursive: true }));
const file = (name: string, text: string) => {
  writeFileSync(join(dir, name), text);
  return join(dir, name);
};
const tokenizer = characterTokenizer("0123456789+=");
const ids = (text: string) => tokenizer.encode(text);

const read = (path: string, length: number) => readSequences([path], tokenizer, { length });
const listed = (s: Sequences) =>
  Array.from({ length: s.length }, (_, i) => {
    const { tokens, learned } = s.at(i);
    return { tokens: Array.from(tokens), given: Array.from(learned!).filter((l) => l === 0).length };
  });

describe("files of text and lines", () => {
  it("reads prompts and completions", () => {
    const path = file("a.jsonl", '{"prompt":"1+2=","completion":"3"}\n{"text":"12"}\n');
    expect(listed(read(path, 9))).toEqual([
      { tokens: [...ids("1+2=3"), 1], given: 4 },
      { tokens: [...ids("12"), 1], given: 0 },
    ]);
    expect(() => readPrompts(path, tokenizer, 9)).toThrow(/a\.jsonl:2: evaluation needs/);
    const good = file(
      "p.jsonl",
      '{"prompt":"1+2=","completion":"3"}\n{"prompt":"10+2=","completion":"12"}\n',
    );
    expect(readPrompts(good, tokenizer, 7)).toHaveLength(2);
    expect(() => readPrompts(good, tokenizer, 6)).toThrow(/p\.jsonl:2: 7 tokens; .* is 6/);
  });

  it("cuts plain text with one token of overlap", () => {
    const path = file("a.txt", "1234567");
    expect(listed(read(path, 3)).map((e) => e.tokens)).toEqual([ids("1234"), ids("4567")]);
  });

  it.each([
    ["b.jsonl", "{oops", /b\.jsonl:1: not JSON/],
    ["c.jsonl", '{"text":"1"}\n[]x', /c\.jsonl:2: not JSON/],
    ["d.jsonl", "7", /d\.jsonl:1: not a JSON object/],
    ["e.jsonl", '{"a":1}', /e\.jsonl:1: needs "prompt"/],
    ["f.jsonl", '{"text":"12345678901"}', /f\.jsonl:1: 12 tokens; sequence_length 9 holds 10/],
    ["g.jsonl", "", /g\.jsonl: the file is empty/],
    ["h.txt", "1", /fewer than two tokens/],
    ["i.jsonl", '{"text":"12"}\n{"text":"1-2"}', /i\.jsonl:2: the tokenizer has no token for "-"/],
    ["j.txt", "1+2=é", /j\.txt: the tokenizer has no token for "é"/],
  ])("names what is wrong in %s", (name, text, message) => {
    expect(() => read(file(name, text), 9)).toThrow(message);
  });

  it("names a missing file", () => {
    expect(() => read(join(dir, "none.jsonl"), 9)).toThrow(/none\.jsonl: there is no such file/);
  });
});

it("makeBatch shifts, masks and pads", () => {
  const b = makeBatch([{ tokens: [5, 6, 7, 8], learned: [0, 0, 1, 1] }, { tokens: [9, 1] }], 4, 0);
  expect([...b.inputs].map(Number)).toEqual([5, 6, 7, 0, 9, 0, 0, 0]);
  expect([...b.targets].map(Number)).toEqual([IGNORE, 7, 8, IGNORE, 1, IGNORE, IGNORE, IGNORE]);
  expect(b.learned).toBe(3);
});

describe("DataOrder", () => {
  it("visits every example once in an epoch, in an order that the seed decides", () => {
    const order = new DataOrder(10, 4, 3);
    const seen = [0, 1, 2, 3, 4].flatMap((s) => order.indices(s));
    expect([...seen.slice(0, 10)].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect([...seen.slice(10)].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(seen.slice(0, 10)).not.toEqual(seen.slice(10));
    expect(new DataOrder(10, 4, 3).indices(4)).toEqual(seen.slice(16));
    expect(new DataOrder(10, 4, 4).indices(0)).not.toEqual(seen.slice(0, 4));
  });

  it("shuffles evenly", () => {
    const random = hostRandom(1);
    const counts = new Array(4).fill(0);
    for (let i = 0; i < 8000; i++) counts[shuffle([0, 1, 2, 3], random)[0]!]++;
    for (const c of counts) expect(Math.abs(c - 2000)).toBeLessThan(200);
  });
});
