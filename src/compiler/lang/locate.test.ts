// From a mistake to the author's own line: generated files with source maps, TypeScript that runs in memory, and
// scripts that cannot be read.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { createContext, runInNewContext } from "node:vm";
import { build as bundle } from "esbuild";
import { minify } from "terser";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { align } from "./align.js";
import { KernelError } from "./errors.js";
import * as language from "./index.js";
import { locate } from "./locate.js";
import { parseFunction } from "./parse.js";
import { build } from "./testing/build.js";
import type { KernelSource } from "../source.js";

const AUTHOR = `// An author's file.
interface Unused { a: number }
export function define({ kernel, ptr, i32 }: any) {
  return kernel(
    { x: ptr, n: i32 },
    ({ x, n }: { x: number; n: number }, tl: any): void => {
      /* a comment, and a type */
      const half: number = n / 2;
      tl.store(x, half as number);
    },
  );
}
`;
const LINE = 8;
const COLUMN = AUTHOR.split("\n")[LINE - 1]!.indexOf("n / 2") + 1;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "vexil-locate-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function placeOf(file: string) {
  const module = (await import(/* @vite-ignore */ file)) as { define(l: unknown): KernelSource };
  const source = module.define({ ...language, kernel: language.kernelSource });
  try {
    build(source);
  } catch (e) {
    expect(e).toBeInstanceOf(KernelError);
    return (e as KernelError).place;
  }
  throw new Error("the kernel has no mistake");
}

function compile(inline: boolean): { js: string; map: string | undefined } {
  const out = ts.transpileModule(AUTHOR, {
    fileName: "author.ts",
    compilerOptions: {
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.ESNext,
      removeComments: true,
      ...(inline ? { inlineSourceMap: true, inlineSources: true } : { sourceMap: true }),
    },
  });
  return { js: out.outputText, map: out.sourceMapText };
}

