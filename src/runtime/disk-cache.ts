// Compiled kernels on disk: one file per kernel under the hash of everything that decides its code.
// Writers make a file of their own and rename it, so readers in any process see whole entries or none;
// what is damaged is ignored and written again. There is no lock and no index.

import type { Artifact } from "../compiler/target.js";
import { noteUse, pruneNowAndThen } from "./cache-prune.js";
import { hashHex, hashWords } from "./hash.js";
import { builtin, cacheFolder, makeFolder, processId, warn } from "./platform.js";

/** First bytes of an entry; the number changes with the layout. */
const MAGIC = "VEXIL\x00\x02\n";
const HASH_BYTES = 16;
/** magic, hash of the rest, length of the JSON, JSON, code. */
const HEAD = MAGIC.length + HASH_BYTES + 4;

let writes = 0;
let complained = false;

/** The content hash (hex) of a key text; `undefined` where there is no disk cache. */
export function cacheName(key: string): string | undefined {
  return builtin("node:fs") ? hashHex(key) : undefined;
}

function fileOf(folder: string, name: string): string {
  const path = builtin("node:path")!;
  return path.join(folder, "kernels", name.slice(0, 2), `${name.slice(2)}.bin`);
}

/** Reads an entry; `undefined` if there is none, or none that is whole. */
export function readCached(name: string): Artifact | undefined {
  const folder = cacheFolder();
  const fs = builtin("node:fs");
  if (!folder || !fs) return undefined;
  const path = fileOf(folder, name);
  let file: Uint8Array;
  try {
    file = fs.readFileSync(path);
    noteUse(path, fs.statSync(path).mtimeMs);
  } catch {
    return undefined;
  }
  return decode(file);
}

/** Writes an entry. A folder that cannot be written to costs one line on stderr, not the launch. */
export function writeCached(name: string, artifact: Artifact): void {
  const folder = cacheFolder();
  const fs = builtin("node:fs");
  const path = builtin("node:path");
  if (!folder || !fs || !path || artifact.func) return;
  const file = fileOf(folder, name);
  const own = `${file}.${processId()}.${Date.now().toString(36)}.${++writes}.tmp`;
  try {
    const bytes = encode(artifact);
    try {
      fs.writeFileSync(own, bytes);
    } catch {
      // The folder is missing, unless something else is wrong.
      makeFolder(path.dirname(file));
      fs.writeFileSync(own, bytes);
    }
    fs.renameSync(own, file);
    pruneNowAndThen();
  } catch (e) {
    try {
      fs.rmSync(own, { force: true });
    } catch {
      // It may not even exist.
    }
    if (!complained)
      warn(
        `vexil: compiled kernels are not kept: ${(e as Error).message}. Set VEXIL_CACHE to a writable folder.`,
      );
    complained = true;
  }
}

function encode(artifact: Artifact): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(artifact.meta));
  const out = new Uint8Array(HEAD + json.length + artifact.bytes.length);
  out.set(new TextEncoder().encode(MAGIC));
  new DataView(out.buffer).setUint32(HEAD - 4, json.length, true);
  out.set(json, HEAD);
  out.set(artifact.bytes, HEAD + json.length);
  out.set(digest(out), MAGIC.length);
  return out;
}

/** The hash of all that follows it. */
const digest = (file: Uint8Array): Uint8Array => new Uint8Array(hashWords(file.subarray(HEAD - 4)).buffer);

function decode(file: Uint8Array): Artifact | undefined {
  if (file.length < HEAD) return undefined;
  const magic = new TextEncoder().encode(MAGIC);
  if (magic.some((b, i) => file[i] !== b)) return undefined;
  const want = digest(file);
  for (let i = 0; i < HASH_BYTES; i++) if (file[MAGIC.length + i] !== want[i]) return undefined;
  const length = new DataView(file.buffer, file.byteOffset).getUint32(HEAD - 4, true);
  const meta = JSON.parse(new TextDecoder().decode(file.subarray(HEAD, HEAD + length)));
  // A copy of its own: Node's small files share one buffer.
  return { bytes: new Uint8Array(file.subarray(HEAD + length)), meta };
}
