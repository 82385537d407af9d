// Finds the system's C compiler, asks it once what it and the machine can do, and runs it. Nothing is spawned to find
// it; what it answered is kept on disk under its path, size and date and the processor's features.

import { CompileError } from "../../compiler/target.js";
import { hashHex } from "../../runtime/hash.js";
import { builtin, env } from "../../runtime/platform.js";
import { adoptLibrary, cpuFolder, temporaryName, writeAtomic } from "./files.js";
import type { DotUnit, Features } from "./unit.js";

export interface Compiler {
  readonly path: string;
  /** Arguments that came with it in `CC` (`ccache gcc`). */
  readonly prefix: readonly string[];
  /** `gcc 12.2.0`, `clang 19.1.7`. */
  readonly version: string;
  /** The flags that choose the instruction set. */
  readonly machine: readonly string[];
  readonly features: Features;
  /** `AVX2, FMA, F16C`, for people. */
  readonly units: string;
}

/** No usable compiler; `message` says what was found, `hint` how to get one. */
export class NoCompilerError extends Error {
  override name = "NoCompilerError";
  constructor(
    message: string,
    readonly hint: string,
  ) {
    super(message);
  }
}

export const installHint = (): string => {
  if (process.platform === "darwin") return "`xcode-select --install` installs one";
  return process.platform === "linux"
    ? "`apt install gcc libc6-dev` (or your system's package of it) installs one"
    : "the cpu chip serves Linux and macOS";
};

/** What is asked: name -> preprocessor condition. */
const QUESTIONS: Readonly<Record<string, string>> = {
  clang: "defined __clang__",
  sse41: "defined __SSE4_1__",
  avx2: "defined __x86_64__ && defined __AVX2__",
  avx512: "defined __AVX512F__ && defined __AVX512BW__ && defined __AVX512DQ__ && defined __AVX512VL__",
  fma: "defined __FMA__ || defined __aarch64__ || (defined __riscv && defined __riscv_flen && __riscv_flen >= 64)",
  f16c: "defined __F16C__",
  avx512vnni: "defined __AVX512VNNI__ && defined __AVX512VL__",
  avxvnni: "defined __AVXVNNI__",
  avxvnniint8: "defined __AVXVNNIINT8__",
  avx512bf16: "defined __AVX512BF16__ && defined __AVX512VL__",
  amxint8: "defined __AMX_TILE__ && defined __AMX_INT8__",
  amxbf16: "defined __AMX_TILE__ && defined __AMX_BF16__",
  dotprod: "defined __ARM_FEATURE_DOTPROD",
  armbf16: "defined __ARM_FEATURE_BF16_VECTOR_ARITHMETIC",
  neon: "defined __aarch64__",
  sve: "defined __ARM_FEATURE_SVE",
  rvv: "defined __riscv_vector",
  riscv: "defined __riscv",
  float16: "defined __FLT16_MAX__",
  shuffle: "__has_builtin(__builtin_shufflevector)",
  elementwise:
    "__has_builtin(__builtin_elementwise_fma) && __has_builtin(__builtin_elementwise_sqrt) && __has_builtin(__builtin_elementwise_roundeven)",
};
const PROBE_VERSION = 5;

/** What keeps the compiler from wider vectors than the user allows (`VEXIL_VECTORS`, in bits), on x86. */
const NARROWER: Readonly<Record<string, readonly string[]>> = {
  "512": [],
  "256": ["-mno-avx512f"],
  "128": ["-mno-avx"],
};

/**
 * Flags for the widest vectors that kernels may use: `VEXIL_VECTORS` is 128, 256 or 512 bits. Without it they use what the
 * machine has. It serves tests, and machines that slow down under wide vectors. Elsewhere than on x86 only 128 does anything: it
 * keeps SVE out.
 */
function vectorFlags(): readonly string[] {
  const wanted = env("VEXIL_VECTORS");
  if (wanted === undefined || wanted === "") return [];
  const flags = NARROWER[wanted];
  if (!flags) throw new Error(`VEXIL_VECTORS must be 128, 256 or 512, not "${wanted}"`);
  return process.arch === "x64" ? flags : [];
}

