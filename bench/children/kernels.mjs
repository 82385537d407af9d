// New kernels for the compile suite. `SALT` is a constant of the code, so that no cache knows the next one.

import { constexpr, f32, i32, kernel, ptr } from "vexil";

const pointwise = () =>
  kernel({ x: ptr, y: ptr, n: i32, SALT: constexpr, BLOCK: constexpr }, ({ x, y, n, SALT, BLOCK }, tl) => {
    const at = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
    const inside = at < n;
    const v = tl.load(x + at, inside, 0);
    tl.store(y + at, v * tl.sigmoid(v * SALT), inside);
  });

const softmax = () =>
  kernel({ x: ptr, y: ptr, n: i32, SALT: constexpr, BLOCK: constexpr }, ({ x, y, n, SALT, BLOCK }, tl) => {
    const row = tl.programId(0) * n;
    const at = tl.arange(0, BLOCK);
    const inside = at < n;
    const v = tl.load(x + row + at, inside, -Infinity) * SALT;
    const e = tl.exp(v - tl.max(v, 0));
    tl.store(y + row + at, e / tl.sum(e, 0), inside);
  });

const matmul = () =>
  kernel(
    { x: ptr, y: ptr, n: i32, scale: f32, SALT: constexpr, BLOCK: constexpr },
    ({ x, y, n, scale, SALT, BLOCK }, tl) => {
      const r = tl.expandDims(tl.programId(0) * BLOCK + tl.arange(0, BLOCK), 1);
      const c = tl.expandDims(tl.programId(1) * BLOCK + tl.arange(0, BLOCK), 0);
      const k = tl.arange(0, BLOCK);
      let acc = tl.zeros([BLOCK, BLOCK], tl.f32);
      for (let i = 0; i < n; i += BLOCK) {
        const a = tl.load(x + r * n + (i + tl.expandDims(k, 0)));
        const b = tl.load(x + (i + tl.expandDims(k, 1)) * n + c);
        acc = tl.dot(a, b, acc);
      }
      tl.store(y + r * n + c, acc * scale * SALT);
    },
  );

/** Name -> a fresh kernel, its grid and its arguments over two tensors of `64 x 64`. */
export const KERNELS = {
  pointwise: () => ({ k: pointwise(), grid: [4], args: { n: 4096, BLOCK: 1024 } }),
  softmax: () => ({ k: softmax(), grid: [64], args: { n: 64, BLOCK: 64 } }),
  matmul: () => ({ k: matmul(), grid: [1, 1], args: { n: 64, scale: 0.5, BLOCK: 64 } }),
};
