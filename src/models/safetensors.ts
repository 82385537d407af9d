// The safetensors format on bytes: reading and checking the header, writing whole files.
// It does not touch the file system (`folder.ts` does) and makes no tensors.
// Format: https://huggingface.co/docs/safetensors (8-byte header length, JSON header, tensor bytes).

import type { DType } from "../compiler/ir/dtype.js";
import { DTYPES } from "../compiler/ir/dtype.js";

/** The format's dtype names and ours. */
const DTYPE_OF: Readonly<Record<string, DType>> = {
  F64: "f64",
  F32: "f32",
  F16: "f16",
  BF16: "bf16",
  F8_E4M3: "f8e4m3",
  F8_E5M2: "f8e5m2",
  I64: "i64",
  I32: "i32",
  I16: "i16",
  I8: "i8",
  U8: "u8",
  BOOL: "bool",
};
const NAME_OF = Object.fromEntries(Object.entries(DTYPE_OF).map(([name, d]) => [d, name])) as Record<
  DType,
  string
>;

/** The specification's limit: it keeps a lying length from allocating the machine's memory. */
const MAX_HEADER_BYTES = 100_000_000;

export interface TensorEntry {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Bytes from the start of the file. */
  readonly begin: number;
  readonly end: number;
}

export interface SafetensorsHeader {
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** A file that is not what it says; the message names the file and the tensor. */
export class SafetensorsError extends Error {
  override name = "SafetensorsError";
}

/**
 * The number of header bytes a file announces in its first 8 bytes.
 * @param start at least the first 8 bytes of the file (fewer is an error)
 * @param fileBytes the size of the whole file
 */
export function headerLength(start: Uint8Array, fileBytes: number, file: string): number {
  if (fileBytes < 8 || start.length < 8)
    throw new SafetensorsError(`${file}: ${fileBytes} bytes are too few for a safetensors file`);
  const n = Number(new DataView(start.buffer, start.byteOffset, 8).getBigUint64(0, true));
  if (n > MAX_HEADER_BYTES)
    throw new SafetensorsError(`${file}: a header of ${n} bytes is not plausible; is it a safetensors file?`);
  if (8 + n > fileBytes)
    throw new SafetensorsError(
      `${file}: truncated: the header needs ${8 + n} bytes, the file has ${fileBytes}`,
    );
  return n;
}

/**
 * Reads and checks a header: every tensor's bytes lie in the file, fit its shape and dtype, and together they
 * cover the data exactly, without gaps or overlaps.
 * @throws SafetensorsError naming the file, the tensor and what is wrong
 */
export function parseHeader(json: Uint8Array, fileBytes: number, file: string): SafetensorsHeader {
  let raw: unknown;
  try {
    raw = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(json));
  } catch (e) {
    throw new SafetensorsError(`${file}: the header is not JSON: ${(e as Error).message}`);
  }
  if (typeof raw !== "object" || raw === null || Array.isArray(raw))
    throw new SafetensorsError(`${file}: the header is not a JSON object`);
  const dataStart = 8 + json.length;
  const tensors = new Map<string, TensorEntry>();
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(raw)) {
    if (name === "__metadata__") {
      if (
        typeof value !== "object" ||
        value === null ||
        Object.values(value).some((v) => typeof v !== "string")
      )
        throw new SafetensorsError(`${file}: __metadata__ must map strings to strings`);
      metadata = value as Record<string, string>;
    } else tensors.set(name, readEntry(name, value, dataStart, fileBytes, file));
  }
  checkCover([...tensors.entries()], dataStart, fileBytes, file);
  return { tensors, metadata };
}

const isSize = (n: unknown): n is number => typeof n === "number" && Number.isSafeInteger(n) && n >= 0;

