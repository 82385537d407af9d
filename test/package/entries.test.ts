// What Node gets by the package's names: the files that the build puts together from dist/'s modules.

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
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
