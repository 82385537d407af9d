// Made from tuning/wasm.yaml by scripts/make-tuning.mjs: change that file, not this one.

import type { TuningTable } from "../../runtime/tuning-table.js";

// biome-ignore format: generated
export const tuning: TuningTable = {
  "chip": "wasm",
  "kernels": {
    "matmul": [
      {
        "when": {
          "M": "65.."
        },
        "use": {
          "BM": 256,
          "BN": 512,
          "BK": 256
        }
      },
      {
        "use": {
          "BM": 64,
          "BN": 64,
          "BK": 64
        }
      }
    ],
    "attention": [
      {
        "use": {
          "BM": 64,
          "BN": 128
        }
      }
    ],
    "attention_backward": [
      {
        "use": {
          "BM": 32,
          "BN": 128
        }
      }
    ],
    "few_rows": [
      {
        "use": {
          "SUMS": 32768
        }
      }
    ]
  }
};
