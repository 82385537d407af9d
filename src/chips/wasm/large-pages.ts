// Large pages for the memory, where Node can ask Linux for them: what is written to first costs a fraction of what small pages cost,
// in a virtual machine most of all, and is found in fewer tables later. A wish: without koffi, or elsewhere, nothing is lost.

import { loadKoffi, type NativeFunction } from "../../runtime/koffi.js";

/** Memories below this are not worth loading koffi. */
const WORTH_BYTES = 64 << 20;
const MADV_HUGEPAGE = 14;

let madvise: NativeFunction | undefined;
let tried = false;

/** Asks for large pages for a memory that has just grown and was not written to behind its former end. */
export function wishLargePages(memory: WebAssembly.Memory): void {
  const { buffer } = memory;
  if (buffer.byteLength < WORTH_BYTES) return;
  if (!tried) {
    tried = true;
    try {
      if (process.platform === "linux")
        madvise = loadKoffi().load(null).func("madvise", "int", ["void *", "size_t", "int"]);
    } catch {
      // No koffi, or not in Node.
    }
  }
  madvise?.(new Uint8Array(buffer, 0, 1), buffer.byteLength, MADV_HUGEPAGE);
}
