// A model with integers in place of its matrices: each group of a row's channels rounded to the nearest step of its
// largest element. Embeddings, output matrices, norms, routers and experts stay floats.

import { quantizeInt4, quantizeInt8 } from "../ops/index.js";
import { scope } from "../runtime/index.js";
import { fromBytes, noGrad } from "../tensor/index.js";
import type { ModelConfig } from "./config.js";
import { familyOf } from "./families/index.js";
import { type ModelFolder, ModelFolderError, saveFolder } from "./folder.js";
import { becomesIntegers } from "./integers.js";
import { openParameters, parameterShapes, readTensors } from "./load.js";
import { toFiles } from "./parameters.js";
import type { TensorBytes } from "./safetensors.js";

export interface QuantizeOptions {
  readonly bits: 4 | 8;
  /** Input channels that share a scale: 0 (a whole row), or a power of two from 16 to 1024. */
  readonly groupSize: number;
  /** The chip that computes it. */
  readonly device: string;
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
  const { bits, groupSize, device } = options;
  if (config.raw["quantization_config"] != null)
    throw new ModelFolderError(`${from.path}: its matrices are integers already`);
  const floats = new Map<string, TensorBytes>();
  const integers = new Map<string, TensorBytes>();
  let count = 0;
  for (const [name, shape] of parameterShapes(config, device)) {
    const t = open.read(name, shape);
    if (!becomesIntegers(name, shape)) {
      floats.set(name, t);
      continue;
    }
    const [packed, scales] = noGrad(() =>
      scope(() => {
        const weight = fromBytes(t.data, t.shape, t.dtype, device);
        return bits === 8 ? quantizeInt8(weight, groupSize) : quantizeInt4(weight, groupSize);
      }),
    );
    const stored = storedName(config, name, t);
    const parts = new Map([
      [`${stored}_packed`, packed],
      [`${stored}_scale`, scales],
    ]);
    for (const [n, bytes] of await readTensors(parts)) integers.set(n, bytes);
    packed.dispose();
    scales.dispose();
    count++;
  }
  if (count === 0) throw new ModelFolderError(`${from.path}: there is no matrix that can become integers`);
  const raw = config.raw;
  saveFolder(to, {
    config: { ...raw, quantization_config: { quant_method: "vexil", bits, group_size: groupSize } },
    generation: from.generation,
    tokenizer: from.tokenizer(),
    tensors: new Map([...toFiles(familyOf(raw, from.configFile), config, floats), ...integers]),
  });
  return count;
}

/** What the family's files call a matrix. */
function storedName(config: ModelConfig, name: string, t: TensorBytes): string {
  const empty = { ...t, shape: [0, 0], data: new Uint8Array(0) };
  return [...toFiles(familyOf(config.raw, "config.json"), config, new Map([[name, empty]])).keys()][0]!;
}
