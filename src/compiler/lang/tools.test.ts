// What tools make of a kernel's text must mean the same: each tool transforms the same file, and the kernels in
// its output build the same IR as those of the original.

import { transform as esbuild } from "esbuild";
import { createRequire } from "node:module";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { minify } from "terser";
import ts from "typescript";
import { build as viteBuild, transformWithOxc } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Func, print, type Value, walk } from "../ir/index.js";
import * as language from "./index.js";
import { build } from "./testing/build.js";
import type { KernelSource } from "../source.js";

const ORIGINAL = `
export function define({ kernel, helper, ptr, i32, f32, constexpr, constant }: any) {
  const softmax = kernel(
    { x: ptr, y: ptr, cols: i32, BLOCK: constexpr },
    ({ x, y, cols, BLOCK }: any, tl: any) => {
      const row: number = tl.programId(0);
      const at = tl.arange(0, BLOCK);
      const inside = at < cols;
      const v = tl.load(x + row * cols + at, inside, -Infinity);
      const e = tl.exp(v - tl.max(v, 0));
      tl.store(y + row * cols + at, e / tl.sum(e, 0), inside);
    },
  );
  const silu = helper((tl: any, v: number) => v * tl.sigmoid(v));
  const gate = helper({ silu }, (tl: any, v: number, on: boolean) => {
    if (!on) return v;
    const scaled = v * 2;
    return tl.silu(scaled) + 1;
  });
  const mixed = kernel(
    { x: ptr, y: ptr, n: i32, scale: f32, BLOCK: constexpr, FLAG: constexpr, EPS: constant(1e-5), gate },
    ({ x, y, n, scale, BLOCK, FLAG, EPS, gate }: any, tl: any) => {
      // Comments and types disappear.
      const pid = tl.programId(0);
      let p = x + pid * BLOCK;
      let acc = 0;
      let most = -1 / 0;
      for (let i = 0; i < n; i += BLOCK) {
        const at = tl.arange(0, BLOCK);
        const v = tl.load(p + at, at < n - i && at >= 0, 0);
        acc += v * scale;
        most = tl.maximum(most, tl.max(v, 0));
        p += BLOCK;
      }
      const square = (a: number) => a * a;
      if (most > 0.5 && n !== 3) {
        acc = acc * 2;
      } else if (n > 100) {
        acc += 1;
      }
      let steps = 0;
      let m = n;
      while (m > 1) {
        m = m >> 1;
        steps++;
      }
      const extra = FLAG ? square(most) + EPS : 0;
      if (steps > 10) return;
      const total = tl.sum(acc, 0) + (steps > 2 ? tl.load(x) : 1);
      const [first, second] = [gate(total, true), gate(extra, false)];
      n > 5 && tl.store(y, first);
      tl.store(y + 1, second);
    },
  );
  return { softmax, mixed };
}
`;

type Kernels = { softmax: KernelSource; mixed: KernelSource };

/** Runs a module's text and takes its kernels. */
async function load(code: string): Promise<Kernels> {
  const file = join(folder, `m${counter++}.mjs`);
  writeFileSync(file, code);
  const module = (await import(/* @vite-ignore */ file)) as { define(l: unknown): Kernels };
  return module.define({ ...language, kernel: language.kernelSource });
}

/** The IR without the author's names, which minifiers change. */
function text(func: Func): string {
  const nameless = (v: Value) => {
    v.name = undefined;
  };
  walk(func.body, (op) => {
    op.results.forEach(nameless);
    for (const r of op.regions) r.args.forEach(nameless);
  });
  return print(func).replace(/^func @\S+?\(/, "func @k(");
}

const all = (k: Kernels): string =>
  [
    build(k.softmax, { BLOCK: 128 }),
    build(k.mixed, { BLOCK: 64, FLAG: true }),
    build(k.mixed, { BLOCK: 32, FLAG: false, x: "f16" }),
  ]
    .map(text)
    .join("\n");

let folder: string;
let counter = 0;
let plain: string;
let expected: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "vexil-tools-"));
  plain = ts.transpileModule(ORIGINAL, { compilerOptions: { target: ts.ScriptTarget.ES2022 } }).outputText;
  expected = all(await load(plain));
});
/** It has no types of its own. */
const { createInstrumenter } = createRequire(import.meta.url)("istanbul-lib-instrument") as {
  createInstrumenter(o: object): { instrumentSync(code: string, file: string): string };
};

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the same IR after", () => {
  const same = async (code: string) => expect(all(await load(code))).toBe(expected);

  it("tsc (and the kernels are not trivial)", () => {
    expect(plain).not.toContain(": any");
    for (const op of ["for(", "while(", "if(", "exp(", "reduce", "max {"]) expect(expected).toContain(op);
  });
  it("tsc to an older target", () =>
    same(
      ts.transpileModule(ORIGINAL, {
        compilerOptions: { target: ts.ScriptTarget.ES2015, module: ts.ModuleKind.ESNext },
      }).outputText,
    ));
  it("tsx, which is esbuild with kept names", async () => {
    const { code } = await esbuild(ORIGINAL, {
      loader: "ts",
      format: "esm",
      keepNames: true,
      target: "node20",
    });
    expect(code).toContain("__name(");
    await same(code);
  });
  it("esbuild, minified", async () => {
    await same((await esbuild(ORIGINAL, { loader: "ts", format: "esm", minify: true })).code);
  });
  it("esbuild, minified with kept names", async () => {
    await same(
      (await esbuild(ORIGINAL, { loader: "ts", format: "esm", minify: true, keepNames: true })).code,
    );
  });
  it("terser", async () => {
    const once = await minify(plain, { module: true });
    expect(once.code).toBeDefined();
    await same(once.code!);
  });
  it("terser, with all its passes and unsafe rewrites off", async () => {
    const hard = await minify(plain, {
      module: true,
      compress: { passes: 3, pure_getters: true, booleans_as_integers: false, toplevel: true },
      mangle: { toplevel: true },
    });
    await same(hard.code!);
  });
  it("vitest's transform", async () => same((await transformWithOxc(ORIGINAL, "k.ts")).code));
  it("a minified Vite build", async () => {
    const entry = join(folder, "entry.ts");
    writeFileSync(entry, ORIGINAL);
    const result = await viteBuild({
      root: folder,
      configFile: false,
      logLevel: "silent",
      build: {
        write: false,
        minify: true,
        target: "es2022",
        lib: { entry, formats: ["es"], fileName: "out" },
      },
    });
    const output = (Array.isArray(result) ? result[0]! : result) as { output: { code: string }[] };
    await same(output.output[0]!.code);
  });
  it("istanbul's coverage counters", async () => {
    const code = createInstrumenter({ esModules: true }).instrumentSync(plain, "k.js");
    expect(code).toMatch(/cov_\w+\(\)\.s\[\d+\]\+\+/);
    await same(code);
  });
  it("istanbul and then terser", async () => {
    const code = createInstrumenter({ esModules: true }).instrumentSync(plain, "k2.js");
    await same((await minify(code, { module: true })).code!);
  });
  it("the code that runs in this very test, read by its own text", () => {
    const { define } = original;
    expect(all(define({ ...language, kernel: language.kernelSource }))).toBe(expected);
  });
});

/** The same functions as vitest itself hands them over. */
const original = {
  define: new Function(
    "language",
    `${ts.transpileModule(ORIGINAL.replace("export ", ""), { compilerOptions: { target: ts.ScriptTarget.ES2022 } }).outputText}; return define(language);`,
  ) as (l: unknown) => Kernels,
};