const probeText = (): string =>
  [
    "#ifndef __has_builtin",
    "#define __has_builtin(x) 0",
    "#endif",
    "version __GNUC__ __GNUC_MINOR__ __GNUC_PATCHLEVEL__",
    "#ifdef __clang__",
    "version __clang_major__ __clang_minor__ __clang_patchlevel__",
    "#endif",
    ...Object.entries(QUESTIONS).map(([name, condition]) => `#if ${condition}\nyes_${name}\n#endif`),
    // Vectors whose length the instruction set leaves open, where the flags say how long they are, or are at least.
    "#if defined __ARM_FEATURE_SVE_BITS && __ARM_FEATURE_SVE_BITS > 0",
    "bits __ARM_FEATURE_SVE_BITS",
    "#elif defined __riscv_v_min_vlen",
    "bits __riscv_v_min_vlen",
    "#endif",
    "",
  ].join("\n");

interface Answers {
  readonly version: readonly string[];
  readonly yes: readonly string[];
  /** Bits of a vector of SVE or RVV; 0 without them. */
  readonly bits: number;
  readonly machine: readonly string[];
}

/** Features from the compiler's answers. */
function featuresOf(yes: ReadonlySet<string>, bits: number): Features {
  const clang = yes.has("clang");
  const gccX86 = yes.has("avx2") && !clang && yes.has("fma");
  const wide = yes.has("avx512");
  const elementwise = yes.has("elementwise");
  const nativeHalf = yes.has("float16") && (yes.has("neon") || (clang && yes.has("f16c")));
  const dots = dotUnit(yes, bits);
  const amx = { i8: yes.has("amxint8"), bf16: yes.has("amxbf16") };
  // Tiles are rows of 64 bytes, as vectors of AVX-512 bring them together.
  const tiles = dots && wide && (amx.i8 || amx.bf16) ? amx : undefined;
  return {
    clang,
    vectorBytes: wide || bits >= 512 ? 64 : yes.has("avx2") || bits >= 256 ? 32 : 16,
    vectorRegisters: wide || yes.has("neon") || yes.has("rvv") ? 32 : 16,
    x86: gccX86,
    x86wide: gccX86 && wide,
    elementwise,
    fma: !yes.has("fma") ? "none" : gccX86 || elementwise ? "builtin" : "contract",
    half: nativeHalf ? "native" : gccX86 && yes.has("f16c") ? "f16c" : "bits",
    shuffle: yes.has("shuffle"),
    ...(yes.has("riscv") ? { atomicLibrary: true } : {}),
    ...(dots && { dots }),
    ...(tiles && { tiles }),
  };
}

/** What multiplies and adds several elements in a lane, best first. `VEXIL_DOTS=off`: nothing, for tests and comparisons. */
function dotUnit(yes: ReadonlySet<string>, bits: number): DotUnit | undefined {
  if (env("VEXIL_DOTS") === "off") return undefined;
  const first = <T extends string>(list: readonly (readonly [boolean, T])[]): T | undefined =>
    list.find(([has]) => has)?.[1];
  // Vectors of SVE that are longer than NEON's have instructions of their own.
  const [neon, sve] = [yes.has("neon") && bits <= 128, yes.has("sve") && bits > 128];
  const i8 = first([
    [yes.has("avx512vnni"), "avx512-vnni"],
    [yes.has("avxvnniint8"), "avx-vnni-int8"],
    [yes.has("avxvnni"), "avx-vnni"],
    [neon && yes.has("dotprod"), "neon"],
    [sve, "sve"],
  ]);
  const bf16 = first([
    [yes.has("avx512bf16"), "avx512-bf16"],
    [neon && yes.has("armbf16"), "neon"],
    [sve && yes.has("armbf16"), "sve"],
  ]);
  return i8 || bf16 ? { ...(i8 && { i8 }), ...(bf16 && { bf16 }) } : undefined;
}

const UNITS: readonly (readonly [string, string])[] = [
  ["avx512", "AVX-512"],
  ["avx2", "AVX2"],
  ["neon", "NEON"],
  ["sve", "SVE"],
  ["rvv", "RVV"],
  ["fma", "FMA"],
  ["f16c", "F16C"],
  ["avx512vnni", "VNNI"],
  ["avxvnni", "AVX-VNNI"],
  ["avx512bf16", "BF16"],
  ["amxint8", "AMX"],
  ["dotprod", "DotProd"],
  ["armbf16", "BF16"],
];

