// The GGUF container: metadata and a table of tensors, read with every length and offset checked, and written.
// What the keys mean stands in `metadata.ts` and `tokenizer.ts`, what the blocks mean in `blocks.ts`.
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (version 3; 2 reads the same).

import { TYPES, type TypeName, typeById } from "./types.js";

/** A file that is not what it says; the message names the file and the key or tensor. */
export class GgufError extends Error {
  override name = "GgufError";
}

/** Something that can be read in pieces. */
export interface ByteSource {
  readonly size: number;
  /** Exactly `length` bytes from `at`, perhaps in the memory that is given; the caller has checked that they are there. */
  read(at: number, length: number, into?: Uint8Array<ArrayBuffer>): Uint8Array;
}

export const bytesOf = (bytes: Uint8Array): ByteSource => ({
  size: bytes.length,
  read: (at, length) => bytes.subarray(at, at + length),
});

export type MetadataValue = string | number | bigint | boolean | readonly MetadataValue[];
export type Metadata = ReadonlyMap<string, MetadataValue>;

export interface GgufTensor {
  readonly type: TypeName;
  /** Row-major, as elsewhere: the file's list of sizes backwards. */
  readonly shape: readonly number[];
  /** Bytes from the start of the file. */
  readonly begin: number;
  readonly bytes: number;
}

export interface GgufHeader {
  readonly version: number;
  readonly metadata: Metadata;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

const MAGIC = 0x46554747;
const MOST_DIMS = 4;
const WINDOW = 1 << 20;

/** The types of metadata values, by number; sizes of the plain ones. */
const [U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64] = Array.from({ length: 13 }, (_, i) => i) as [
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
]; // biome-ignore format: one line
const LEAST_BYTES = [1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8];

/** Reads little-endian values one after the other, and never past the end. */
class Cursor {
  #at = 0;
  #window: Uint8Array = new Uint8Array(0);
  #from = 0;
  constructor(
    readonly source: ByteSource,
    readonly file: string,
  ) {}

  get at(): number {
    return this.#at;
  }

  fail(why: string): never {
    throw new GgufError(`${this.file}: ${why}`);
  }

