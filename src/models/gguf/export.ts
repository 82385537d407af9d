// A model as a GGUF file that llama.cpp runs: written tensor by tensor, so that one of them is in memory at a time.

import { writeAtomic } from "../folder.js";
import type { ModelConfig } from "../config.js";
import type { ParameterFiles } from "../parameters.js";
import type { TensorBytes } from "../safetensors.js";
import type { TextTokenizer } from "../tokenizer.js";
import { encode } from "./blocks.js";
import { GgufError, ggufChunks, type Typed } from "./format.js";
import { half } from "./halves.js";
import { ARCHITECTURE_OF, metadataOf, ropeFactors } from "./metadata.js";
import { ggufName, interleavedHeads, moveRows } from "./names.js";
import { tokenizerMetadata } from "./tokenizer.js";
import { FILE_TYPES, TYPES, type WrittenType } from "./types.js";

function floatsOf(t: TensorBytes): Float32Array<ArrayBuffer> {
  const data = t.data.slice();
  if (t.dtype === "f32") return new Float32Array(data.buffer);
  const bits = new Uint16Array(data.buffer);
  // Loops: `from` makes a list first, which an embedding of a large vocabulary has no room in.
  if (t.dtype === "f16") {
    const out = new Float32Array(bits.length);
    for (let i = 0; i < out.length; i++) out[i] = half(bits[i]!);
    return out;
  }
  if (t.dtype === "bf16") {
    const out = new Uint32Array(bits.length);
    for (let i = 0; i < out.length; i++) out[i] = bits[i]! << 16;
    return new Float32Array(out.buffer);
  }
  throw new GgufError(`a tensor of ${t.dtype} cannot be written`);
}

/** The type of one tensor in a file of a type: what is small or takes part in choices stays F32, rows must be whole blocks. */
function typeFor(name: string, shape: readonly number[], type: WrittenType, tied: boolean): WrittenType {
  if (shape.length < 2 || /ffn_gate_inp|position_embd/.test(name)) return "F32";
  const columns = shape.at(-1)!;
  const output = name === "output.weight" || (tied && name === "token_embd.weight");
  const wanted = output && (type === "Q4_0" || type === "Q4_K") ? "Q8_0" : type;
  const fits = (t: WrittenType) => columns % TYPES[t].block === 0;
  if (fits(wanted)) return wanted;
  return fits("Q8_0") ? "Q8_0" : "F16";
}

export interface ExportResult {
  /** How many tensors were written in each type. */
  readonly tensors: Readonly<Partial<Record<WrittenType, number>>>;
}

/**
 * Writes a model as a GGUF file.
 * @param shapes every parameter of the model by its own name
 * @throws GgufError for families and tokenizers that GGUF has no place for
 */
export function writeGguf(
  path: string,
  model: {
    readonly name: string;
    readonly config: ModelConfig;
    readonly tokenizer: TextTokenizer;
    readonly files: ParameterFiles;
    readonly shapes: ReadonlyMap<string, readonly number[]>;
    readonly type: WrittenType;
    readonly eosIds?: readonly number[];
  },
): ExportResult {
  const { config, files, type } = model;
  const metadata = metadataOf(config, model.name);
  metadata.set("general.file_type", { u32: FILE_TYPES[type] });
  for (const [key, v] of tokenizerMetadata(model.tokenizer, config.vocabSize)) metadata.set(key, v as Typed);
  const count: Partial<Record<WrittenType, number>> = {};
  const architecture = ARCHITECTURE_OF[config.family]!;
  const tensors = [...model.shapes].map(([name, shape]) => {
    const stored = ggufName(name);
    if (stored === undefined) throw new GgufError(`GGUF has no name for the parameter "${name}"`);
    const as = typeFor(stored, shape, type, config.tieEmbeddings);
    count[as] = (count[as] ?? 0) + 1;
    const heads = interleavedHeads(architecture, config, name);
    return {
      name: stored,
      type: as,
      shape,
      data() {
        const t = files.read(name, shape);
        return encode(
          as,
          floatsOf(heads === undefined ? t : { ...t, data: moveRows(t.data, t.shape[0]!, heads, false) }),
        );
      },
    };
  });
  const factors = ropeFactors(config);
  if (factors)
    tensors.push({
      name: "rope_freqs.weight",
      type: "F32",
      shape: [factors.length],
      data: () => new Uint8Array(factors.buffer),
    });
  writeAtomic(path, ggufChunks(metadata, tensors));
  return { tensors: count };
}