describe("locate", () => {
  it("follows a source map file", async () => {
    const dir = join(folder, "file");
    mkdirSync(dir);
    const { js, map } = compile(false);
    writeFileSync(join(dir, "author.ts"), AUTHOR);
    writeFileSync(join(dir, "author.mjs"), js.replace("author.js.map", "author.mjs.map"));
    writeFileSync(join(dir, "author.mjs.map"), map!);
    expect(await placeOf(join(dir, "author.mjs"))).toMatchObject({
      file: join(dir, "author.ts"),
      line: LINE,
      column: COLUMN,
      lineText: "      const half: number = n / 2;",
    });
  });
  it("follows an inline source map with the sources inside", async () => {
    const file = join(folder, "inline.mjs");
    writeFileSync(file, compile(true).js);
    expect(await placeOf(file)).toMatchObject({
      line: LINE,
      column: COLUMN,
      file: join(folder, "author.ts"),
    });
  });
  it("follows the map of a minified file", async () => {
    const out = await minify(
      { "small.ts": compile(false).js },
      { module: true, sourceMap: { url: "small.mjs.map" } },
    );
    writeFileSync(join(folder, "small.mjs"), out.code!);
    writeFileSync(join(folder, "small.mjs.map"), out.map as string);
    writeFileSync(join(folder, "small.ts"), compile(false).js);
    const place = await placeOf(join(folder, "small.mjs"));
    expect(place?.file).toBe(join(folder, "small.ts"));
    expect(place?.lineText).toContain("n / 2");
  });
  it("shows the file itself without a map", async () => {
    const file = join(folder, "plain.mjs");
    writeFileSync(file, compile(false).js.replace(/\/\/# sourceMappingURL.*/, ""));
    expect(await placeOf(file)).toMatchObject({ file, lineText: expect.stringContaining("n / 2") });
  });
  it("finds the line of TypeScript that tsx runs", () => {
    const author = join(folder, "live.ts");
    const here = dirname(fileURLToPath(import.meta.url));
    writeFileSync(
      author,
      `${AUTHOR}
import * as language from ${JSON.stringify(join(here, "index.ts"))};
const source = define({ ...language, kernel: language.kernelSource });
try {
  source.build({ params: [{ kind: "ptr", dtype: "f32", aligned: false }, { kind: "scalar" }], wideOffsets: false });
} catch (e: any) {
  console.log(JSON.stringify(e.place));
}
`,
    );
    const tsx = join(here, "../../../node_modules/tsx/dist/cli.mjs");
    const out = execFileSync(process.execPath, [tsx, author], { encoding: "utf8", cwd: folder });
    expect(JSON.parse(out)).toMatchObject({ file: author, line: LINE, column: COLUMN });
  });
  it("tells equal kernels of one file apart", () => {
    const text = "const k = (n: number) => n / 2;\nconst l = (n: number) => n / 2;\n";
    expect(align("(n)=>n/2", 5, text, 1)).toBe(text.indexOf("n /"));
    expect(align("(n)=>n/2", 5, text, 2)).toBe(text.lastIndexOf("n /"));
  });
  it("shows the function's text and the script where no file can be read", () => {
    const fn = (a: number) => a / 2;
    const origin = { stack: "Error\n    at kernel (https://example.org/assets/app-1a2b.js:1:200)" };
    const place = locate(parseFunction(fn, "k", origin), 7);
    expect(place).toMatchObject({
      file: undefined,
      script: "https://example.org/assets/app-1a2b.js",
      line: 1,
    });
    expect(place.column).toBe(8);
  });
});

describe("a minified bundle for browsers", () => {
  it("builds kernels and shows the function's own text", async () => {
    const here = dirname(fileURLToPath(import.meta.url));
    const out = await bundle({
      stdin: {
        contents: `
          import { kernelSource, ptr, i32 } from "./index.ts";
          const build = (k) => k.build({ params: [{ kind: "ptr", dtype: "f32", aligned: false }, { kind: "scalar" }], wideOffsets: false });
          const good = kernelSource({ x: ptr, n: i32 }, ({ x, n }, tl) => { const at = tl.arange(0, 8); tl.store(x + at, tl.softmax(tl.load(x + at)), at < n); });
          globalThis.ops = build(good).body.ops.length;
          const wrong = kernelSource({ x: ptr, n: i32 }, ({ x, n }, tl) => { const half = n / 2; tl.store(x, half); });
          try { build(wrong); } catch (e) { globalThis.message = e.message; }`,
        resolveDir: here,
        loader: "ts",
      },
      bundle: true,
      // The package names its built files with side effects, not these sources.
      ignoreAnnotations: true,
      minify: true,
      write: false,
      format: "iife",
      platform: "browser",
      define: { "import.meta.url": '"https://example.org/app.js"' },
    });
    // No process, no module loader.
    const page: { ops?: number; message?: string } = {};
    runInNewContext(out.outputFiles[0]!.text, createContext(Object.assign(page, { URL })), {
      filename: "https://example.org/app.js",
    });
    expect(page.ops).toBeGreaterThan(10);
    expect(page.message).toMatch(
      /`\/` on two integers[\s\S]*at 1:\d+ of the function's text \(https:\/\/example.org\/app.js\)[\s\S]*\^/,
    );
  });
});

describe("align", () => {
  const original = `const a = f((x: number, y: string) => x + 1);\nconst b = f((x: number) => x - 1); // x - 2\n`;
  it("finds words in spite of types, and tells similar functions apart", () => {
    expect(align("(x)=>x-1", 6, original, 1)).toBe(original.indexOf("- 1"));
    expect(align("(x, y) => x + 1", 12, original, 2)).toBe(original.indexOf("+ 1"));
  });
  it("does not look into strings and templates", () => {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is a program's text
    const quoted = "const t = `${`a${{ b: 1 }}`} (n) => n / 2`;\nconst f = (n: number) => n / 2;\n";
    expect(align("(n)=>n/2", 5, quoted, 1)).toBe(quoted.lastIndexOf("n /"));
  });
  it("does not find what is not there", () => {
    expect(align("(x)=>x-2", 6, original, 1)).toBeUndefined();
    expect(align("(n)=>n*n*n*n", 6, original, 1)).toBeUndefined();
  });
});
