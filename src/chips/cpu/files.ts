// The chip's folder on disk: libraries under the hash of their bytes, and what is known of compilers. Writers rename, so
// any number of processes may share it.

import { noteUse } from "../../runtime/cache-prune.js";
import { hashHex } from "../../runtime/hash.js";
import { builtin, cacheFolder, makeFolder, processId } from "../../runtime/platform.js";

let folder: string | undefined;
let folderFor: string | undefined;

/**
 * The `cpu` folder in the cache folder. Where there is none to write to, a private one that goes with the process.
 * Only called in Node.
 */
export function cpuFolder(): string {
  const base = cacheFolder();
  if (folder && folderFor === (base ?? "")) return folder;
  const fs = builtin("node:fs")!;
  const path = builtin("node:path")!;
  folderFor = base ?? "";
  if (base) {
    try {
      const shared = path.join(base, "cpu");
      makeFolder(shared);
      fs.accessSync(shared, fs.constants.W_OK);
      folder = shared;
      return folder;
    } catch {
      // Below.
    }
  }
  const own = fs.mkdtempSync(path.join(builtin("node:os")!.tmpdir(), "vexil-"));
  process.once("exit", () => fs.rmSync(own, { recursive: true, force: true }));
  folder = own;
  return folder;
}

let counter = 0;
/** A path beside `path` that no other process or thread uses. */
export const temporaryName = (path: string): string =>
  `${path}.${processId()}.${Math.random().toString(36).slice(2, 10)}${counter++}.tmp`;

/** Writes a file so that others see it whole or not at all. */
export function writeAtomic(path: string, bytes: Uint8Array | string): void {
  const fs = builtin("node:fs")!;
  const temporary = temporaryName(path);
  try {
    fs.writeFileSync(temporary, bytes);
    fs.renameSync(temporary, path);
  } catch (e) {
    fs.rmSync(temporary, { force: true });
    throw e;
  }
}

/** What a library with these bytes is called. */
export const libraryName = (bytes: Uint8Array): string => hashHex(bytes);

const libraryPath = (name: string): string => {
  const suffix = process.platform === "darwin" ? "dylib" : "so";
  return builtin("node:path")!.join(cpuFolder(), `${name}.${suffix}`);
};

/** The path of a library with these bytes; written if it is not there already. */
export function libraryFile(bytes: Uint8Array, name: string = libraryName(bytes)): string {
  const path = libraryPath(name);
  const there = builtin("node:fs")!.statSync(path, { throwIfNoEntry: false });
  if (there?.size !== bytes.length) writeAtomic(path, bytes);
  else noteUse(path, there.mtimeMs);
  return path;
}

/** Reads a fresh library and gives it its lasting name. */
export function adoptLibrary(temporary: string): Uint8Array {
  const fs = builtin("node:fs")!;
  const bytes = new Uint8Array(fs.readFileSync(temporary));
  fs.renameSync(temporary, libraryPath(libraryName(bytes)));
  return bytes;
}
