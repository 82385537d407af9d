// What a launch costs on the host besides the driver's own work: the path of a launch that has happened before, against the
// full path that makes the signature and asks the table of loaded code. The chip compiles the kernels; its driver is
// replaced by one that launches nothing.

import { executable } from "../../dist/runtime/compile.js";
import { allocate, KERNEL_BUFFER, kernelOf } from "../../dist/runtime/index.js";
import { Builder, buffer, Func, scalar } from "../../dist/compiler/ir/index.js";

export const jobs = () => ["cpu", "wasm", "interpreter"].map((chip) => ({ chip, threads: 1 }));

const CASES = [
  ["pointwise: 3 tensors, 2 constexprs", 3, 0, 2],
  ["reduction: 2 tensors, 4 dims, 3 constexprs", 2, 4, 3],
  ["matmul: 4 tensors, 9 dims, 6 constexprs", 4, 9, 6],
];
const BATCH = 200;
/** At least 70 % less host time than the full path. */
const REACH = 1 / 0.3;

export async function run(bench) {
  const real = await bench.vexil.loadChip(bench.chip);
  let launches = 0;
  const driver = Object.assign(Object.create(real.driver), {
    alloc: (bytes) => ({ bytes }),
    free() {},
    launch() {
      launches++;
    },
  });
  driver.load = (artifact) => real.driver.load(artifact);
  const chip = { ...real, driver };
  for (const [name, tensors, dims, constexprs] of CASES) {
    const kernel = kernelOf(source(tensors, dims, constexprs));
    // Two specialisations in turns, so that the shortcut for "the same as last time" is not what is measured.
    const sets = [64, 128].map((block) => argumentsOf(chip, tensors, dims, constexprs, block));
    const grid = [16, 1, 1];
    // As callers write it: one object literal per launch.
    const keys = Object.keys(sets[0]).map((k) => `${k}: a.${k}`);
    const literal = new Function("a", `return { ${keys.join(", ")} };`);
    const cached = (i) => kernel.launch(grid, literal(sets[i & 1]));
    const { launcher } = kernel;
    const full = (i) => {
      const { spec } = launcher.specialize(literal(sets[i & 1]));
      driver.launch(executable(kernel.source, spec, chip), 16, 1, 1, launcher.values, launcher.offsets);
    };
    const many = (f) => () => {
      for (let i = 0; i < BATCH; i++) f(i);
    };
    const got = await bench.compare(
      [
        { name: "ours", once: many(cached), each: BATCH },
        { name: "the full path", once: many(full), each: BATCH },
      ],
      { rest: false },
    );
    if (launches === 0) throw new Error("nothing was launched");
    await bench.row({
      work: `cached launch, host only: ${name}`,
      shape: "-",
      ours: got.ours,
      peers: [{ name: "the full path", ...got["the full path"] }],
      targets: [{ peer: "the full path", reach: Number(REACH.toFixed(2)) }, { limitMs: 0.003 }],
    });
  }
}

/** What an operator's tensor looks like to a launch. */
class TensorLike {
  constructor(chip, dtype, count) {
    this.storage = allocate(chip, count * 4);
    this.dtype = dtype;
    this.offset = 0;
    this.available = count;
  }
  get chip() {
    return this.storage.chip;
  }
  get buffer() {
    return this.storage.buffer;
  }
}
TensorLike.prototype[KERNEL_BUFFER] = true;

/** A kernel like an operator's: tensors, strides, a length, block sizes. */
function source(tensors, dims, constexprs) {
  const params = [
    ...Array.from({ length: tensors }, (_, i) => ({ name: `t${i}`, kind: "ptr" })),
    ...Array.from({ length: dims }, (_, i) => ({ name: `d${i}`, kind: "dim" })),
    { name: "n", kind: "scalar", dtype: "i32" },
    { name: "alpha", kind: "scalar", dtype: "f32" },
    ...Array.from({ length: constexprs }, (_, i) => ({ name: `C${i}`, kind: "constexpr" })),
  ];
  return {
    name: "bench",
    contentKey: `bench ${tensors} ${dims} ${constexprs}`,
    params,
    build: () => {
      const abi = params.filter((p) => p.kind !== "constexpr");
      const f = new Func(
        "bench",
        abi.map((p) => ({ name: p.name, type: p.kind === "ptr" ? buffer("f32") : scalar(p.dtype ?? "i32") })),
      );
      const b = new Builder(f.body);
      b.create("store", [f.body.args[0], b.constant(0, "i32"), b.constant(1, "f32")]);
      return f;
    },
  };
}

function argumentsOf(chip, tensors, dims, constexprs, block) {
  const args = {};
  for (let i = 0; i < tensors; i++) args[`t${i}`] = new TensorLike(chip, "f32", 1024);
  for (let i = 0; i < dims; i++) args[`d${i}`] = 32 * (i + 1);
  args.n = 1000;
  args.alpha = 0.5;
  for (let i = 0; i < constexprs; i++) args[`C${i}`] = block;
  return args;
}
