// One case per operator family whose tensors have more than 2^31 elements, so that offsets do not fit 32 bits: the last
// elements are compared with what a small tensor gives. Needs about 40 GB of GPU memory.

import * as vexil from "../../dist/index.js";

await vexil.setDefaultChip("nvidia");
const { scope, empty, tensor, randn } = vexil;
const [ROWS, COLS] = [2 ** 20 + 2 ** 10, 2048];
const TAIL = 4;
/** Two roundings to f16: the large tensor may take another way than the small one. */
const MOST = 2 ** -10;

const cases = {
  pointwise: (x) => x.add(1).relu(),
  "pointwise in f32": (x) => x.to("f32").mul(2),
  "copy of columns": (x) => x.narrow(1, 0, COLS - 64).clone(),
  "transpose copy": (x) => x.t().contiguous().t(),
  softmax: (x) => vexil.softmax(x, -1),
  "layer norm": (x) => vexil.layerNorm(x, [COLS]),
  "rms norm": (x) => vexil.rmsNorm(x, [COLS]),
  "sum of rows": (x) => x.sum(-1),
  argmax: (x) => x.argmax(-1),
  cumsum: (x) => x.cumsum(-1),
  "sort of rows": (x) => vexil.sort(x)[0],
  topk: (x) => vexil.topk(x, 8)[0],
  "product from the left": (x, w) => vexil.matmul(x, w),
  "index select": (x) =>
    vexil.indexSelect(x, 0, tensor([ROWS - 4, ROWS - 3, ROWS - 2, ROWS - 1], { dtype: "i64" })),
  concatenation: (x) => vexil.cat([x.narrow(0, 0, 4), x.narrow(0, x.shape[0] - 8, 8)], 0),
};

let wrong = 0;
const w = randn([COLS, 64]).to("f16");
const x = empty([ROWS, COLS], { dtype: "f16" });
const tail = randn([8, COLS]).to("f16");
x.fill_(0.5);
x.narrow(0, ROWS - 8, 8).copy_(tail);
for (const [name, fn] of Object.entries(cases)) {
  try {
    const pick = (t) =>
      t
        .narrow(0, t.shape[0] - TAIL, TAIL)
        .to("f32")
        .contiguous();
    const of = (t) => scope(() => pick(fn(t, w)));
    const got = await of(x).data();
    const last = async () => tail.narrow(0, 4, 4).to("f32").contiguous().data();
    const expected = name === "index select" ? await last() : await of(tail, w).data();
    let worst = got.length === expected.length ? 0 : Number.POSITIVE_INFINITY;
    for (const [i, v] of got.entries())
      worst = Math.max(worst, Math.abs(v - expected[i]) / (1 + Math.abs(expected[i])));
    if (!(worst < MOST)) wrong++;
    console.log(worst < MOST ? "ok" : "WRONG", name, worst);
  } catch (e) {
    wrong++;
    console.log("FAILED", name, String(e.message ?? e).slice(0, 300));
  }
  vexil.emptyCache(vexil.defaultChip());
}
process.exitCode = wrong ? 1 : 0;
vexil.closeChips();