interface Candidate {
  readonly path: string;
  readonly prefix: readonly string[];
}

/** The compilers to try, best first, by the existence of their files. Throws {@link NoCompilerError} if there are none. */
export function findCompilers(): Candidate[] {
  const fs = builtin("node:fs");
  const path = builtin("node:path");
  if (!fs || !path || (process.platform !== "linux" && process.platform !== "darwin"))
    throw new NoCompilerError("needs Node on Linux or macOS", installHint());
  const folders = (env("PATH") ?? "").split(path.delimiter).filter(Boolean);
  const resolve = (command: string): Candidate[] => {
    const [name, ...prefix] = command.trim().split(/\s+/);
    const paths = name!.includes("/") ? [path.resolve(name!)] : folders.map((f) => path.join(f, name!));
    const found = paths.find((p) => isProgram(p));
    return found ? [{ path: found, prefix }] : [];
  };
  const isProgram = (p: string): boolean => {
    try {
      fs.accessSync(p, fs.constants.X_OK);
      return fs.statSync(p).isFile() && !isAppleStub(p);
    } catch {
      return false;
    }
  };
  /** macOS has programs in /usr/bin that only offer to install the real ones. */
  const isAppleStub = (p: string): boolean =>
    process.platform === "darwin" &&
    p.startsWith("/usr/bin/") &&
    !["/Library/Developer/CommandLineTools/usr/bin/clang", "/Applications/Xcode.app"].some((x) =>
      fs.existsSync(x),
    );

  const wanted = env("VEXIL_CC");
  if (wanted) {
    const found = resolve(wanted);
    if (found.length) return found;
    throw new NoCompilerError(`VEXIL_CC names no program: ${wanted}`, "unset it or correct it");
  }
  const all = [...(env("CC") ? [env("CC")!] : []), "cc", "gcc", "clang"].flatMap(resolve);
  if (!all.length) throw new NoCompilerError("no C compiler in PATH", installHint());
  const seen = new Set<string>();
  return all.filter((c) => {
    const real = fs.realpathSync(c.path) + c.prefix.join(" ");
    return !seen.has(real) && seen.add(real);
  });
}

/** What tells this processor from others as far as `-march=native` looks. */
function processorIdentity(): string {
  const fs = builtin("node:fs")!;
  try {
    const file = fs.openSync("/proc/cpuinfo", "r");
    const head = Buffer.alloc(16384);
    const n = fs.readSync(file, head, 0, head.length, 0);
    fs.closeSync(file);
    const lines = head.toString("latin1", 0, n).split("\n");
    const at = (word: RegExp): string => lines.find((l) => word.test(l)) ?? "";
    return [/^model name/, /^(flags|Features|isa)\b/, /^CPU part/].map(at).join("|");
  } catch {
    return builtin("node:os")!.cpus()[0]?.model ?? "";
  }
}

/** The first compiler that answers. Throws {@link NoCompilerError}. */
export function openCompiler(): Compiler {
  const failures: string[] = [];
  const narrow = vectorFlags();
  for (const candidate of findCompilers()) {
    try {
      return describe(candidate, ask(candidate, narrow));
    } catch (e) {
      failures.push(`${candidate.path}: ${(e as Error).message}`);
    }
  }
  throw new NoCompilerError(`no working C compiler (${failures.join("; ")})`, installHint());
}

function describe(c: Candidate, a: Answers): Compiler {
  const yes = new Set(a.yes);
  return {
    ...c,
    version: `${yes.has("clang") ? "clang" : "gcc"} ${a.version.join(".")}`,
    machine: a.machine,
    features: featuresOf(yes, a.bits),
    units: UNITS.filter(([name]) => yes.has(name))
      .map(([, text]) => text)
      .join(", "),
  };
}

