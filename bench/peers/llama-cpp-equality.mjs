// Whether models decode the same tokens here and in llama.cpp: each is written as GGUF in F32, run greedily by both, and must give
// the same tokens; then quantized by llama.cpp itself and loaded here, where the tokens may differ (llama.cpp rounds activations
// to eight bits) and how many are the same is shown.
// Usage: npm run build; node bench/peers/llama-cpp-equality.mjs [FOLDER with llama, qwen2, qwen3]
// Needs node-llama-cpp in bench/peers, or in the folder that VEXIL_LLAMA_CPP names; says so and ends well where it is missing.

import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "../..");
const COUNT = 24;
const KINDS = { Q8_0: 7, Q4_0: 2, Q4_K_M: 15 };
const folder = process.argv[2] ?? join(ROOT, "../shared/models");
const names = ["llama", "qwen2", "qwen3"].filter((n) => existsSync(join(folder, n)));
const peer = process.env.VEXIL_LLAMA_CPP ?? import.meta.dirname;
if (!existsSync(join(peer, "node_modules/node-llama-cpp")) || names.length === 0) {
  console.log(
    `skipped: ${names.length === 0 ? `no models in ${folder}` : `node-llama-cpp is not installed in ${peer}`}`,
  );
  process.exit(0);
}

const { autoload, noGrad, scope, tensor } = await import("../../dist/node/index.js");
const { loadModel } = await import("../../dist/node/models/index.js");
const device = (await autoload()).name;
const run = (...words) =>
  execFileSync("node", words, { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
const llamaCpp = (...words) => JSON.parse(run("scripts/llama-cpp.mjs", ...words));

async function greedy(path, prompts) {
  const { model } = loadModel(path, { device });
  const out = [];
  for (const prompt of prompts) {
    const cache = model.newCache(1, prompt.length + COUNT);
    const chosen = [];
    for (let next = prompt; chosen.length < COUNT; ) {
      const ids = BigInt64Array.from(next, BigInt);
      const logits = await noGrad(() =>
        scope(() =>
          model.forward(tensor(ids, { shape: [1, ids.length], device }), { cache, lastOnly: true }).clone(),
        ),
      ).data();
      next = [logits.indexOf(Math.max(...logits))];
      chosen.push(next[0]);
    }
    cache.dispose();
    out.push(chosen);
  }
  model.dispose();
  return out;
}

const dir = mkdtempSync(join(tmpdir(), "vexil-llama-cpp-"));
let equal = true;
for (const name of names) {
  const { cases } = JSON.parse(readFileSync(join(folder, name, "reference.json"), "utf8"));
  const prompts = cases.map((c) => c.input_ids);
  const same = async (file) => {
    const [ours, theirs] = [
      await greedy(file, prompts),
      llamaCpp("greedy", file, `${COUNT}`, JSON.stringify(prompts)),
    ];
    let [alike, all] = [0, 0];
    for (const [i, list] of theirs.entries()) {
      all += list.length;
      const differs = list.findIndex((t, k) => t !== ours[i][k]);
      alike += differs < 0 ? list.length : differs;
    }
    return [alike, all];
  };
  const file = join(dir, `${name}.gguf`);
  run("dist/node/cli/main.js", "export", join(folder, name), "--gguf", file, "--type", "F32");
  const [alike, all] = await same(file);
  equal &&= alike === all;
  console.log(`${name} F32: ${alike} of ${all} tokens are the same`);
  for (const [kind, number] of Object.entries(KINDS)) {
    const small = join(dir, `${name}-${kind}.gguf`);
    llamaCpp("quantize", file, small, `${number}`);
    const [a, n] = await same(small);
    console.log(
      `${name} ${kind}, quantized by llama.cpp: ${a} of ${n} tokens are the same before the first that differs`,
    );
  }
}
rmSync(dir, { recursive: true });
console.log(equal ? "equal" : "NOT equal");
process.exit(equal ? 0 : 1);
