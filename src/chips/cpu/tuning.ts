// Made from tuning/cpu.yaml by scripts/make-tuning.mjs: change that file, not this one.

import type { TuningTable } from "../../runtime/tuning-table.js";

// biome-ignore format: generated
export const tuning: TuningTable = {
  "chip": "cpu",
  "kernels": {
    "matmul": [
      {
        "when": {
          "M": "65..",
          "K": "..256"
        },
        "use": {
          "BM": 256,
          "BN": 256,
          "BK": 256
        }
      },
      {
        "when": {
          "M": "65.."
        },
        "use": {
          "BM": 512,
          "BN": 512,
          "BK": 256
        }
      },
      {
        "use": {
          "BM": 64,
          "BN": 64,
          "BK": 256
        }
      }
    ],
    "attention": [
      {
        "when": {
          "causal": true
        },
        "use": {
          "BM": 64,
          "BN": 128
        }
      },
      {
        "use": {
          "BM": 64,
          "BN": 256
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
    ]
  }
};
