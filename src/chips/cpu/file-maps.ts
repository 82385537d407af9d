// Files as memory of the process. A file is mapped once for all who want different bytes of it: at an address and with advice
// that let the system use large pages, for its cache of the file and for the mapping. Then later processes find all bytes in
// place with a look at a table for each 2 MiB; small pages cost more than reading the file.

import type { Native } from "./native.js";

/** Bytes of a file that were given out, from the file's begin on. */
type Range = readonly [begin: number, end: number];

interface Mapping {
  readonly path: string;
  readonly address: number;
  readonly bytes: number;
  /** What the file was when it was mapped: another file may get its name. */
  readonly file: readonly number[];
  /** Sorted. Those that were given back stay: somebody may have written to them. */
  readonly taken: Range[];
  users: number;
}

/** Where buffers may begin, in bytes of the file. */
const UNIT = 64;

/** Bytes of a file: `position` of it stands at `address + begin`, and `address` is a multiple of 64. */
export interface FileBytes {
  readonly address: number;
  readonly begin: number;
  readonly mapping: Mapping;
}

export class FileMaps {
  private readonly latest = new Map<string, Mapping>();
  private readonly about = new Float64Array(4);
  private fetcher = 0;

  constructor(private readonly native: Native) {}

  /**
   * Bytes of a file that nobody else has: what is written to them stays with the caller, and in this process. Undefined where
   * the file has no such bytes or the system no such memory.
   */
  take(path: string, position: number, bytes: number): FileBytes | undefined {
    if (!this.native.file(path, this.about) || position + bytes > this.about[0]!) return undefined;
    const file = [...this.about];
    let mapping = this.latest.get(path);
    if (
      !mapping?.users ||
      !mapping.file.every((x, i) => x === file[i]) ||
      !claim(mapping.taken, position, bytes)
    ) {
      this.fetcher ||= this.native.fetcher();
      const address = this.fetcher && this.native.map(path, file[0]!);
      if (!address) return undefined;
      mapping = { path, address, bytes: file[0]!, file, taken: [[position, position + bytes]], users: 0 };
      this.latest.set(path, mapping);
    }
    mapping.users++;
    this.native.fetch(this.fetcher, mapping.address + position, bytes);
    const begin = position % UNIT;
    return { address: mapping.address + position - begin, begin, mapping };
  }

  /** Gives bytes back; the last ones of a mapping end it. */
  release({ mapping }: FileBytes): void {
    if (--mapping.users > 0) return;
    this.native.unmap(this.fetcher, mapping.address, mapping.bytes);
    if (this.latest.get(mapping.path) === mapping) this.latest.delete(mapping.path);
  }

  /** All bytes were given back. */
  close(): void {
    if (this.fetcher) this.native.endFetcher(this.fetcher);
    this.fetcher = 0;
  }
}

/** Notes a range, unless somebody had a part of it. */
function claim(taken: Range[], position: number, bytes: number): boolean {
  let [low, high] = [0, taken.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (taken[middle]![0] < position) low = middle + 1;
    else high = middle;
  }
  const end = position + bytes;
  if (low > 0 && taken[low - 1]![1] > position) return false;
  if (low < taken.length && taken[low]![0] < end) return false;
  taken.splice(low, 0, [position, end]);
  return true;
}
