// llama.cpp through node-llama-cpp, for comparing: greedy tokens of a GGUF file, or a file quantized by llama.cpp itself.
// Usage: node scripts/llama-cpp.mjs greedy FILE.gguf COUNT '[[1,2,3]]'   prints JSON: one list of tokens per prompt
//        node scripts/llama-cpp.mjs tokens FILE.gguf '["text"]'         prints JSON: one list of tokens per text
//        node scripts/llama-cpp.mjs quantize IN.gguf OUT.gguf FTYPE      FTYPE as llama.cpp numbers it: 2 Q4_0, 7 Q8_0, 15 Q4_K_M
// VEXIL_LLAMA_CPP is the folder that node-llama-cpp is installed in (default: bench/peers):
//   npm i --omit=optional node-llama-cpp@3.22.1 @node-llama-cpp/linux-x64@3.22.1

import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const root = resolve(process.env.VEXIL_LLAMA_CPP ?? join(import.meta.dirname, "../bench/peers"));
const [what, file, ...rest] = process.argv.slice(2);

async function load() {
  const require = createRequire(join(root, "package.json"));
  const { getLlama } = await import(pathToFileURL(require.resolve("node-llama-cpp")).href);
  const llama = await getLlama({ gpu: false, build: "never", skipDownload: true, logLevel: "error" });
  return { llama, model: await llama.loadModel({ modelPath: file }) };
}

if (what === "greedy") {
  const { llama, model } = await load();
  const answers = [];
  for (const prompt of JSON.parse(rest[1])) {
    const context = await model.createContext({
      threads: 1,
      contextSize: 256,
      flashAttention: false,
      experimentalKvCacheKeyType: "F32",
      experimentalKvCacheValueType: "F32",
    });
    const tokens = [];
    for await (const t of context.getSequence().evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
      tokens.push(t);
      if (tokens.length === Number(rest[0])) break;
    }
    answers.push(tokens);
    await context.dispose();
  }
  console.log(JSON.stringify(answers));
  await llama.dispose();
} else if (what === "tokens") {
  const { llama, model } = await load();
  console.log(JSON.stringify(JSON.parse(rest[0]).map((text) => [...model.tokenize(text, false)])));
  await llama.dispose();
} else if (what === "quantize") {
  const koffi = createRequire(import.meta.url)("koffi");
  const bins = join(root, "node_modules/@node-llama-cpp/linux-x64/bins/linux-x64");
  const libraries = readdirSync(bins).filter((f) => /^lib(ggml|llama)(-base|-cpu-x64)?(\.v.*)?\.so$/.test(f));
  // What the others need comes first.
  const order = ["libggml-base", "libggml-cpu-x64", "libggml.", "libllama."];
  const paths = order
    .map((start) => libraries.find((f) => f.startsWith(start)))
    .filter((f) => f && existsSync(join(bins, f)));
  const opened = paths.map((f) => koffi.load(join(bins, f), { lazy: true, global: true }));
  const lib = opened.at(-1);
  // The parameters are a struct whose first two fields are the threads and the type; its size is below a kilobyte.
  const parameters = Buffer.alloc(1024);
  lib.func("void llama_backend_init()")();
  // A struct that is returned in memory: the caller passes where to.
  lib.func("void *llama_model_quantize_default_params(void *out)")(parameters);
  parameters.writeInt32LE(1, 0);
  parameters.writeInt32LE(Number(rest[1]), 4);
  const rc = lib.func("uint32_t llama_model_quantize(const char *from, const char *to, void *params)")(
    file,
    rest[0],
    parameters,
  );
  if (rc !== 0) throw new Error(`llama_model_quantize: ${rc}`);
  console.log(JSON.stringify({ written: rest[0] }));
} else {
  console.error("usage: llama-cpp.mjs greedy|tokens|quantize ...");
  process.exit(2);
}
