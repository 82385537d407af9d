// llama.cpp through node-llama-cpp. An optional peer with a package of its own (`peers/llama`), because it is large;
// VEXIL_LLAMA_CPP names another folder that it is installed in.

import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const root = resolve(process.env.VEXIL_LLAMA_CPP ?? join(import.meta.dirname, "llama"));

/** @returns `{ name, version, load(file, threads) }` */
export async function open() {
  const require = createRequire(join(root, "package.json"));
  let found;
  try {
    found = require.resolve("node-llama-cpp");
  } catch {
    throw new Error("not installed: npm install --omit=optional --prefix bench/peers/llama");
  }
  const { getLlama } = await import(pathToFileURL(found).href);
  const llama = await getLlama({ gpu: false, build: "never", skipDownload: true, logLevel: "error" });
  return {
    name: "llama.cpp",
    version: `${llama.llamaCppRelease.release} through node-llama-cpp 3.22.1`,
    load: (file) => load(llama, file),
  };
}

async function load(llama, file) {
  const model = await llama.loadModel({ modelPath: file });
  return {
    dispose: () => model.dispose(),
    /** A context with so many threads; `sequences` requests may run at once. */
    async context(threads, sequences) {
      const context = await model.createContext({ threads, sequences, contextSize: 1024, batchSize: 512 });
      const free = Array.from({ length: sequences }, () => context.getSequence());
      return {
        dispose: () => context.dispose(),
        /** Continues a prompt greedily by `count` tokens. */
        async generate(prompt, count) {
          const sequence = free.pop();
          await sequence.clearHistory();
          let made = 0;
          for await (const _ of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true }))
            if (++made === count) break;
          free.push(sequence);
          if (made !== count) throw new Error(`${made} tokens instead of ${count}`);
        },
      };
    },
  };
}
