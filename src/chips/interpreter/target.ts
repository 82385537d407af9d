// The interpreter's target: nothing is printed, the IR itself is what runs.

import type { Func } from "../../compiler/ir/index.js";
import { cloneFunc } from "../../compiler/ir/clone.js";
import type { Artifact, Target } from "../../compiler/target.js";

export const target: Target = {
  name: "interpreter",
  fingerprint: "interpreter",
  compile: (func: Func): Artifact => ({ bytes: new Uint8Array(0), meta: {}, func: cloneFunc(func) }),
};
