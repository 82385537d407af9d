// Made from tuning/nvidia.yaml by scripts/make-tuning.mjs: change that file, not this one.

import type { TuningTable } from "../../runtime/tuning-table.js";

// biome-ignore format: generated
export const tuning: TuningTable = {
  "chip": "nvidia",
  "kernels": {
    "matmul": [
      {
        "when": {
          "dtype": "bf16",
          "M": "65.."
        },
        "use": {
          "BM": 128,
          "BN": 256,
          "BK": 64,
          "GROUP": 8
        }
      },
      {
        "when": {
          "dtype": "f16",
          "M": "65.."
        },
        "use": {
          "BM": 128,
          "BN": 256,
          "BK": 64,
          "GROUP": 8
        }
      },
      {
        "when": {
          "dtype": "f32"
        },
        "use": {
          "BM": 128,
          "BN": 128,
          "BK": 16,
          "GROUP": 8
        }
      },
      {
        "when": {
          "dtype": "tf32",
          "M": "65..",
          "turned": true
        },
        "use": {
          "BM": 128,
          "BN": 256,
          "BK": 32,
          "GROUP": 8
        }
      },
      {
        "when": {
          "dtype": "tf32",
          "M": "65.."
        },
        "use": {
          "BM": 256,
          "BN": 128,
          "BK": 32,
          "GROUP": 4
        }
      },
      {
        "use": {
          "BM": 64,
          "BN": 64,
          "BK": 32
        }
      }
    ],
    "attention": [
      {
        "when": {
          "dtype": "bf16",
          "D": "..128"
        },
        "use": {
          "BM": 128,
          "BN": 128
        }
      },
      {
        "when": {
          "dtype": "f16",
          "D": "..128"
        },
        "use": {
          "BM": 128,
          "BN": 128
        }
      },
      {
        "when": {
          "dtype": "bf16"
        },
        "use": {
          "BM": 128,
          "BN": 64
        }
      },
      {
        "when": {
          "dtype": "f16"
        },
        "use": {
          "BM": 128,
          "BN": 64
        }
      },
      {
        "use": {
          "BM": 64,
          "BN": 64
        }
      }
    ],
    "attention_backward": [
      {
        "when": {
          "dtype": "bf16",
          "D": "..128"
        },
        "use": {
          "BM": 64,
          "BN": 128
        }
      },
      {
        "when": {
          "dtype": "f16",
          "D": "..128"
        },
        "use": {
          "BM": 64,
          "BN": 128
        }
      },
      {
        "use": {
          "BM": 32,
          "BN": 64
        }
      }
    ]
  }
};
