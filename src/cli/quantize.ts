// `vexil quantize MODEL OUT`: integers in place of a model's matrices, and what that costs on a text.

import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import * as z from "zod";
import "../chips/index.js";
import type { ModelFolder } from "../models/folder.js";
import { loadModel, openParameters } from "../models/load.js";
import { openModel } from "../models/open.js";
import { perplexity } from "../models/perplexity.js";
import { quantizeModel, roundInPlace } from "../models/quantize.js";
import { autoload, loadChip } from "../runtime/index.js";
import type { CommandSpec } from "./command.js";
import { UsageError } from "./errors.js";
import { dtypeFlag, dtypeOf } from "./sampling.js";

/** Tokens of a calibration sample, where the context holds them. */
const SAMPLE = 512;

const flags = z.object({
  bits: z.number().int().default(8).describe("bits of an element: 8 or 4"),
  outputBits: z
    .number()
    .int()
    .optional()
    .describe("bits of the output matrix, where it is one of its own: 8 or 4; left out, it stays as it is"),
  groupSize: z.number().int().min(0).default(32).describe("channels that share a scale; 0: a whole row"),
  method: z
    .enum(["rtn", "gptq"])
    .default("rtn")
    .describe("how elements are rounded: rtn to the nearest, gptq by their effect on a calibration text"),
  calibrate: z.string().optional().describe("the calibration text file of gptq"),
  samples: z
    .number()
    .int()
    .positive()
    .default(128)
    .describe("how many pieces of 512 tokens gptq takes of it"),
  actOrder: z.boolean().default(false).describe("gptq rounds the channels that matter most first"),
  text: z.string().optional().describe("another text file: prints the perplexity on it before and after"),
  dtype: dtypeFlag,
  chip: z.string().optional().describe("the chip to compute on"),
});

function textOf(flag: string, path: string): string {
  if (!existsSync(path)) throw new UsageError(`vexil quantize: --${flag}: there is no file ${path}`);
  return readFileSync(path, "utf8");
}

export const spec: CommandSpec<typeof flags.shape> = {
  name: "quantize",
  summary: "Make 8- or 4-bit integers of a model's matrices.",
  positionals: [
    { name: "model", description: "a Hugging Face model folder, or a GGUF file" },
    { name: "out", description: "the folder to write" },
  ],
  flags,
  async run(
    [path, out],
    { bits, outputBits, groupSize, method, calibrate, samples, actOrder, text, dtype, chip },
  ) {
    if (bits !== 8 && bits !== 4) throw new UsageError(`vexil quantize: --bits is 8 or 4, not ${bits}`);
    if (outputBits !== undefined && outputBits !== 8 && outputBits !== 4)
      throw new UsageError(`vexil quantize: --output-bits is 8 or 4, not ${outputBits}`);
    if ((method === "gptq") !== (calibrate !== undefined))
      throw new UsageError(
        method === "gptq"
          ? "vexil quantize: --method gptq needs a text: --calibrate FILE"
          : "vexil quantize: --calibrate is for --method gptq",
      );
    if (text !== undefined && calibrate !== undefined && resolve(text) === resolve(calibrate))
      throw new UsageError("vexil quantize: --text must be another text than the one it is calibrated on");
    const heldOut = text === undefined ? undefined : textOf("text", text);
    const device = (chip === undefined ? await autoload() : await loadChip(chip)).name;
    const measure = async (folder: string, rounded = false): Promise<number> => {
      const { model, tokenizer } = loadModel(folder, { device, ...dtypeOf({ dtype }) });
      try {
        if (rounded) roundInPlace(model, { bits, outputBits, groupSize });
        return Number((await perplexity(model, tokenizer.encode(heldOut!))).toFixed(4));
      } finally {
        model.dispose();
      }
    };
    const from = openModel(path!);
    const before = heldOut === undefined ? 0 : await measure(path!);
    const calibration =
      calibrate === undefined
        ? {}
        : {
            calibration: {
              samples: pieces(
                from.tokenizer().encode(textOf("calibrate", calibrate)),
                samples,
                contextOf(from),
              ),
              actOrder,
              onLayer: (i: number, n: number) => console.error(`layer ${i + 1} of ${n}`),
            },
          };
    const count = await quantizeModel(from, out!, {
      bits,
      outputBits,
      groupSize,
      device,
      ...dtypeOf({ dtype }),
      ...calibration,
    });
    console.error(`wrote ${out}: ${count} matrices of ${bits}-bit integers`);
    if (heldOut !== undefined) {
      const nearest = method === "gptq" ? { rtn: await measure(path!, true) } : {};
      console.log(JSON.stringify({ perplexity: { before, ...nearest, after: await measure(out!) } }));
    }
  },
};

function contextOf(folder: ModelFolder): number {
  const { config, files } = openParameters(folder);
  using _ = files;
  return config.maxPositions;
}

/** At most `count` pieces of the tokens, spread evenly over them. */
function pieces(ids: readonly number[], count: number, context: number): number[][] {
  const size = Math.min(SAMPLE, context);
  const all = Math.floor(ids.length / size);
  if (all === 0)
    throw new UsageError(
      `vexil quantize: --calibrate: the text has ${ids.length} tokens; a piece of it takes ${size}`,
    );
  const taken = Math.min(count, all);
  return Array.from({ length: taken }, (_, i) => {
    const at = Math.floor((i * all) / taken) * size;
    return ids.slice(at, at + size);
  });
}
