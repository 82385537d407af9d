// The bytes that each token of a tokenizer stands for, for whoever must know what a token adds to a text.

import { BYTE_CHARACTERS } from "./alphabet.js";

interface TokenizerJson {
  readonly model?: { readonly vocab?: unknown };
  readonly decoder?: {
    readonly type?: string;
    readonly decoders?: readonly { readonly type?: string }[];
  } | null;
  readonly added_tokens?: readonly {
    readonly id?: number;
    readonly content?: string;
    readonly special?: boolean;
  }[];
}

const utf8 = new TextEncoder();
const BYTE_OF = new Map(BYTE_CHARACTERS.map((c, byte) => [c, byte]));

/**
 * The bytes of every token of a parsed `tokenizer.json`, by id: undefined for special tokens and ids without a token.
 * Byte-level vocabularies (GPT-2 and after) and those of SentencePiece (`▁`, `<0x0A>`) are told apart by the decoder.
 */
export function tokenBytes(json: unknown, vocabSize: number): (Uint8Array | undefined)[] {
  const { model, decoder, added_tokens: added } = json as TokenizerJson;
  const out = new Array<Uint8Array | undefined>(vocabSize).fill(undefined);
  const types = [decoder?.type, ...(decoder?.decoders ?? []).map((d) => d.type)];
  const isByteLevel = types.includes("ByteLevel");
  const bytesOf = (token: string): Uint8Array => {
    if (isByteLevel) {
      const bytes = Array.from(token, (c) => BYTE_OF.get(c));
      return bytes.includes(undefined) ? utf8.encode(token) : Uint8Array.from(bytes as number[]);
    }
    const byte = /^<0x([0-9A-F]{2})>$/i.exec(token);
    return byte ? Uint8Array.of(Number.parseInt(byte[1]!, 16)) : utf8.encode(token.replaceAll("\u2581", " "));
  };
  const vocab = model?.vocab;
  // Unigram models list [token, score] by id; the others map tokens to ids.
  const entries: Iterable<readonly [string, number]> = Array.isArray(vocab)
    ? vocab.map((v, id) => [String((v as unknown[])[0]), id] as const)
    : Object.entries((vocab ?? {}) as Record<string, number>);
  for (const [token, id] of entries) if (id < vocabSize) out[id] = bytesOf(token);
  for (const t of added ?? [])
    if (t.id !== undefined && t.id < vocabSize)
      out[t.id] = t.special || !t.content ? undefined : utf8.encode(t.content);
  return out;
}
