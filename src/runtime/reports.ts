// What compiled kernels tell their author: reads the records that a launch left (see `compiler/passes/reports`), prints
// what was to be printed, and keeps the first claim that did not hold for the next time somebody waits for the chip.

import { DTYPES } from "../compiler/ir/index.js";
import { REPORT_HEAD, REPORT_WORDS, type ReportSite } from "../compiler/passes/reports.js";

/** A kernel did something wrong while it ran. */
export class KernelFault extends Error {
  override name = "KernelFault";
}

export interface Grid3 {
  readonly 0: number;
  readonly 1: number;
  readonly 2: number;
}

/** The reports of one chip. */
export class Reports {
  private pending: KernelFault | undefined;

  /**
   * Reads the records of a launch and clears them. `words` is the buffer's memory itself.
   */
  drain(kernel: string, sites: readonly ReportSite[], words: Int32Array, grid: Grid3): void {
    const asked = words[0]! >>> 0;
    const end = Math.min(asked, REPORT_WORDS - 1);
    let lost = asked > end;
    for (let at = 1; at <= end; ) {
      const site = sites[words[at]! - 1];
      const length = site ? lengthOf(site) : 0;
      if (!site || at + length > 1 + end) {
        lost = true;
        break;
      }
      const id = `${words[at + 1]}, ${words[at + 2]}, ${words[at + 3]}`;
      if (site.kind === "print") this.print(kernel, id, site, words, at + REPORT_HEAD);
      else this.pending ??= failure(kernel, id, grid, site, words[at + REPORT_HEAD]!);
      at += length;
    }
    words.fill(0, 0, end + 1);
    if (lost) console.log(`kernel ${kernel}: it reported more than there is room for; the rest is lost`);
  }

  /** Throws what a kernel claimed and did not hold, once. */
  check(): void {
    const fault = this.pending;
    if (fault === undefined) return;
    this.pending = undefined;
    throw fault;
  }

  private print(kernel: string, id: string, site: ReportSite, words: Int32Array, start: number): void {
    let at = start;
    const shown = site.values.map(({ dtype, shape }) => {
      const size = shape.reduce((n, d) => n * d, 1);
      const wide = DTYPES[dtype].bits === 64;
      const low = words.slice(at, at + size);
      const high = wide ? words.slice(at + size, at + 2 * size) : low;
      at += wide ? 2 * size : size;
      const list = Array.from(low, (word, i) => fromWords(dtype, word, high[i]!));
      return shape.length === 0 ? list[0] : list;
    });
    console.log(`kernel ${kernel} (${id})${site.text ? ` ${site.text}` : ""}`, ...shown);
  }
}

const sizeOf = (v: ReportSite["values"][number]): number =>
  v.shape.reduce((n, d) => n * d, 1) * (DTYPES[v.dtype].bits === 64 ? 2 : 1);

const lengthOf = (site: ReportSite): number =>
  REPORT_HEAD + (site.kind === "assert" ? 1 : site.values.reduce((n, v) => n + sizeOf(v), 0));

function failure(kernel: string, id: string, grid: Grid3, site: ReportSite, element: number): KernelFault {
  const scalar = site.values[0]!.shape.length === 0;
  const where = scalar ? "" : ` at element ${element}`;
  const size = `${grid[0]}, ${grid[1]}, ${grid[2]}`;
  return new KernelFault(
    `kernel ${kernel}, program (${id}) of (${size}): assert does not hold${where}${site.text ? `: ${site.text}` : ""}${site.where}`,
  );
}

const view = new DataView(new ArrayBuffer(8));

/** A value from its words. Halves were widened to f32. */
function fromWords(dtype: keyof typeof DTYPES, low: number, high: number): number | bigint | boolean {
  view.setInt32(0, low, true);
  view.setInt32(4, high, true);
  const { kind, bits } = DTYPES[dtype];
  if (dtype === "bool") return low !== 0;
  if (bits === 64)
    return kind === "float"
      ? view.getFloat64(0, true)
      : dtype === "u64"
        ? view.getBigUint64(0, true)
        : view.getBigInt64(0, true);
  if (kind === "float") return view.getFloat32(0, true);
  return dtype === "u32" ? low >>> 0 : low;
}
