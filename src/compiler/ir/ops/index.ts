// The op families of the tile IR. Importing this file registers them all.

import "./creation.js";
import "./shape.js";
import "./arith.js";
import "./math.js";
import "./memory.js";
import "./reduce.js";
import "./sort.js";
import "./control.js";
import "./hint.js";

export * from "./define.js";
