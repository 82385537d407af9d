// A process that reads a file, and prints the milliseconds of the reading alone: `node read.mjs FILE`.

import { closeSync, openSync, readSync } from "node:fs";

const buffer = Buffer.alloc(8 * 2 ** 20);
const start = performance.now();
const fd = openSync(process.argv[2], "r");
while (readSync(fd, buffer) > 0);
closeSync(fd);
console.log(performance.now() - start);
