// The second half of `npm run docs`: writes the files that follow from the table.

import { writeFileSync } from "node:fs";
import { generated } from "../src/cli/docs/index.js";

for (const [path, text] of generated()) writeFileSync(path, text);
