import fc from "fast-check";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { TextTokenizer } from "../../models/tokenizer.js";
import { trainBpe } from "./bpe.js";
import { Pairs } from "./pairs.js";

const modelOf = (t: TextTokenizer) =>
  (t.files.tokenizer as { model: { vocab: Record<string, number>; merges: string[] } }).model;

describe("merges", () => {
  it("joins the most frequent pair, and of equally frequent ones the one of older tokens", () => {
    // " low" 5 times, " lower" twice, " newest" 6 times, " widest" 3 times (Sennrich et al., 2016, figure 1).
    const text = " low".repeat(5) + " lower".repeat(2) + " newest".repeat(6) + " widest".repeat(3);
    const { merges, vocab } = modelOf(trainBpe([text], { vocabSize: 257 + 8 }));
    // "es" and "st" occur 9 times, and e is older than s; then "est"; then of those that occur 7 times "lo", and so on.
    expect(merges).toEqual(["e s", "es t", "l o", "Ġ lo", "Ġlo w", "e w", "n ew", "Ġ new"]);
    expect(vocab["<|endoftext|>"]).toBe(0);
    expect(vocab["!"]).toBe(1);
    expect(vocab["es"]).toBe(257);
  });

  it("joins runs from the left, and stops when nothing is left to join", () => {
    const { merges } = modelOf(trainBpe(["aaaaa"], { vocabSize: 1000 }));
    expect(merges).toEqual(["a a", "aa a", "aa aaa"]);
  });

  it("agrees with counting everything anew after each merge", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.tuple(fc.array(fc.nat(3), { minLength: 1, maxLength: 12 }), fc.integer({ min: 1, max: 5 })),
          {
            minLength: 1,
            maxLength: 8,
          },
        ),
        (input) => {
          const pairs = new Pairs(input);
          let words = input.map(([s, n]) => [[...s], n] as [number[], number]);
          for (let symbol = 4; symbol < 14; symbol++) {
            const counts = new Map<string, number>();
            for (const [s, n] of words)
              for (let i = 0; i + 1 < s.length; i++)
                counts.set(`${s[i]} ${s[i + 1]}`, (counts.get(`${s[i]} ${s[i + 1]}`) ?? 0) + n);
            const best = [...counts]
              .map(([k, n]) => [...k.split(" ").map(Number), n] as [number, number, number])
              .sort((a, b) => b[2] - a[2] || a[0] - b[0] || a[1] - b[1])[0];
            const got = pairs.next();
            expect(got).toEqual(best?.slice(0, 2));
            if (!got) return;
            pairs.merge(got[0], got[1], symbol);
            words = words.map(([s, n]) => {
              const out: number[] = [];
              for (let i = 0; i < s.length; i++)
                if (s[i] === got[0] && s[i + 1] === got[1]) {
                  out.push(symbol);
                  i++;
                } else out.push(s[i]!);
              return [out, n];
            });
          }
        },
      ),
    );
  });
});

describe("a trained tokenizer", () => {
  const docs = join(import.meta.dirname, "../../../docs");
  const texts = readdirSync(docs)
    .filter((f) => f.endsWith(".md"))
    .map((f) => readFileSync(join(docs, f), "utf8"));
  const seen: number[] = [];
  const tokenizer = trainBpe(texts, { vocabSize: 3000, onProgress: (_what, done) => seen.push(done) });

  it("gives texts back, of any characters, in fewer tokens", () => {
    expect(Object.keys(modelOf(tokenizer).vocab)).toHaveLength(3000);
    for (const text of [texts[0]!, "naïve — 漢字 🎉\r\n\t  x's", "\u0000\u007f\uffff"])
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    expect(tokenizer.encode(texts[0]!).length).toBeLessThan(Buffer.byteLength(texts[0]!) / 2.5);
    expect(tokenizer.encode("a<|endoftext|>b")).toEqual([tokenizer.tokenId("a"), 0, tokenizer.tokenId("b")]);
    expect(tokenizer.eosIds).toEqual([0]);
    expect(seen).toEqual([1000, 2000, 3000]);
  });

  it("keeps special tokens out of merges", () => {
    const t = trainBpe(["<|a|>".repeat(50) + "xy xy"], { vocabSize: 300, specialTokens: ["<end>", "<|a|>"] });
    expect(modelOf(t).merges).toEqual(["x y", "Ġ xy"]);
    expect(t.encode("<|a|>xy<end>")).toEqual([1, t.tokenId("xy"), 0]);
  });

  it("refuses a vocabulary without room", () => {
    expect(() => trainBpe(["x"], { vocabSize: 256 })).toThrow(
      /vocab_size of 256 does not hold the 256 bytes and 1 special/,
    );
    expect(() => trainBpe(["x"], { vocabSize: 999, specialTokens: ["a", "a"] })).toThrow(
      /each is there once/,
    );
  });
});
