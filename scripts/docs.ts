// `npm run docs`: writes what is generated from the operator table: docs/operators.md, the types of in-place methods.

import { execFileSync } from "node:child_process";
import { generated } from "../src/cli/docs/index.js";
import { writeFileSync } from "node:fs";

for (const [path, text] of await generated()) writeFileSync(path, text);
execFileSync("npx", ["biome", "check", "--write", "src/ops/in-place.ts"], { stdio: "inherit" });
