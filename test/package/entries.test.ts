// What Node gets by the package's names: the script that the build puts together from dist/'s modules.

import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { built, root } from "../built.js";

const run = (program: string): string =>
  execFileSync(process.execPath, ["--input-type=module", "-e", program], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, VEXIL_CHIP: "interpreter" },
  });

const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  exports: Record<string, { node: string; default: string }>;
};
const entries = Object.keys(exports).filter((e) => e !== "./package.json");

test.each(entries)("%s exports what its module does", async (entry) => {
  expect(existsSync(join(root, exports[entry]!.node))).toBe(true);
  const names = JSON.parse(
    run(`console.log(JSON.stringify(Object.keys(await import("${entry.replace(".", "vexil")}"))))`),
  ) as string[];
  const module = await built<object>(exports[entry]!.default.replace("./dist/", ""));
  expect(names.sort()).toEqual(Object.keys(module).sort());
});

test("entries share their state, and name the author's line", () => {
  const out = run(`
    import { Tensor, tensor, noGrad, kernel, ptr } from "vexil";
    import { Linear } from "vexil/nn";
    const make = () => tensor([[1, 2]], { dtype: "f32", requiresGrad: true });
    const layer = new Linear(make, "layer", 2, 1);
    const [y, z] = [layer.forward(layer.weight), noGrad(() => layer.forward(layer.weight))];
    console.log(y instanceof Tensor, y.requiresGrad, z.requiresGrad);
    const k = kernel({ x: ptr }, ({ x }, tl) => { tl.store(x, nowhere); }, "k");
    try { k.launch([1], { x: tensor([1]) }); } catch (e) { console.log(e.message.includes("nowhere")); }
  `);
  expect(out.trim().split("\n")).toEqual(["true true false", "true"]);
});

test("the command's loader and the package's share what they load", () => {
  const out = run(`
    import { createRequire } from "node:module";
    import { tensor } from "vexil";
    import { Module } from "vexil/nn";
    const { load } = createRequire(${JSON.stringify(`${root}/`)})("./dist/node/load.cjs");
    console.log(load("nn/index").Module === Module, load("index").tensor === tensor);
  `);
  expect(out.trim()).toBe("true true");
});

test("a program's second start finds the engine's code of the first, unless it is damaged", () => {
  const cache = mkdtempSync(join(tmpdir(), "vexil-code-"));
  const start = (program: string, env: Record<string, string> = {}): string =>
    execFileSync(process.execPath, ["--input-type=module", "-e", program], {
      cwd: root,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
      env: { ...process.env, VEXIL_CHIP: "interpreter", VEXIL_CACHE: cache, ...env },
    });
  const files = (): string[] => {
    const folder = join(cache, "programs");
    return existsSync(folder) ? readdirSync(folder).map((f) => join(folder, f)) : [];
  };
  const sum = `const { tensor } = await import("vexil"); console.log(await tensor([1, 2]).add(1).data())`;
  try {
    expect(() => start(`${sum}; process.exit(3)`)).toThrow();
    expect(start(sum, { VEXIL_CACHE: "off" })).toBe("BigInt64Array(2) [ 2n, 3n ]\n");
    expect(files()).toEqual([]);
    expect(start(sum)).toBe("BigInt64Array(2) [ 2n, 3n ]\n");
    const [file, ...others] = files();
    expect(others).toEqual([]);
    // Who finds no use for it writes it anew.
    const written = statSync(file!).mtimeMs;
    expect(start(sum)).toBe("BigInt64Array(2) [ 2n, 3n ]\n");
    expect(statSync(file!).mtimeMs).toBe(written);
    const flip = (b: Buffer) => b.fill(b[12_345]! ^ 1, 12_345, 12_346);
    for (const damage of [
      (b: Buffer) => b.subarray(0, b.length / 2),
      (b: Buffer) => b.fill(0, 5000, 9000),
      flip,
    ]) {
      writeFileSync(file!, damage(readFileSync(file!)));
      const damaged = readFileSync(file!);
      expect(start(sum)).toBe("BigInt64Array(2) [ 2n, 3n ]\n");
      expect(Buffer.compare(readFileSync(file!), damaged)).not.toBe(0);
    }
  } finally {
    rmSync(cache, { recursive: true });
  }
});

test("so does a program whose chip sets flags of the engine", () => {
  const cache = mkdtempSync(join(tmpdir(), "vexil-code-"));
  const start = (): number => {
    const program = `
      const { tensor } = await import("vexil");
      await tensor(new Float32Array(90_000).fill(1), { shape: [300, 300] }).mm(tensor(new Float32Array(90_000).fill(1), { shape: [300, 300] })).data()`;
    execFileSync(process.execPath, ["--input-type=module", "-e", program], {
      cwd: root,
      env: { ...process.env, VEXIL_CHIP: "wasm", VEXIL_CACHE: cache },
    });
    const [file] = readdirSync(join(cache, "programs"));
    return statSync(join(cache, "programs", file!)).mtimeMs;
  };
  try {
    const written = start();
    expect(start()).toBe(written);
  } finally {
    rmSync(cache, { recursive: true });
  }
});
