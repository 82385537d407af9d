// The package's main entry: kernels, tensors and operators. Importing it opens the default chip, so that tensors
// can be made at once; models, training and serving are subpaths (`vexil/models`, …).

import { autoload } from "./all.js";

export * from "./all.js";

await autoload();
