// tfjs-backend-wasm, a peer of the wasm chip. In Node it has one thread whatever it is asked for: its own check for
// threads says no there.

import { createRequire } from "node:module";

export const install = "npm ci --prefix bench/peers";

/** @throws when it is not installed */
export async function open(threads) {
  const require = createRequire(import.meta.url);
  let tf;
  let backend;
  try {
    tf = require("@tensorflow/tfjs-core");
    backend = require("@tensorflow/tfjs-backend-wasm");
  } catch {
    throw new Error(`tfjs is not installed: ${install}`);
  }
  backend.setThreadsCount(threads);
  if (!(await tf.setBackend("wasm"))) throw new Error("tfjs-backend-wasm does not start");
  const threaded = await tf.env().getAsync("WASM_HAS_MULTITHREAD_SUPPORT");
  return {
    name: "tfjs wasm",
    version: `tfjs-backend-wasm ${backend.version_wasm}`,
    note: threads > 1 && !threaded ? "tfjs has one thread in Node" : undefined,
    tensor: (data, shape) => tf.tensor(data, shape, "float32"),
    data: (t) => t.data(),
    matmul: (a, b) => tf.matMul(a, b).dispose(),
    product: (a, b) => tf.matMul(a, b),
    add: (a, b) => tf.add(a, b).dispose(),
    relu: (a) => tf.relu(a).dispose(),
  };
}
