import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CompileError } from "../../compiler/target.js";
import { compileLibrary, findCompilers, libraryFlags, NoCompilerError, openCompiler } from "./compiler.js";
import { libraryFile } from "./files.js";
import { poolLibrary } from "./native.js";
import { POOL_C } from "./pool.js";

let folder: string;
const saved = { ...process.env };
const real = findCompilers()[0]!.path;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vexil-test-"));
  process.env["VEXIL_CACHE"] = join(folder, "cache");
  delete process.env["CC"];
  delete process.env["VEXIL_CC"];
});
afterEach(() => {
  process.env = { ...saved };
  rmSync(folder, { recursive: true, force: true });
});

const script = (name: string, body: string): string => {
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\n${body}\n`);
  chmodSync(path, 0o755);
  return path;
};
const failure = (fn: () => unknown): NoCompilerError => {
  try {
    fn();
  } catch (e) {
    expect(e).toBeInstanceOf(NoCompilerError);
    return e as NoCompilerError;
  }
  throw new Error("did not throw");
};

describe("finding the compiler", () => {
  it("says what it found", () => {
    const c = openCompiler();
    expect(c.version).toMatch(/^(gcc|clang) \d+\.\d+\.\d+$/);
    expect([16, 32, 64]).toContain(c.features.vectorBytes);
  });

  it("says when there is none, and how to get one", () => {
    process.env["PATH"] = folder;
    const e = failure(openCompiler);
    expect(e.message).toBe("no C compiler in PATH");
    expect(e.hint).toContain("installs one");
  });

  it("names a VEXIL_CC that does not exist", () => {
    process.env["VEXIL_CC"] = "/nowhere/gcc";
    expect(failure(openCompiler).message).toBe("VEXIL_CC names no program: /nowhere/gcc");
  });

  it("passes over folders, plain files and broken programs in PATH", () => {
    mkdirSync(join(folder, "cc"));
    writeFileSync(join(folder, "gcc"), "not a program");
    script("clang", "exit 3");
    const path = process.env["PATH"];
    process.env["PATH"] = folder;
    expect(failure(openCompiler).message).toBe(`no working C compiler (${folder}/clang: exit status 3)`);
    process.env["PATH"] = `${folder}:${path}`;
    // Not the one of CC, if that is set: the first that works in PATH.
    expect(openCompiler().path.startsWith(folder)).toBe(false);
  });

  it("refuses what is no GCC or Clang", () => {
    process.env["VEXIL_CC"] = script("other", "cat >/dev/null; echo hello");
    expect(failure(openCompiler).message).toContain("is not GCC or Clang");
  });

  it("asks each compiler once", () => {
    const log = join(folder, "log");
    process.env["CC"] = `${script("wrapper", `echo call >> ${log}; shift; exec ${real} "$@"`)} --quiet`;
    const first = openCompiler();
    expect(first.path).toBe(join(folder, "wrapper"));
    expect(first.prefix).toEqual(["--quiet"]);
    expect(openCompiler()).toEqual(first);
    expect(readFileSync(log, "utf8")).toBe("call\n");
    compileLibrary(first, "k", "int run(void){return 1;}\n");
    expect(readFileSync(log, "utf8")).toBe("call\ncall\n");
  });

  it("asks again when its answer on disk is damaged", () => {
    const first = openCompiler();
    const cache = join(folder, "cache", "cpu");
    for (const f of readdirSync(cache)) writeFileSync(join(cache, f), "{");
    expect(openCompiler()).toEqual(first);
  });
});

describe("compiling", () => {
  it("optimises kernels, unless it is told to be quick", () => {
    const c = openCompiler();
    process.env["VEXIL_OPTIMIZE"] = "off";
    const quick = libraryFlags(c, true);
    const pool = libraryFlags(c, false);
    delete process.env["VEXIL_OPTIMIZE"];
    // Where the compiler contracts products and sums, values need it to optimise.
    const may = !c.features.clang && c.features.fma !== "contract";
    expect(quick.includes("-O0")).toBe(may);
    expect(libraryFlags(c, true)).not.toContain("-O0");
    expect(libraryFlags(c, false)).toEqual(pool);
  });

  it("names the kernel and shows the first errors", () => {
    const c = openCompiler();
    const compile = (): unknown => compileLibrary(c, "softmax", "int a = ;\nint b = c;\n");
    expect(compile).toThrow(CompileError);
    expect(compile).toThrow(/^softmax: .* does not compile its code:\n.*1:9: error/);
    expect(readdirSync(join(folder, "cache", "cpu")).filter((f) => f.endsWith(".tmp"))).toEqual([]);
  });

  it("says when the compiler has no C library to compile with", () => {
    process.env["VEXIL_CC"] = script(
      "half",
      `case " $* " in *" -E "*) exec ${real} "$@";; esac\necho "<stdin>:3:10: fatal error: dlfcn.h: No such file or directory" >&2; exit 1`,
    );
    const c = openCompiler();
    expect(() => poolLibrary(c)).toThrow(/thread pool: .*dlfcn\.h: No such file/s);
  });

  it("compiles the runtime without a warning, and keeps it", () => {
    const c = openCompiler();
    const path = poolLibrary(c);
    expect(poolLibrary(c)).toBe(path);
    compileLibrary(c, "the pool", POOL_C, ["-Wall", "-Wextra", "-Werror"]);
  });

  it("keeps libraries by content, and repairs a cut one", () => {
    const c = openCompiler();
    const bytes = compileLibrary(c, "k", "int run(void){return 1;}\n");
    const path = libraryFile(bytes);
    writeFileSync(path, bytes.subarray(0, 100));
    expect(libraryFile(bytes)).toBe(path);
    expect(new Uint8Array(readFileSync(path))).toEqual(bytes);
  });

  it("works without a cache folder", () => {
    process.env["VEXIL_CACHE"] = "off";
    const c = openCompiler();
    expect(compileLibrary(c, "k", "int run(void){return 1;}\n").length).toBeGreaterThan(100);
  });
});
