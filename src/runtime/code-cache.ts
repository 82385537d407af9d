// A large script with what the JavaScript engine knows of it: the code that it made of the functions which a program used is
// kept in the cache folder, so that the next start of that program parses nothing. Only for the files that a build puts together.

import { pruneNowAndThen } from "./cache-prune.js";
import { hashHex } from "./hash.js";
import { builtin, cacheFolder, needBuiltin, processId } from "./platform.js";

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
  const known = file ? readCode(file) : undefined;
  const script = new vm.Script(fs.readFileSync(path, "latin1"), {
    filename: url,
    importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    ...(known ? { cachedData: known.code } : {}),
  });
  if (file && (!known || known.old || script.cachedDataRejected))
    later(() => writeCode(file, script.createCachedData()));
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

function readCode(file: string): { code: Buffer; old: boolean } | undefined {
  const fs = builtin("node:fs")!;
  try {
    const all = fs.readFileSync(file);
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
    fs.mkdirSync(builtin("node:path")!.dirname(file), { recursive: true });
    fs.writeFileSync(own, Buffer.concat([Buffer.from(MAGIC + sumOf(code), "latin1"), code]));
    fs.renameSync(own, file);
    pruneNowAndThen();
  } catch {
    // The next start parses again; whoever compiles kernels is told that nothing is kept.
    fs.rmSync(own, { force: true });
  }
}

/** Calls once: some time from now, or when the process ends well before that. */
function later(call: () => void): void {
  const timer = setTimeout(() => {
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
