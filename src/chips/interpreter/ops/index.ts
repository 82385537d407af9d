// The op families of the interpreter. Importing this file registers them all.

import "./creation.js";
import "./shape.js";
import "./arith.js";
import "./cast.js";
import "./math.js";
import "./memory.js";
import "./reduce.js";
import "./sort.js";
import "./dot.js";
import "./control.js";
import "./report.js";
