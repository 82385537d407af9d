// Made from tuning/wasm.yaml by scripts/make-tuning.mjs: change that file, not this one.

import type { TuningTable } from "../../runtime/tuning-table.js";

// biome-ignore format: generated
export const tuning: TuningTable = {
  "chip": "wasm",
  "kernels": {
    "matmul": [
      {
        "use": {
          "BM": 64,
          "BN": 64,
          "BK": 64
        }
      }
    ]
  }
};