function ask(c: Candidate, narrow: readonly string[]): Answers {
  const fs = builtin("node:fs")!;
  const path = builtin("node:path")!;
  const real = fs.realpathSync(c.path);
  const { mtimeMs, size } = fs.statSync(real);
  const key = hashHex(
    String(PROBE_VERSION),
    c.path,
    real,
    ...c.prefix,
    ...narrow,
    `${mtimeMs} ${size}`,
    processorIdentity(),
  );
  const file = path.join(cpuFolder(), `compiler-${key}.json`);
  try {
    return JSON.parse(fs.readFileSync(file, "utf8")) as Answers;
  } catch {
    // Not asked yet, or damaged.
  }
  let why = "";
  for (const own of [["-march=native"], ["-mcpu=native"], ...riscvVectors(), []]) {
    const { answers, failed } = put(c, [...own, ...narrow]);
    if (!answers) {
      why ||= failed;
      continue;
    }
    const known = answers.yes.includes("sve") && answers.bits === 0 ? withLength(c, answers) : answers;
    writeAtomic(file, JSON.stringify(known));
    return known;
  }
  throw new Error(why);
}

/** Puts the questions under the given flags. */
function put(c: Candidate, machine: readonly string[]): { answers?: Answers; failed: string } {
  const run = spawn(c, ["-E", "-P", ...machine, "-x", "c", "-"], probeText());
  if (run.failed) return { failed: run.output };
  const lines = run.output.split("\n").map((l) => l.trim());
  const version = lines.filter((l) => l.startsWith("version ")).at(-1);
  if (!version || !/^version( \d+){3}$/.test(version)) throw new Error("is not GCC or Clang");
  const yes = lines.filter((l) => l.startsWith("yes_")).map((l) => l.slice(4));
  const bits = Number(lines.find((l) => l.startsWith("bits "))?.slice(5) ?? 0);
  return { answers: { version: version.split(" ").slice(1), yes, bits, machine }, failed: "" };
}

/** The answers with SVE's length fixed at this machine's; as they are where NEON is as long, or the length has no register kind. */
function withLength(c: Candidate, a: Answers): Answers {
  if (env("VEXIL_VECTORS") === "128") return a;
  let bytes = 0;
  try {
    bytes = Number(builtin("node:fs")!.readFileSync("/proc/sys/abi/sve_default_vector_length", "utf8"));
  } catch {
    // Not Linux, or no such processor.
  }
  if (bytes !== 32 && bytes !== 64) return a;
  return put(c, [...a.machine, `-msve-vector-bits=${8 * bytes}`]).answers ?? a;
}

/** RISC-V compilers do not all know `native`: vectors where Linux says that the processor has them. */
function riscvVectors(): readonly string[][] {
  const isa = /isa[^:]*: *rv64([a-z]*)/.exec(processorIdentity())?.[1];
  return isa?.includes("v") ? [["-march=rv64gcv"]] : [];
}

function spawn(c: Candidate, args: readonly string[], input: string): { failed: boolean; output: string } {
  const run = builtin("node:child_process")!.spawnSync(c.path, [...c.prefix, ...args], {
    input,
    encoding: "utf8",
    maxBuffer: 1 << 26,
    // Messages in English, whatever the user speaks: they are searched for "error".
    env: { ...process.env, LC_ALL: "C" },
  });
  // A compiler that refuses its flags ends before it reads; it has said why.
  const unread = (run.error as NodeJS.ErrnoException | undefined)?.code === "EPIPE";
  if (run.error && !unread) return { failed: true, output: run.error.message };
  if (run.status === 0 && !run.error) return { failed: false, output: run.stdout };
  const how = run.signal ? `killed by ${run.signal}` : `exit status ${run.status}`;
  return { failed: true, output: firstErrors(run.stderr) || how };
}

/** The first lines of a compiler's output that say what is wrong. */
function firstErrors(stderr: string): string {
  const lines = stderr.split("\n").filter((l) => l.trim());
  const errors = lines.filter((l) => /\berror\b/.test(l));
  return (errors.length ? errors : lines).slice(0, 3).join("\n");
}

/**
 * Whether kernels are only compiled quickly (`VEXIL_OPTIMIZE=off`): for tests that make very many. Values are the same, as all that
 * rounds is written out; where the compiler itself is to contract, it has to optimise.
 */
const unoptimized = (c: Compiler): boolean =>
  env("VEXIL_OPTIMIZE") === "off" && c.features.fma !== "contract";