  /** Checks that `count` things of at least `bytes` bytes can still follow. */
  room(count: number, bytes: number, what: string): void {
    if (count * bytes > this.source.size - this.#at)
      this.fail(
        `truncated: ${what} needs ${count * bytes} bytes at ${this.#at}, the file has ${this.source.size}`,
      );
  }

  bytes(length: number, what: string): Uint8Array {
    this.room(length, 1, what);
    const start = this.#at - this.#from;
    this.#at += length;
    if (start >= 0 && start + length <= this.#window.length)
      return this.#window.subarray(start, start + length);
    this.#from = this.#at - length;
    this.#window = this.source.read(
      this.#from,
      Math.min(Math.max(length, WINDOW), this.source.size - this.#from),
    );
    return this.#window.subarray(0, length);
  }

  view(length: number, what: string): DataView {
    const b = this.bytes(length, what);
    return new DataView(b.buffer, b.byteOffset, length);
  }

  u32(what: string): number {
    return this.view(4, what).getUint32(0, true);
  }

  /** A length or count: a whole number that JavaScript holds exactly. */
  size(what: string): number {
    const n = this.view(8, what).getBigUint64(0, true);
    if (n > BigInt(Number.MAX_SAFE_INTEGER)) this.fail(`${what} is ${n}`);
    return Number(n);
  }

  string(what: string): string {
    const n = this.size(`the length of ${what}`);
    return new TextDecoder().decode(this.bytes(n, what));
  }

  value(type: number, what: string, nested = false): MetadataValue {
    switch (type) {
      case U8:
        return this.view(1, what).getUint8(0);
      case I8:
        return this.view(1, what).getInt8(0);
      case U16:
        return this.view(2, what).getUint16(0, true);
      case I16:
        return this.view(2, what).getInt16(0, true);
      case U32:
        return this.u32(what);
      case I32:
        return this.view(4, what).getInt32(0, true);
      case F32:
        return this.view(4, what).getFloat32(0, true);
      case F64:
        return this.view(8, what).getFloat64(0, true);
      case BOOL:
        return this.view(1, what).getUint8(0) !== 0;
      case U64:
      case I64: {
        const v = this.view(8, what);
        const n = type === U64 ? v.getBigUint64(0, true) : v.getBigInt64(0, true);
        return Number.isSafeInteger(Number(n)) ? Number(n) : n;
      }
      case STRING:
        return this.string(what);
      case ARRAY: {
        if (nested) return this.fail(`${what} is a list of lists`);
        const of = this.u32(what);
        const count = this.size(`the length of ${what}`);
        if (LEAST_BYTES[of] === undefined) return this.fail(`${what} is a list of unknown type ${of}`);
        this.room(count, LEAST_BYTES[of], what);
        return Array.from({ length: count }, () => this.value(of, what, true));
      }
      default:
        return this.fail(`${what} has the unknown type ${type}`);
    }
  }
}

/**
 * Reads and checks a file's metadata and table of tensors: every tensor is of a known type, fits its shape, lies in the
 * file and overlaps no other.
 * @throws GgufError naming the file, the key or tensor and what is wrong
 */
export function parseGguf(source: ByteSource, file: string): GgufHeader {
  const c = new Cursor(source, file);
  if (source.size < 24) c.fail(`${source.size} bytes are too few for a GGUF file`);
  if (c.u32("the magic") !== MAGIC) c.fail("this is not a GGUF file");
  const version = c.u32("the version");
  if (version !== 2 && version !== 3) c.fail(`GGUF version ${version} is not supported (2 and 3 are)`);
  const tensorCount = c.size("the number of tensors");
  const keyCount = c.size("the number of keys");
  c.room(keyCount, 13, "the metadata");
  const metadata = new Map<string, MetadataValue>();
  for (let i = 0; i < keyCount; i++) {
    const key = c.string("a key");
    if (metadata.has(key)) c.fail(`key "${key}" stands there twice`);
    metadata.set(key, c.value(c.u32(`the type of "${key}"`), `"${key}"`));
  }
  c.room(tensorCount, 24, "the table of tensors");
  const raw: { name: string; type: TypeName; shape: number[]; offset: number; bytes: number }[] = [];
  const names = new Set<string>();
  for (let i = 0; i < tensorCount; i++) {
    const name = c.string("a tensor's name");
    const what = `tensor "${name}"`;
    if (names.has(name)) c.fail(`${what} stands there twice`);
    names.add(name);
    const dims = c.u32(what);
    if (dims > MOST_DIMS) c.fail(`${what} has ${dims} dimensions`);
    const shape = Array.from({ length: dims }, () => c.size(`a size of ${what}`)).reverse();
    const id = c.u32(`the type of ${what}`);
    const type =
      typeById(id) ??
      c.fail(`${what} has the type ${id}, which is not supported (${Object.keys(TYPES).join(", ")} are)`);
    raw.push({
      name,
      type,
      shape,
      offset: c.size(`the offset of ${what}`),
      bytes: bytesFor(type, shape, (why) => c.fail(`${what}: ${why}`)),
    });
  }
  const given = metadata.get("general.alignment") ?? 32;
  if (typeof given !== "number" || !Number.isInteger(given) || given < 1 || (given & (given - 1)) !== 0)
    return c.fail(`general.alignment is ${String(given)}, not a power of two`);
  const start = Math.ceil(c.at / given) * given;
  const tensors = new Map<string, GgufTensor>();
  for (const { name, type, shape, offset, bytes } of raw) {
    if (offset % given !== 0)
      c.fail(`tensor "${name}" starts at ${offset}, which is not a multiple of ${given}`);
    if (start + offset + bytes > source.size)
      c.fail(
        `tensor "${name}" ends at byte ${start + offset + bytes}, but the file has ${source.size} (truncated?)`,
      );
    tensors.set(name, { type, shape, begin: start + offset, bytes });
  }
  checkApart(tensors, file);
  return { version, metadata, tensors };
}

/** Bytes of a tensor; its rows are whole blocks. */
export function bytesFor(type: TypeName, shape: readonly number[], fail: (why: string) => never): number {
  const { block, bytes } = TYPES[type];
  const columns = shape.at(-1) ?? 1;
  if (columns % block !== 0) fail(`rows of ${columns} elements are no whole blocks of ${block} (${type})`);
  const count = shape.reduce((n, d) => n * d, 1);
  if (!Number.isSafeInteger(count)) fail(`its shape [${shape}] is too large`);
  return (count / block) * bytes;
}

function checkApart(tensors: ReadonlyMap<string, GgufTensor>, file: string): void {
  let end = 0;
  let last = "";
  for (const [name, t] of [...tensors].sort((a, b) => a[1].begin - b[1].begin)) {
    if (t.bytes > 0 && t.begin < end) throw new GgufError(`${file}: tensors "${last}" and "${name}" overlap`);
    if (t.bytes > 0) [end, last] = [t.begin + t.bytes, name];
  }
}

/** A value with the type it is written as. */
export type Typed =
  | { readonly u32: number }
  | { readonly f32: number }
  | { readonly bool: boolean }
  | { readonly string: string }
  | { readonly strings: readonly string[] }
  | { readonly i32s: readonly number[] };

const ALIGNMENT = 32;

/**
 * The bytes of a file, piece by piece: what comes before the tensors, then each of them with its padding.
 * @param tensors `data` is called when a tensor's turn has come
 */
export function* ggufChunks(
  metadata: ReadonlyMap<string, Typed>,
  tensors: readonly {
    readonly name: string;
    readonly type: TypeName;
    readonly shape: readonly number[];
    readonly data: () => Uint8Array;
  }[],
): Generator<Uint8Array> {
  const parts: Uint8Array[] = [];
  const number = (bytes: number, set: (v: DataView) => void) => {
    const b = new Uint8Array(bytes);
    set(new DataView(b.buffer));
    parts.push(b);
  };
  const u32 = (n: number) => number(4, (v) => v.setUint32(0, n, true));
  const u64 = (n: number) => number(8, (v) => v.setBigUint64(0, BigInt(n), true));
  const text = (s: string) => {
    const b = new TextEncoder().encode(s);
    u64(b.length);
    parts.push(b);
  };
  u32(MAGIC);
  u32(3);
  u64(tensors.length);
  u64(metadata.size);
  for (const [key, v] of metadata) {
    text(key);
    if ("u32" in v) {
      u32(U32);
      u32(v.u32);
    } else if ("f32" in v) {
      u32(F32);
      number(4, (d) => d.setFloat32(0, v.f32, true));
    } else if ("bool" in v) {
      u32(BOOL);
      parts.push(Uint8Array.of(v.bool ? 1 : 0));
    } else if ("string" in v) {
      u32(STRING);
      text(v.string);
    } else if ("strings" in v) {
      u32(ARRAY);
      u32(STRING);
      u64(v.strings.length);
      for (const s of v.strings) text(s);
    } else {
      u32(ARRAY);
      u32(I32);
      u64(v.i32s.length);
      for (const n of v.i32s) number(4, (d) => d.setInt32(0, n, true));
    }
  }
  const padded = (n: number) => Math.ceil(n / ALIGNMENT) * ALIGNMENT;
  let at = 0;
  const sizes = tensors.map((t) =>
    bytesFor(t.type, t.shape, (why) => {
      throw new GgufError(`tensor "${t.name}": ${why}`);
    }),
  );
  for (const [i, t] of tensors.entries()) {
    text(t.name);
    u32(t.shape.length);
    for (const d of [...t.shape].reverse()) u64(d);
    u32(TYPES[t.type].id);
    u64(at);
    at += padded(sizes[i]!);
  }
  const header = parts.reduce((n, p) => n + p.length, 0);
  parts.push(new Uint8Array(padded(header) - header));
  yield Buffer.concat(parts);
  for (const [i, t] of tensors.entries()) {
    const data = t.data();
    if (data.length !== sizes[i])
      throw new GgufError(`tensor "${t.name}": ${data.length} bytes, not ${sizes[i]}`);
    yield data;
    const rest = padded(data.length) - data.length;
    if (rest > 0) yield new Uint8Array(rest);
  }
}
