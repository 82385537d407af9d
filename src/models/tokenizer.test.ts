import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { characterTokenizer, TextTokenizer, TokenizerError } from "./tokenizer.js";

const folder = join(import.meta.dirname, "../../test/fixtures/models/qwen3");
const json = (name: string) => JSON.parse(readFileSync(join(folder, name), "utf8"));
const load = () =>
  new TextTokenizer({
    tokenizer: json("tokenizer.json"),
    config: json("tokenizer_config.json"),
    chatTemplate: readFileSync(join(folder, "chat_template.jinja"), "utf8"),
  });

describe("TextTokenizer", () => {
  const tokenizer = load();
  const reference = json("reference.json");

  it("gives the reference's token ids and texts", () => {
    for (const c of reference.cases) {
      expect(tokenizer.encode(c.prompt)).toEqual(c.input_ids);
      expect(tokenizer.decode(c.greedy, { specialTokens: true })).toBe(c.greedy_text);
    }
  });

  it("renders the reference's chat", () => {
    const text = tokenizer.chat(reference.chat.messages);
    expect(text).toBe(reference.chat.text);
    expect(tokenizer.encode(text)).toEqual(reference.chat.input_ids);
  });

  it("streams characters whole, whatever the tokens' borders", () => {
    for (const text of ["naïve 🙂 日本語 text", "a".repeat(100) + "é".repeat(50), ""]) {
      const stream = tokenizer.stream();
      const pieces = tokenizer.encode(text).map((id) => stream.push(id));
      expect(pieces.join("") + stream.end()).toBe(text);
      for (const p of pieces) expect(p).not.toContain("�");
    }
  });

  it("streams any tokens as they decode together, without holding back what is broken", () => {
    const id = fc.oneof(fc.integer({ min: 3, max: 639 }), fc.constantFrom(...tokenizer.encode("🙂你é")));
    fc.assert(
      fc.property(fc.array(id, { maxLength: 60 }), (ids) => {
        const stream = tokenizer.stream();
        const pieces = ids.map((i) => stream.push(i));
        expect(pieces.join("") + stream.end()).toBe(tokenizer.decode(ids));
      }),
    );
    const [lead] = tokenizer.encode("🙂") as [number, ...number[]];
    const stream = tokenizer.stream();
    const shown = Array.from({ length: 40 }, () => stream.push(lead)).join("");
    expect(shown.length).toBeGreaterThan(30);
  });

  it("knows what ends an answer", () => {
    expect(tokenizer.eosIds).toEqual([2]);
  });

  it.each([
    [{}, /no "model"/],
    [{ model: { type: "Nonsense" } }, /cannot be used/],
    [null, /no "model"/],
  ])("refuses %j", (bad, message) => {
    expect(() => new TextTokenizer({ tokenizer: bad })).toThrow(TokenizerError);
    expect(() => new TextTokenizer({ tokenizer: bad })).toThrow(message);
  });

  it("says when there is no chat template", () => {
    const plain = new TextTokenizer({ tokenizer: json("tokenizer.json") });
    expect(() => plain.chat([{ role: "user", content: "x" }])).toThrow(/no chat template/);
  });
});

describe("characterTokenizer", () => {
  it("has one token per character", () => {
    const t = characterTokenizer("0123456789+=");
    expect(t.encode("7+85=92")).toEqual([9, 12, 10, 7, 13, 11, 4]);
    expect(t.decode([9, 12, 10, 7, 13, 11, 4, 1])).toBe("7+85=92");
    expect(t.eosIds).toEqual([1]);
    expect(t.tokenId("<pad>")).toBe(0);
  });

  it("refuses what it has no token for, instead of leaving it out", () => {
    const t = characterTokenizer("0123456789+=");
    expect(() => t.encode("7 + 8")).toThrow('the tokenizer has no token for " "');
    expect(() => t.encode("7🙂")).toThrow('no token for "🙂"');
    expect(t.encode("7<eos>")).toEqual([9, 1]);
  });
});