/** Flags for a shared library, besides the file names. */
export function libraryFlags(c: Compiler, kernel: boolean): string[] {
  const linux = process.platform === "linux";
  const gcc = !c.features.clang;
  return [
    // The text is already vectorised and unrolled. On a softmax and a matrix product GCC at -O1 with -fgcse makes code
    // as fast as at -O2 and takes 0.7 of the time.
    ...(kernel && gcc ? (unoptimized(c) ? ["-O0"] : ["-O1", "-fgcse"]) : ["-O2"]),
    // Without it GCC at -O1 does not contract.
    ...(kernel && gcc && c.features.fma === "contract" ? ["-fexpensive-optimizations"] : []),
    // Vectors wider than the machine only pass between inlined functions.
    "-Wno-psabi",
    ...c.machine,
    "-shared",
    "-fPIC",
    // The meaning of kernels: integers wrap, pointers may alias, nothing looks at errno or floating-point flags.
    ...["-fwrapv", "-fno-strict-aliasing", "-fno-math-errno", "-fno-trapping-math"],
    `-ffp-contract=${c.features.fma === "contract" ? "fast" : "off"}`,
    // What the library does not need: 5 ms of linking and three quarters of its size.
    ...(linux ? ["-Wl,-z,noseparate-code", "-Wl,--build-id=none", "-s"] : []),
    ...(linux && kernel ? ["-fno-asynchronous-unwind-tables", "-nostdlib", ...(gcc ? ["-lgcc"] : [])] : []),
    // Where rounding is no instruction, GCC calls `floorf` and its like.
    ...(linux && kernel && gcc && !c.features.x86 ? ["-Wl,--as-needed", "-lm"] : []),
    ...(linux && kernel && gcc && c.features.atomicLibrary ? ["-latomic"] : []),
    ...(linux && !kernel ? ["-pthread", "-ldl"] : []),
  ];
}

/**
 * Compiles C text to a shared library and gives its bytes. Throws {@link CompileError} that begins with `name` and
 * holds the compiler's first error lines.
 */
export function compileLibrary(
  c: Compiler,
  name: string,
  text: string,
  extra: readonly string[] = [],
): Uint8Array {
  const { out, args } = command(c, text, extra);
  return finished(c, name, out, spawn(c, args, text));
}

/** {@link compileLibrary} without waiting in place: several may run at once. */
export async function compileLibraryAsync(c: Compiler, name: string, text: string): Promise<Uint8Array> {
  const { out, args } = command(c, text, []);
  return finished(c, name, out, await spawnAsync(c, args, text));
}

function command(c: Compiler, text: string, extra: readonly string[]): { out: string; args: string[] } {
  const out = temporaryName(builtin("node:path")!.join(cpuFolder(), "build"));
  const kernel = !text.includes("#include");
  // Libraries come after the text that needs them.
  const flags = libraryFlags(c, kernel);
  const isLibrary = (f: string): boolean => f.startsWith("-l");
  const args = [...flags.filter((f) => !isLibrary(f)), ...extra, "-o", out, "-x", "c", "-"];
  return { out, args: [...args, ...flags.filter(isLibrary)] };
}

function finished(
  c: Compiler,
  name: string,
  out: string,
  run: { failed: boolean; output: string },
): Uint8Array {
  if (run.failed) {
    builtin("node:fs")!.rmSync(out, { force: true });
    throw new CompileError(`${name}: ${c.path} does not compile its code:\n${run.output}`);
  }
  return adoptLibrary(out);
}

function spawnAsync(
  c: Candidate,
  args: readonly string[],
  input: string,
): Promise<{ failed: boolean; output: string }> {
  return new Promise((resolve) => {
    const child = builtin("node:child_process")!.spawn(c.path, [...c.prefix, ...args], {
      stdio: ["pipe", "ignore", "pipe"],
      env: { ...process.env, LC_ALL: "C" },
    });
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (t: string) => {
      stderr += t;
    });
    child.on("error", (e) => resolve({ failed: true, output: e.message }));
    child.on("close", (status, signal) => {
      const how = signal ? `killed by ${signal}` : `exit status ${status}`;
      resolve(
        status === 0 ? { failed: false, output: "" } : { failed: true, output: firstErrors(stderr) || how },
      );
    });
    // A compiler that refuses its flags ends before it reads; it says why on stderr.
    child.stdin.on("error", () => {});
    child.stdin.end(input);
  });
}
