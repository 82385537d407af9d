// Which version of the project this is: part of what says that cached code is still good.

import { hashHex } from "./hash.js";
import { builtin } from "./platform.js";

/** The version in package.json. */
export const VERSION = "0.1.0";

let stamp: string | undefined;

/** Beside the folders of a build: a hash of the compiler's and the chips' files. `scripts/build.mjs` writes it. */
const STAMP_FILE = "compiler.stamp";

/**
 * Changes whenever the code that compiles kernels changes, so that a working copy never runs what its older self
 * compiled: the version, and in Node a hash of the files of the compiler and the chips. A build brings it along;
 * without one (sources, bundles) it is made of the files' sizes and dates.
 */
export function compilerStamp(): string {
  stamp ??= `${VERSION}${filesStamp()}`;
  return stamp;
}

function filesStamp(): string {
  const fs = builtin("node:fs");
  const path = builtin("node:path");
  const url = builtin("node:url");
  if (!fs || !path || !url) return "";
  const parts: string[] = [];
  const add = (file: string, name: string): void => {
    const s = fs.statSync(file);
    parts.push(`${name} ${s.size} ${s.mtimeMs}`);
  };
  try {
    const here = url.fileURLToPath(import.meta.url);
    const root = path.resolve(path.dirname(here), "..");
    const built = stampOfBuild(fs, path.join(root, STAMP_FILE), path.join(root, ".tsbuildinfo"));
    if (built) return `+${built}`;
    const folders = ["compiler", "chips"].filter((f) => fs.existsSync(path.join(root, f)));
    // In a bundle there are no such folders: the bundle itself counts.
    if (folders.length < 2) add(here, "bundle");
    for (const folder of folders)
      for (const name of (fs.readdirSync(path.join(root, folder), { recursive: true }) as string[]).sort())
        if (/\.[cm]?[jt]s$/.test(name) && !/\.(test|d)\.[jt]s$/.test(name))
          add(path.join(root, folder, name), name);
    return `+${hashHex(...parts).slice(0, 16)}`;
  } catch {
    // Not on a file system (a virtual bundle): the version has to do.
    return "";
  }
}

/** The stamp that the build left, unless the TypeScript compiler has written files since. */
function stampOfBuild(fs: typeof import("node:fs"), file: string, compilerState: string): string | undefined {
  const own = fs.statSync(file, { throwIfNoEntry: false });
  if (!own) return undefined;
  const state = fs.statSync(compilerState, { throwIfNoEntry: false });
  return state && state.mtimeMs > own.mtimeMs ? undefined : fs.readFileSync(file, "utf8").trim();
}
