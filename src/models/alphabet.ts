// Which bytes a byte-level tokenizer has no token for. Tokenizers of large models know all 256; one for a closed
// alphabet does not, and would leave out what it does not know without a word.

/** The character that stands for a byte in the vocabulary of a byte-level BPE (Radford et al., 2019). */
export const BYTE_CHARACTERS: readonly string[] = (() => {
  const shown = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
  let next = 256;
  return Array.from({ length: 256 }, (_, b) => String.fromCharCode(shown(b) ? b : next++));
})();

/** The parts of `tokenizer.json` that decide it. */
interface TokenizerJson {
  readonly model?: {
    readonly type?: string;
    readonly vocab?: Readonly<Record<string, number>>;
    readonly unk_token?: string | null;
    readonly byte_fallback?: boolean;
  };
  readonly decoder?: { readonly type?: string } | null;
  readonly added_tokens?: readonly { readonly content?: string }[];
}

/**
 * A function that finds the first character of a text that the tokenizer would leave out, or undefined where it
 * has a token for everything (or one for what it does not know).
 */
export function missingCharacters(json: unknown): ((text: string) => string | undefined) | undefined {
  const { model, decoder, added_tokens: added } = json as TokenizerJson;
  if (model?.type !== "BPE" || decoder?.type !== "ByteLevel" || model.unk_token || model.byte_fallback)
    return undefined;
  const vocab = model.vocab ?? {};
  const missing = new Set(BYTE_CHARACTERS.flatMap((c, byte) => (Object.hasOwn(vocab, c) ? [] : [byte])));
  if (missing.size === 0) return undefined;
  const whole = (added ?? []).flatMap((t) => (t.content ? [t.content] : []));
  const encoder = new TextEncoder();
  return (text) => {
    let rest = text;
    for (const token of whole) rest = rest.replaceAll(token, "");
    for (const c of rest) if (encoder.encode(c).some((b) => missing.has(b))) return c;
    return undefined;
  };
}
