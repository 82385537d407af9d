// A model with integers in place of its matrices: each group of a row's channels rounded to the nearest step of its
// largest element, or by GPTQ (`gptq.ts`). Embeddings, norms, routers and experts stay floats, and so does the output matrix
// where nobody asks for its integers.

import { dequantize, quantizeInt4, quantizeInt8 } from "../ops/index.js";
import { scope } from "../runtime/index.js";
import { callOperator, fromBytes, noGrad, type Tensor } from "../tensor/index.js";
import type { ModelConfig } from "./config.js";
import { familyOf } from "./families/index.js";
import { storedAs } from "./family.js";
import { type ModelFolder, ModelFolderError, saveFolder } from "./folder.js";
import { calibrated } from "./gptq.js";
import { bitsOf, type IntegerBits, OUTPUT } from "./integers.js";
import { loadWeights, type ModelDType, openParameters, parameterShapes, readTensors } from "./load.js";
import { toFiles } from "./parameters.js";
import type { TensorBytes } from "./safetensors.js";
import type { LanguageModel } from "./transformer.js";

export interface QuantizeOptions extends IntegerBits {
  /** Input channels that share a scale: 0 (a whole row), or a power of two from 16 to 1024. */
  readonly groupSize: number;
  /** The chip that computes it. */
  readonly device: string;
  /** What the floats that stay become; absent: they stay as they are stored. */
  readonly dtype?: ModelDType | undefined;
  /** Rounds by GPTQ with these texts' tokens instead of to the nearest. */
  readonly calibration?: Calibration;
}

export interface Calibration {
  /** Token ids, each list at most as long as the context. */
  readonly samples: readonly (readonly number[])[];
  /** Channels that matter most first. Default false. */
  readonly actOrder?: boolean;
  /** Called before each layer. */
  readonly onLayer?: (layer: number, layers: number) => void;
}

/**
 * Writes a folder that holds a model's matrices as integers (config.json: `quantization_config`, tensors `…weight_packed`
 * and `…weight_scale`). It loads like any other.
 * @returns how many matrices became integers
 * @throws ModelFolderError where the model holds integers already, or nothing can become such
 */
export async function quantizeModel(
  from: ModelFolder,
  to: string,
  options: QuantizeOptions,
): Promise<number> {
  const { config, files } = openParameters(from);
  using open = files;
  const { bits, outputBits, groupSize, device } = options;
  if (config.raw["quantization_config"] != null)
    throw new ModelFolderError(`${from.path}: its matrices are integers already`);
  const floats = new Map<string, TensorBytes>();
  const integers = new Map<string, TensorBytes>();
  const shapes = parameterShapes(config, device);
  const chosen = new Set([...shapes].filter(([name, shape]) => bitsOf(name, shape, options)).map(([n]) => n));
  const calibrates = options.calibration !== undefined && [...chosen].some((name) => name !== OUTPUT);
  const keepIntegers = async (name: string, [packed, scales]: readonly [Tensor, Tensor]): Promise<void> => {
    const stored = storedName(config, name, shapes.get(name)!);
    const parts = new Map([
      [`${stored}_packed`, packed],
      [`${stored}_scale`, scales],
    ]);
    for (const [n, bytes] of await readTensors(parts)) integers.set(n, bytes);
    packed.dispose();
    scales.dispose();
  };
  if (options.calibration && calibrates) {
    const model = loadWeights(from, { device, dtype: "f32" });
    try {
      const inLayers = new Set([...chosen].filter((name) => name !== OUTPUT));
      for await (const [name, parts] of calibrated(model, inLayers, { ...options, ...options.calibration }))
        await keepIntegers(name, parts);
    } finally {
      model.dispose();
    }
  }
  for (const [name, shape] of shapes) {
    if (!chosen.has(name)) floats.set(name, await converted(open.read(name, shape), options));
    else if (!options.calibration || name === OUTPUT) {
      const t = open.read(name, shape);
      await keepIntegers(
        name,
        noGrad(() =>
          scope(() =>
            nearest(fromBytes(t.data, t.shape, t.dtype, device), bitsOf(name, shape, options)!, groupSize),
          ),
        ),
      );
    }
  }
  const count = chosen.size;
  if (count === 0) throw new ModelFolderError(`${from.path}: there is no matrix that can become integers`);
  const raw = config.raw;
  saveFolder(to, {
    config: {
      ...raw,
      quantization_config: {
        quant_method: "vexil",
        bits,
        group_size: groupSize,
        ...(chosen.has(OUTPUT) ? { output_bits: outputBits } : {}),
      },
    },
    generation: from.generation,
    tokenizer: from.tokenizer(),
    tensors: new Map([...toFiles(familyOf(raw, from.configFile), config, floats), ...integers]),
  });
  return count;
}

const nearest = (weight: Tensor, bits: 4 | 8, groupSize: number): [Tensor, Tensor] =>
  bits === 8 ? quantizeInt8(weight, groupSize) : quantizeInt4(weight, groupSize);

/** A tensor's bytes in the dtype that is asked for. */
async function converted(t: TensorBytes, { dtype, device }: QuantizeOptions): Promise<TensorBytes> {
  if (dtype === undefined || dtype === t.dtype) return t;
  const cast = noGrad(() =>
    scope(() => callOperator("_to_copy", fromBytes(t.data, t.shape, t.dtype, device), { dtype }) as Tensor),
  );
  const data = await cast.bytes();
  cast.dispose();
  return { dtype, shape: t.shape, data };
}

/** Puts what rounding to the nearest leaves of a model's matrices in their place: to see what that costs, without files. */
export function roundInPlace(
  model: LanguageModel,
  options: IntegerBits & { readonly groupSize: number },
): void {
  const { groupSize } = options;
  noGrad(() => {
    for (const [name, weight] of model.namedParameters()) {
      const bits = bitsOf(name, weight.shape, options);
      if (bits)
        scope(() => {
          const [packed, scales] = nearest(weight, bits, groupSize);
          weight.copy_(dequantize(packed, scales, null, weight.shape[1]!, { groupSize }));
        });
    }
  });
}

/** What the family's files call a matrix. */
const storedName = (config: ModelConfig, name: string, shape: readonly number[]): string =>
  (storedAs(familyOf(config.raw, "config.json"), config, name, shape) as { readonly name: string }).name;
