// What a launch that has happened before costs on the host, on top of the driver: nanoseconds per launch with a
// driver that does nothing. Needs `npm run build`. Prints the median of 9 runs and the spread.

import { allocate, KERNEL_BUFFER, kernelOf } from "../dist/runtime/index.js";
import { Builder, buffer, Func, scalar } from "../dist/compiler/ir/index.js";

process.env.VEXIL_CACHE = "off";
let launches = 0;
const chip = {
  name: "nothing",
  target: { name: "nothing", fingerprint: "1", compile: () => ({ bytes: new Uint8Array(0), meta: {} }) },
  driver: {
    alloc: (bytes) => ({ bytes }),
    free() {},
    load: () => ({ name: "nothing" }),
    launch() {
      launches++;
    },
  },
  capabilities: { maxGrid: [2 ** 31, 2 ** 31, 2 ** 31], maxBufferBytes: 2 ** 40 },
  description: "launches nothing",
};

class TensorLike {
  constructor(dtype, count) {
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

function argumentsOf(tensors, dims, constexprs, block) {
  const args = {};
  for (let i = 0; i < tensors; i++) args[`t${i}`] = new TensorLike("f32", 1024);
  for (let i = 0; i < dims; i++) args[`d${i}`] = 32 * (i + 1);
  args.n = 1000;
  args.alpha = 0.5;
  for (let i = 0; i < constexprs; i++) args[`C${i}`] = block;
  return args;
}

const RUNS = 9;
const COUNT = 200_000;
const rows = [
  ["pointwise: 3 tensors, 2 constexprs", 3, 0, 2],
  ["reduction: 2 tensors, 4 dims, 3 constexprs", 2, 4, 3],
  ["matmul: 4 tensors, 9 dims, 6 constexprs", 4, 9, 6],
];
for (const [name, tensors, dims, constexprs] of rows) {
  const kernel = kernelOf(source(tensors, dims, constexprs));
  // Two alternating specialisations, so that the shortcut for "the same as last time" is not what is measured.
  const sets = [argumentsOf(tensors, dims, constexprs, 64), argumentsOf(tensors, dims, constexprs, 128)];
  const grid = [16, 1, 1];
  // As callers write it: one object literal per launch.
  const literal = new Function(
    "a",
    `return { ${Object.keys(sets[0])
      .map((k) => `${k}: a.${k}`)
      .join(", ")} };`,
  );
  const times = [];
  for (let run = 0; run < RUNS + 2; run++) {
    const start = process.hrtime.bigint();
    for (let i = 0; i < COUNT; i++) kernel.launch(grid, literal(sets[i & 1]));
    const each = Number(process.hrtime.bigint() - start) / COUNT;
    if (run >= 2) times.push(each);
  }
  times.sort((a, b) => a - b);
  const median = times[RUNS >> 1];
  console.log(
    `${name}: ${median.toFixed(0)} ns per launch (${times[0].toFixed(0)} to ${times[RUNS - 1].toFixed(0)})`,
  );
}
if (launches === 0) throw new Error("nothing was launched");
