// Tokens in a file of their own, made once and read piece by piece: a one-dimensional NumPy array (.npy, format 1.0 or 2.0,
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html) of uint16 or uint32. `numpy.save` writes such files.

import * as fs from "node:fs";
import { DataError, fileError } from "./lines.js";
import type { Example, Sequences } from "./sequences.js";

const MAGIC = Buffer.from("\x93NUMPY", "latin1");

/** What an .npy file's header says. */
interface Layout {
  readonly bytes: 2 | 4;
  readonly count: number;
  /** Where the tokens begin. */
  readonly start: number;
}

function readLayout(fd: number, path: string): Layout {
  const size = fs.fstatSync(fd).size;
  const head = Buffer.alloc(Math.min(size, 65_548));
  fs.readSync(fd, head, 0, head.length, 0);
  if (head.length < 12 || !head.subarray(0, 6).equals(MAGIC))
    throw new DataError(`${path}: not an .npy file (it does not begin with \\x93NUMPY)`);
  const version = head[6]!;
  const start = version === 1 ? 10 + head.readUInt16LE(8) : 12 + head.readUInt32LE(8);
  const text = head.toString("latin1", version === 1 ? 10 : 12, start);
  const dtype = /'descr':\s*'([^']*)'/.exec(text)?.[1];
  const shape = /'shape':\s*\(([^)]*)\)/.exec(text)?.[1];
  if (start > head.length || dtype === undefined || shape === undefined)
    throw new DataError(`${path}: the .npy header cannot be read`);
  if (dtype !== "<u2" && dtype !== "<u4")
    throw new DataError(`${path}: tokens must be uint16 or uint32, little-endian (<u2, <u4), not ${dtype}`);
  const sizes = shape
    .split(",")
    .map((s) => s.trim())
    .filter((s) => s !== "");
  const count = Number(sizes[0]);
  if (sizes.length !== 1 || !Number.isSafeInteger(count))
    throw new DataError(`${path}: tokens must be one-dimensional, not of shape (${shape})`);
  const bytes = dtype === "<u2" ? 2 : 4;
  if (size < start + bytes * count)
    throw new DataError(
      `${path}: the header tells of ${count} tokens, but the file ends before (truncated?)`,
    );
  return { bytes, count, start };
}

const asTokens = (buffer: Buffer, bytes: 2 | 4): Uint16Array | Uint32Array =>
  bytes === 2
    ? new Uint16Array(buffer.buffer, buffer.byteOffset, buffer.length / 2)
    : new Uint32Array(buffer.buffer, buffer.byteOffset, buffer.length / 4);

/** The pieces of an .npy file of tokens, each read when it is asked for. */
export class TokenFile implements Sequences {
  readonly path: string;
  readonly length: number;
  readonly longest: number;
  readonly largest: number;
  readonly #fd: number;
  readonly #layout: Layout;

  /**
   * @param length tokens that a piece predicts: it has one more
   * @throws DataError naming the file and what is wrong with it
   */
  constructor(path: string, length: number) {
    this.path = path;
    try {
      this.#fd = fs.openSync(path, "r");
    } catch (e) {
      throw fileError(path, e);
    }
    this.#layout = readLayout(this.#fd, path);
    this.longest = length + 1;
    this.length = Math.floor((this.#layout.count - 1) / length);
    if (this.length < 1)
      throw new DataError(`${path}: ${this.#layout.count} tokens do not fill one sequence of ${length + 1}`);
    this.largest = this.#scan();
  }

  /** Reads the file once, in pieces, so that a token without an embedding is found before the first step. */
  #scan(): number {
    const { count } = this.#layout;
    let most = 0;
    for (let at = 0; at < count; at += 1 << 20)
      for (const t of this.#read(at, Math.min(1 << 20, count - at))) if (t > most) most = t;
    return most;
  }

  #read(from: number, count: number): Uint16Array | Uint32Array {
    const { bytes, start } = this.#layout;
    const buffer = Buffer.from(new ArrayBuffer(count * bytes));
    const got = fs.readSync(this.#fd, buffer, 0, buffer.length, start + from * bytes);
    if (got !== buffer.length) throw new DataError(`${this.path}: the file ended while it was read`);
    return asTokens(buffer, bytes);
  }

  at(index: number): Example {
    return { tokens: this.#read(index * (this.longest - 1), this.longest) };
  }
}

/** Writes tokens as an .npy file, from as many parts as they come in. */
export class TokenFileWriter {
  readonly #fd: number;
  readonly #bytes: 2 | 4;
  count = 0;

  /** @param vocabSize decides between uint16 and uint32 */
  constructor(path: string, vocabSize: number) {
    this.#bytes = vocabSize <= 1 << 16 ? 2 : 4;
    this.#fd = fs.openSync(path, "w");
    fs.writeSync(this.#fd, this.#header());
  }

  /** Always of one length, so that the number of tokens can be filled in at the end. */
  #header(): Buffer {
    const text = `{'descr': '<u${this.#bytes}', 'fortran_order': False, 'shape': (${this.count},), }`;
    const head = Buffer.alloc(128, " ");
    MAGIC.copy(head);
    head.writeUInt8(1, 6);
    head.writeUInt8(0, 7);
    head.writeUInt16LE(118, 8);
    head.write(text, 10, "latin1");
    head.write("\n", 127, "latin1");
    return head;
  }

  write(tokens: readonly number[]): void {
    const words = this.#bytes === 2 ? Uint16Array.from(tokens) : Uint32Array.from(tokens);
    fs.writeSync(this.#fd, words);
    this.count += tokens.length;
  }

  close(): void {
    fs.writeSync(this.#fd, this.#header(), 0, 128, 0);
    fs.closeSync(this.#fd);
  }
}
