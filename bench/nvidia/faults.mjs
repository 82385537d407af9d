// What a kernel that fails on the GPU says, and that nothing is right or crashes after it: each case runs in a process of its
// own, since its context is lost. `node faults.mjs`; with a case's name it is that process.

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import * as vexil from "../../dist/index.js";

const { constexpr, i32, kernel, ptr, tensor } = vexil;

const scatter = kernel(
  { x: ptr, y: ptr, far: i32, BLOCK: constexpr },
  ({ x, y, far, BLOCK }, tl) => {
    const at = tl.arange(0, BLOCK);
    tl.store(y + at + far * 1048576, tl.load(x + at));
  },
  "scatter",
);
const claim = kernel(
  { x: ptr, y: ptr },
  ({ x, y }, tl) => {
    const at = tl.arange(0, 16);
    const v = tl.load(x + at);
    tl.deviceAssert(v >= 0, "no negatives");
    tl.store(y + at, v);
  },
  "claim",
);
const message = async (fn) => {
  try {
    await fn();
    return "NO ERROR";
  } catch (e) {
    return `${e.name}: ${e.message}`;
  }
};
const fail = (what, text) => {
  console.log("WRONG", what, "\n", text);
  process.exitCode = 1;
};
const expect = (what, text, ...patterns) => {
  for (const p of patterns) if (!p.test(text)) return fail(`${what}: wants ${p}`, text);
  console.log("ok", what);
};

const CASES = {
  async "illegal address"() {
    const x = tensor(new Float32Array(128).fill(2));
    const y = tensor(new Float32Array(128));
    await x.add(1).data();
    scatter.launch([1], { x, y, far: 2000, BLOCK: 128 });
    const first = await message(() => y.data());
    console.log(first);
    expect(
      "the error names the kernel, its line and what to do",
      first,
      /CudaError/,
      /ILLEGAL_ADDRESS/,
      /kernel scatter, defined at .*faults\.mjs:\d+/,
      /context is lost/,
      /Start the process anew/,
    );
    for (const [what, fn] of [
      ["reading again", () => x.data()],
      ["reading at once", () => x.dataSync()],
      ["an operator", () => x.add(1)],
      ["new memory", () => tensor(new Float32Array(8))],
      ["waiting", () => vexil.defaultChip().driver.sync()],
      ["a new kernel", () => claim.launch([1], { x, y })],
    ])
      expect(`${what} says the same`, await message(fn), new RegExp(first.slice(0, 200).replace(/[.*+?^${}()|[\]\\]/g, "\\$&"))); // biome-ignore format: one line
    x.dispose();
    expect("letting go of memory", "fine", /fine/);
    vexil.closeChips();
    expect("closing", "fine", /fine/);
  },
  async "several launches"() {
    const x = tensor(new Float32Array(128).fill(2));
    const y = tensor(new Float32Array(128));
    await x.mul(2).data();
    scatter.launch([1], { x, y, far: 0, BLOCK: 128 });
    await y.data();
    const text = await message(async () => {
      scatter.launch([1], { x, y, far: 2000, BLOCK: 128 });
      for (let i = 0; i < 4; i++) x.mul(2);
      await x.data();
    });
    if (process.env.VEXIL_DEBUG === "sync")
      expect("with VEXIL_DEBUG=sync the one is named", text, /kernel failed[^\n]*\n {2}kernel scatter, defined at/);
    else expect("all that may have failed are named", text, /one of these/, /kernel scatter/, /kernel mul|kernel .*mul/, /VEXIL_DEBUG=sync/); // biome-ignore format: one line
  },
  async "a graph"() {
    const x = tensor(new Float32Array(128).fill(2));
    const y = tensor(new Float32Array(128));
    scatter.launch([1], { x, y, far: 0, BLOCK: 128 });
    const graph = vexil.capture(() => scatter.launch([1], { x, y, far: 2000, BLOCK: 128 }));
    await x.data();
    graph.replay();
    expect("a captured graph", await message(() => y.data()), /kernel scatter of a captured graph/);
  },
  async "an assert"() {
    const x = tensor([1, 2, 3, 4, 5, -6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16], { dtype: "f32" });
    const y = tensor(new Float32Array(16));
    const text = await message(async () => {
      claim.launch([1], { x, y });
      await y.data();
    });
    console.log(text);
    expect("an assert names its line", text, /kernel claim, program \(0, 0, 0\)/, /element 5: no negatives/, /tl\.deviceAssert\(v >= 0/); // biome-ignore format: one line
    const z = await tensor([1, 2], { dtype: "f32" }).add(1).tolist();
    expect("the GPU goes on", JSON.stringify(z), /\[2,3\]/);
  },
};

const [name] = process.argv.slice(2);
if (name) {
  await vexil.setDefaultChip("nvidia");
  await CASES[name]();
} else {
  const runs = Object.keys(CASES).map((c) => [c, {}]);
  for (const [c, env] of [...runs, ["several launches", { VEXIL_DEBUG: "sync" }]]) {
    const run = spawnSync(process.execPath, [fileURLToPath(import.meta.url), c], {
      encoding: "utf8",
      env: { ...process.env, ...env },
      timeout: 60000,
    });
    const exit = run.signal ?? run.status;
    console.log(`-- ${c} ${JSON.stringify(env)}: exit ${exit}\n${run.stdout}${run.stderr}`);
    if (exit !== 0) process.exitCode = 1;
  }
}
