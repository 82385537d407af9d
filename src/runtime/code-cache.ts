// A large script with what the JavaScript engine knows of it: the code that it made of the functions which a program used is
// kept in the cache folder, so that the next start of that program parses nothing. Only for the files that a build puts together.

import { pruneNowAndThen } from "./cache-prune.js";
import { hashHex } from "./hash.js";
import {
  asStarted,
  builtin,
  cacheFolder,
  makeFolder,
  needBuiltin,
  processId,
  withoutEngineFlags,
} from "./platform.js";

/** A program that runs longer keeps its code then, not at its end: it may be killed, and the engine forgets what is not used. */
const AFTER_MS = 5_000;
/** The code is written anew so long after it was: what a program uses may have changed. */
const DAY_MS = 86_400_000;
/** First bytes of a file; the number changes with the layout. */
const MAGIC = "VEXILJS2";
const SUM_CHARACTERS = 8;
const HEAD = MAGIC.length + SUM_CHARACTERS;

/** A script that a build made, and who runs it. */
export interface ProgramScript {
  /** Its file, of ASCII characters. */
  readonly path: string;
  /** Its address in stack traces. */
  readonly url: string;
  /** Changes with its text. */
  readonly stamp: string;
  /** The programs that use it, each with functions of its own. */
  readonly program: readonly string[];
}

/** Runs a script in Node and gives the value of its last expression. */
export function runScript({ path, url, stamp, program }: ProgramScript): unknown {
  const fs = needBuiltin("node:fs", "loading the package");
  const vm = needBuiltin("node:vm", "loading the package");
  const file = codeFile(stamp, program);
  // One memory for both files, the text copied out of it first: in a virtual machine fresh memory costs more than reading into it.
  const sizes = [path, ...(file ? [file] : [])].map(
    (p) => fs.statSync(p, { throwIfNoEntry: false })?.size ?? 0,
  );
  const memory = Buffer.allocUnsafeSlow(Math.max(...sizes) + 1);
  const text = readInto(memory, path).toString("latin1");
  const known = file && sizes[1] ? readCode(file, memory) : undefined;
  const script = new vm.Script(text, {
    filename: url,
    importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    ...(known ? { cachedData: known.code } : {}),
  });
  if (file && (!known || known.old || script.cachedDataRejected))
    later(() =>
      writeCode(
        file,
        withoutEngineFlags(() => script.createCachedData()),
      ),
    );
  return script.runInThisContext();
}

function codeFile(stamp: string, program: readonly string[]): string | undefined {
  const folder = cacheFolder();
  const path = builtin("node:path");
  if (!folder || !path) return undefined;
  const engine = `${process.versions.v8} ${process.arch} ${process.execArgv.join(" ")}`;
  return path.join(folder, "programs", `${hashHex(stamp, engine, ...program)}.bin`);
}

/** The checksum of the code, in hexadecimal digits: the engine trusts what it is given. */
const sumOf = (code: Uint8Array): string =>
  needBuiltin("node:zlib", "loading the package").crc32(code).toString(16).padStart(SUM_CHARACTERS, "0");

/** A file's bytes, in memory that has room for one more. @throws where it cannot be read, or has grown */
function readInto(memory: Buffer, path: string): Buffer {
  const fs = builtin("node:fs")!;
  const fd = fs.openSync(path, "r");
  try {
    let at = 0;
    for (let n = 1; n > 0; at += n) n = fs.readSync(fd, memory, at, memory.length - at, null);
    if (at === memory.length) throw new Error(`${path}: it was written to while it was read`);
    return memory.subarray(0, at);
  } finally {
    fs.closeSync(fd);
  }
}

function readCode(file: string, memory: Buffer): { code: Buffer; old: boolean } | undefined {
  const fs = builtin("node:fs")!;
  try {
    const all = readInto(memory, file);
    const code = all.subarray(HEAD);
    if (all.toString("latin1", 0, HEAD) !== MAGIC + sumOf(code)) return undefined;
    return { code, old: Date.now() - fs.statSync(file).mtimeMs > DAY_MS };
  } catch {
    // None yet.
    return undefined;
  }
}

function writeCode(file: string, code: Buffer): void {
  const fs = builtin("node:fs")!;
  const own = `${file}.${processId()}.${Date.now().toString(36)}.tmp`;
  try {
    makeFolder(builtin("node:path")!.dirname(file));
    fs.writeFileSync(own, Buffer.concat([Buffer.from(MAGIC + sumOf(code), "latin1"), code]));
    fs.renameSync(own, file);
    pruneNowAndThen();
  } catch {
    // The next start parses again; whoever compiles kernels is told that nothing is kept.
    fs.rmSync(own, { force: true });
  }
}

/**
 * Calls once: some time from now, or when the process ends well before that. Where flags of the engine were set meanwhile only at the
 * end: others may need them now.
 */
function later(call: () => void): void {
  const timer = setTimeout(() => {
    if (!asStarted()) return;
    process.off("exit", atEnd);
    call();
  }, AFTER_MS);
  timer.unref();
  const atEnd = (code: number): void => {
    clearTimeout(timer);
    if (code === 0) call();
  };
  process.once("exit", atEnd);
}
