// The softmax kernel of the documentation, run and checked on one chip: used in Node and, bundled, in a browser.

import { constexpr, i32, kernel, loadChip, ptr, tensor } from "vexil";

const softmax = kernel({ x: ptr, y: ptr, cols: i32, BLOCK: constexpr }, ({ x, y, cols, BLOCK }, tl) => {
  const row = tl.programId(0);
  const at = tl.arange(0, BLOCK);
  const inside = at < cols;
  const v = tl.load(x + row * cols + at, inside, -Infinity);
  const e = tl.exp(v - tl.max(v, 0));
  tl.store(y + row * cols + at, e / tl.sum(e, 0), inside);
});

/** Runs the kernel on 300 rows of 781 and returns a line to print; throws where a value is wrong. */
export async function checkSoftmax(chip) {
  await loadChip(chip);
  const [rows, cols] = [300, 781];
  const values = Float32Array.from({ length: rows * cols }, (_, i) => Math.sin(i) * 5);
  const x = tensor(values, { shape: [rows, cols], device: chip });
  const y = tensor(new Float32Array(rows * cols), { shape: [rows, cols], device: chip });
  softmax.launch([rows], { x, y, cols, BLOCK: 1024 });
  const got = await y.data();
  let worst = 0;
  for (let r = 0; r < rows; r++) {
    const row = values.subarray(r * cols, (r + 1) * cols);
    const top = Math.max(...row);
    const e = Array.from(row, (v) => Math.exp(v - top));
    const sum = e.reduce((a, b) => a + b);
    for (let c = 0; c < cols; c++) worst = Math.max(worst, Math.abs(got[r * cols + c] - e[c] / sum));
  }
  if (!(worst < 1e-6)) throw new Error(`softmax on ${chip} is off by ${worst}`);
  return `softmax on ${chip}: largest error ${worst.toExponential(1)}`;
}
