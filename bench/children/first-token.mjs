// A process that loads a model and generates one token, and prints the milliseconds of both, modules not counted:
// `node first-token.mjs FOLDER CHIP`.

import { loadEngine } from "../../dist/node/serve/index.js";

const [model, chip] = process.argv.slice(2);
const start = performance.now();
const engine = await loadEngine({ model, chip });
const request = { prompt: { text: "a" }, temperature: 0, topP: 1, topK: 0, stop: [], maxTokens: 1 };
let ms;
for await (const event of engine.generate(request)) if (event.type === "end") ms = performance.now() - start;
console.log(ms);
await engine.close();
