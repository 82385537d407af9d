// Data files as text: whole, or line by line without holding the file. It knows nothing of tokens.

import * as fs from "node:fs";
import { StringDecoder } from "node:string_decoder";

/** A data file that cannot be used; the message names the file and the line. */
export class DataError extends Error {
  override name = "DataError";
}

/** What went wrong with a file, in its words. */
export function fileError(path: string, e: unknown): DataError {
  const { code, message } = e as NodeJS.ErrnoException;
  return new DataError(`${path}: ${code === "ENOENT" ? "there is no such file" : message}`);
}

/** @throws DataError naming the file */
export function readText(path: string): string {
  try {
    return fs.readFileSync(path, "utf8");
  } catch (e) {
    throw fileError(path, e);
  }
}

const CHUNK = 1 << 20;

/** The lines of a file, one at a time; empty ones at its end are left out. @throws DataError naming the file */
export function* textLines(path: string): Generator<string> {
  let fd: number;
  try {
    fd = fs.openSync(path, "r");
  } catch (e) {
    throw fileError(path, e);
  }
  try {
    const buffer = Buffer.alloc(CHUNK);
    const decoder = new StringDecoder("utf8");
    let rest = "";
    let empty = 0;
    for (;;) {
      const n = fs.readSync(fd, buffer, 0, CHUNK, null);
      rest += n === 0 ? decoder.end() : decoder.write(buffer.subarray(0, n));
      const lines = rest.split("\n");
      rest = n === 0 ? "" : lines.pop()!;
      for (const line of lines) {
        const text = line.endsWith("\r") ? line.slice(0, -1) : line;
        if (text === "") empty++;
        else {
          for (; empty > 0; empty--) yield "";
          yield text;
        }
      }
      if (n === 0) return;
    }
  } catch (e) {
    throw e instanceof DataError ? e : fileError(path, e);
  } finally {
    fs.closeSync(fd);
  }
}

/** A line of a `.jsonl` file. */
export interface JsonLine {
  readonly value: Record<string, unknown>;
  /** `FILE:LINE`, for error messages. */
  readonly where: string;
}

/** The objects of a `.jsonl` file, one at a time. @throws DataError naming the file and the line */
export function* jsonLines(path: string): Generator<JsonLine> {
  let number = 0;
  for (const line of textLines(path)) {
    const where = `${path}:${++number}`;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch (e) {
      throw new DataError(`${where}: not JSON: ${(e as Error).message}`);
    }
    if (typeof value !== "object" || value === null) throw new DataError(`${where}: not a JSON object`);
    yield { value: value as Record<string, unknown>, where };
  }
  if (number === 0) throw new DataError(`${path}: the file is empty`);
}