function readEntry(
  name: string,
  value: unknown,
  dataStart: number,
  fileBytes: number,
  file: string,
): TensorEntry {
  const fail = (why: string): never => {
    throw new SafetensorsError(`${file}: tensor "${name}": ${why}`);
  };
  if (typeof value !== "object" || value === null) return fail("its entry is not an object");
  const { dtype: given, shape, data_offsets: offsets } = value as Record<string, unknown>;
  const dtype = typeof given === "string" ? DTYPE_OF[given] : undefined;
  if (!dtype)
    return fail(
      `dtype ${JSON.stringify(given)} is not supported (supported: ${Object.keys(DTYPE_OF).join(", ")})`,
    );
  if (!Array.isArray(shape) || !shape.every(isSize))
    return fail(`shape ${JSON.stringify(shape)} is not a list of sizes`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize))
    return fail(`data_offsets ${JSON.stringify(offsets)} are not two sizes`);
  const [begin, end] = offsets as [number, number];
  const bytes = shape.reduce((n: number, d: number) => n * d, DTYPES[dtype].bytes);
  if (end - begin !== bytes)
    return fail(`shape [${shape}] of ${given} needs ${bytes} bytes, data_offsets give ${end - begin}`);
  if (dataStart + end > fileBytes)
    return fail(`its data ends at byte ${dataStart + end}, but the file has ${fileBytes} (truncated?)`);
  return { dtype, shape: shape as number[], begin: dataStart + begin, end: dataStart + end };
}

function checkCover(
  entries: [string, TensorEntry][],
  dataStart: number,
  fileBytes: number,
  file: string,
): void {
  let at = dataStart;
  for (const [name, e] of entries.sort((a, b) => a[1].begin - b[1].begin || a[1].end - b[1].end)) {
    if (e.begin !== at)
      throw new SafetensorsError(
        `${file}: tensor "${name}" starts at byte ${e.begin} where ${at} is expected (overlap or gap)`,
      );
    at = e.end;
  }
  if (at !== fileBytes)
    throw new SafetensorsError(`${file}: ${fileBytes - at} bytes after the last tensor belong to nobody`);
}

/** Reads a whole file that is in memory; the data are views into `file`'s bytes. */
export function readSafetensors(
  bytes: Uint8Array,
  file: string,
): SafetensorsHeader & { data(name: string): Uint8Array } {
  const n = headerLength(bytes, bytes.length, file);
  const header = parseHeader(bytes.subarray(8, 8 + n), bytes.length, file);
  return {
    ...header,
    data(name) {
      const e = header.tensors.get(name);
      if (!e) throw new SafetensorsError(`${file}: there is no tensor "${name}"`);
      return bytes.subarray(e.begin, e.end);
    },
  };
}

export interface TensorBytes {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Row-major, little endian. */
  readonly data: Uint8Array;
}

/**
 * The bytes of a file, as chunks to be written one after the other: the header, then each tensor.
 * Tensors are ordered by falling alignment and then by name, as the reference implementation does.
 */
export function safetensorsChunks(
  tensors: ReadonlyMap<string, TensorBytes>,
  metadata: Readonly<Record<string, string>> = { format: "pt" },
): Uint8Array[] {
  const names = [...tensors.keys()].sort((a, b) => {
    const size = DTYPES[tensors.get(b)!.dtype].bytes - DTYPES[tensors.get(a)!.dtype].bytes;
    return size || (a < b ? -1 : 1);
  });
  const header: Record<string, unknown> = { __metadata__: metadata };
  let at = 0;
  for (const name of names) {
    const t = tensors.get(name)!;
    const dtype = NAME_OF[t.dtype];
    if (!dtype) throw new SafetensorsError(`tensor "${name}": safetensors has no dtype ${t.dtype}`);
    header[name] = { dtype, shape: t.shape, data_offsets: [at, at + t.data.length] };
    at += t.data.length;
  }
  let json = new TextEncoder().encode(JSON.stringify(header));
  const padded = Math.ceil(json.length / 8) * 8;
  if (padded > json.length) {
    const out = new Uint8Array(padded).fill(0x20);
    out.set(json);
    json = out;
  }
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(json.length), true);
  return [length, json, ...names.map((n) => tensors.get(n)!.data)];
}
