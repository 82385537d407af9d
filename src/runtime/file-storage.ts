// Bytes of a file as a chip's memory: mapped where the chip works in the host's memory, else read by pieces, so that no second
// copy of a large file stands in the host's memory.

import type { Chip } from "./driver.js";
import { needBuiltin } from "./platform.js";
import { adopt, allocate, type Storage } from "./storage.js";

/** Bytes read at once: what stays in a cache between the file and the chip's memory. */
const PIECE = 4 << 20;
/** Below this a mapping costs more than a copy. */
const LEAST = 64 << 10;

/** A file that has fewer bytes than it should, or cannot be read; the message names it. */
export class FileBytesError extends Error {
  override name = "FileBytesError";
}

/**
 * Memory that holds bytes of a file, and where in it they begin (a multiple of `unit`). Mapped bytes must not be cut off the
 * file while the memory lives: the system ends processes that touch such.
 * @param unit bytes of an element
 * @param copy never map
 * @throws FileBytesError
 */
export function storageOfFile(
  chip: Chip,
  path: string,
  position: number,
  bytes: number,
  unit: number,
  copy = false,
): { readonly storage: Storage; readonly begin: number } {
  const { driver } = chip;
  if (!copy && driver.mapFile && bytes >= LEAST && position % unit === 0) {
    const mapped = driver.mapFile(path, position, bytes);
    if (mapped) return { storage: adopt(chip, mapped.buffer), begin: mapped.begin };
  }
  const storage = allocate(chip, bytes);
  try {
    readPieces(path, position, bytes, (at, piece) => driver.write(storage.buffer, at, piece));
  } catch (e) {
    storage.dispose();
    throw e;
  }
  return { storage, begin: 0 };
}

function readPieces(
  path: string,
  position: number,
  bytes: number,
  take: (at: number, piece: Uint8Array) => void,
): void {
  const fs = needBuiltin("node:fs", "reading files");
  let fd: number;
  try {
    fd = fs.openSync(path, "r");
  } catch (e) {
    throw new FileBytesError(`${path}: it cannot be read: ${(e as Error).message}`);
  }
  try {
    const piece = new Uint8Array(Math.min(PIECE, bytes));
    for (let at = 0; at < bytes; ) {
      const n = fs.readSync(fd, piece, 0, Math.min(piece.length, bytes - at), position + at);
      if (n === 0) throw new FileBytesError(`${path}: the file ended while it was read`);
      take(at, piece.subarray(0, n));
      at += n;
    }
  } finally {
    fs.closeSync(fd);
  }
}
