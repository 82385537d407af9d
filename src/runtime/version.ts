// Which version of the project this is: part of what says that cached code is still good.

import { builtin } from "./platform.js";

/** The version in package.json. */
export const VERSION = "0.1.0";

let stamp: string | undefined;

/**
 * Changes whenever the code that compiles kernels changes: the version, and in Node the sizes and dates of the
 * files of the compiler and the chips, so that a working copy never runs what its older self compiled.
 */
export function compilerStamp(): string {
  stamp ??= `${VERSION}${filesStamp()}`;
  return stamp;
}

function filesStamp(): string {
  const fs = builtin("node:fs");
  const path = builtin("node:path");
  const url = builtin("node:url");
  const crypto = builtin("node:crypto");
  if (!fs || !path || !url || !crypto) return "";
  const hash = crypto.createHash("sha256");
  const add = (file: string, name: string): void => {
    const s = fs.statSync(file);
    hash.update(`${name} ${s.size} ${s.mtimeMs}\n`);
  };
  try {
    const here = url.fileURLToPath(import.meta.url);
    const root = path.resolve(path.dirname(here), "..");
    const folders = ["compiler", "chips"].filter((f) => fs.existsSync(path.join(root, f)));
    // In a bundle there are no such folders: the bundle itself counts.
    if (folders.length < 2) add(here, "bundle");
    for (const folder of folders)
      for (const name of (fs.readdirSync(path.join(root, folder), { recursive: true }) as string[]).sort())
        if (/\.[cm]?[jt]s$/.test(name) && !/\.(test|d)\.[jt]s$/.test(name))
          add(path.join(root, folder, name), name);
    return `+${hash.digest("hex").slice(0, 16)}`;
  } catch {
    // Not on a file system (a virtual bundle): the version has to do.
    return "";
  }
}
