// jax-js's wasm backend, a peer of the wasm chip. It takes its threads from the browser's Worker, which Node has not:
// for runs with more threads than one, the class below lends it Node's workers.

import { resolveObjectURL } from "node:buffer";
import { Worker as NodeWorker } from "node:worker_threads";

export const install = "npm ci --prefix bench/peers";

const PRELUDE = `
const { parentPort } = require("node:worker_threads");
globalThis.self = globalThis;
globalThis.postMessage = (m) => parentPort.postMessage(m);
parentPort.on("message", (data) => globalThis.onmessage({ data }));
`;

/** As much of the browser's Worker as a script in an object URL needs. */
class BlobWorker {
  onmessage = null;
  onerror = null;
  constructor(url) {
    this.started = resolveObjectURL(url)
      .text()
      .then((text) => {
        const worker = new NodeWorker(`${PRELUDE}\n${text}`, { eval: true });
        worker.on("message", (data) => this.onmessage?.({ data }));
        worker.on("error", (e) => this.onerror?.(e));
        return worker;
      });
  }
  postMessage(message) {
    // The chain keeps the order; once started, messages go out at once.
    if (this.worker) this.worker.postMessage(message);
    else
      this.started.then((worker) => {
        this.worker = worker;
        worker.postMessage(message);
      });
  }
}

/** @throws when it is not installed */
export async function open(threads) {
  if (threads > 1) {
    globalThis.Worker = BlobWorker;
    Object.defineProperty(globalThis, "navigator", {
      value: { hardwareConcurrency: threads },
      configurable: true,
    });
  }
  let jax;
  try {
    jax = await import("@jax-js/jax");
  } catch {
    throw new Error(`jax-js is not installed: ${install}`);
  }
  await jax.init("wasm");
  jax.defaultDevice("wasm");
  const { numpy: np } = jax;
  const done = async (y) => {
    await y.blockUntilReady();
    y.dispose();
  };
  return {
    name: "jax-js wasm",
    version: "@jax-js/jax 0.1.25",
    tensor: (data, shape) => np.array(data, { shape }),
    data: (t) => t.data(),
    matmul: (a, b) => done(np.matmul(a.ref, b.ref)),
    product: (a, b) => np.matmul(a.ref, b.ref),
    add: (a, b) => done(np.add(a.ref, b.ref)),
    relu: (a) => done(jax.nn.relu(a.ref)),
  };
}
