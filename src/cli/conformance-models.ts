// Model conformance: every model folder with a reference.json, against what transformers computed there.
// Format: test/fixtures/models/README.md. Prints nothing; the command does.

import * as fs from "node:fs";
import { join } from "node:path";
import "../chips/index.js";
import { modelType } from "../models/config.js";
import { openFolder, readJson, Weights } from "../models/folder.js";
import { type LanguageModel, loadModel, supportedFamilies } from "../models/load.js";
import type { ChatMessage, TextTokenizer } from "../models/tokenizer.js";
import { AdamW } from "../nn/index.js";
import { scope } from "../runtime/index.js";
import { noGrad, tensor } from "../tensor/index.js";
import { greedyBatch, trainStep } from "../train/index.js";

/** What one folder's check found; `unsupported` for a family that is not built. */
export type ModelResult =
  | {
      readonly tokens: boolean;
      readonly chat: boolean;
      /** Largest absolute difference over the largest absolute reference logit. */
      readonly logitsError: number;
      readonly greedy: boolean;
      /** Largest relative difference of a training loss. */
      readonly lossError: number;
    }
  | { readonly unsupported: true };

interface Reference {
  readonly cases: readonly {
    readonly prompt: string;
    readonly input_ids: readonly number[];
    readonly output: string;
    readonly greedy: readonly number[];
  }[];
  readonly chat: {
    readonly messages: readonly ChatMessage[];
    readonly text: string;
    readonly input_ids: readonly number[];
  };
  readonly training: {
    readonly tokens: string;
    readonly optimizer: {
      readonly lr: number;
      readonly betas: readonly [number, number];
      readonly eps: number;
      readonly weight_decay: number;
      readonly clip_grad_norm: number;
    };
    readonly losses: readonly number[];
  };
}

/** How far a supported family may be off. */
export const LIMITS = { logitsError: 2e-4, lossError: 1e-3 } as const;

export const modelPasses = (r: ModelResult): boolean =>
  "unsupported" in r ||
  (r.tokens && r.chat && r.greedy && r.logitsError <= LIMITS.logitsError && r.lossError <= LIMITS.lossError);

/** The folders in `root` (or `root` itself) that have a reference.json. */
export function referenceFolders(root: string): string[] {
  if (fs.existsSync(join(root, "reference.json"))) return [root];
  if (!fs.existsSync(root)) throw new Error(`${root}: there is no such folder`);
  const found = fs
    .readdirSync(root)
    .map((name) => join(root, name))
    .filter((path) => fs.existsSync(join(path, "reference.json")))
    .sort();
  if (found.length === 0) throw new Error(`${root}: no folder in it has a reference.json`);
  return found;
}

/** Checks one folder on a loaded chip. */
export async function checkModel(path: string, chip: string): Promise<ModelResult> {
  const config = openFolder(path).config;
  if (!supportedFamilies().includes(modelType(config, join(path, "config.json"))))
    return { unsupported: true };
  const reference = readJson(join(path, "reference.json")) as Reference;
  using expected = new Weights([join(path, "reference.safetensors")]);
  const { model, tokenizer } = loadModel(path, { device: chip });
  try {
    return {
      tokens: reference.cases.every((c) => sameList(tokenizer.encode(c.prompt), c.input_ids)),
      chat: checkChat(tokenizer, reference.chat),
      logitsError: await logitsError(model, reference.cases, expected),
      greedy: await checkGreedy(model, reference.cases),
      lossError: await lossError(path, chip, reference.training, expected),
    };
  } finally {
    model.dispose();
  }
}

const sameList = (a: readonly number[], b: readonly number[]) =>
  a.length === b.length && a.every((x, i) => x === b[i]);

function checkChat(tokenizer: TextTokenizer, chat: Reference["chat"]): boolean {
  const text = tokenizer.chat(chat.messages);
  return text === chat.text && sameList(tokenizer.encode(text, { specialTokens: false }), chat.input_ids);
}

async function logitsError(
  model: LanguageModel,
  cases: Reference["cases"],
  expected: Weights,
): Promise<number> {
  let worst = 0;
  for (const c of cases) {
    const n = c.input_ids.length;
    const logits = noGrad(() =>
      scope(() =>
        model.forward(
          tensor(BigInt64Array.from(c.input_ids, BigInt), { shape: [1, n], device: model.device }),
        ),
      ),
    );
    const got = await logits.data();
    logits.dispose();
    const bytes = expected.read(c.output, [n, model.config.vocabSize]).data;
    const want = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    let largest = 0;
    let off = 0;
    want.forEach((w, i) => {
      largest = Math.max(largest, Math.abs(w));
      const d = Math.abs(w - Number(got[i]));
      off = Number.isNaN(d) ? Number.POSITIVE_INFINITY : Math.max(off, d);
    });
    worst = Math.max(worst, off / largest);
  }
  return worst;
}

async function checkGreedy(model: LanguageModel, cases: Reference["cases"]): Promise<boolean> {
  for (const c of cases) {
    const [tokens] = await greedyBatch(model, [c.input_ids], c.greedy.length, new Set());
    if (!sameList(tokens!, c.greedy)) return false;
  }
  return true;
}

async function lossError(
  path: string,
  chip: string,
  training: Reference["training"],
  expected: Weights,
): Promise<number> {
  const { model } = loadModel(path, { device: chip, requiresGrad: true });
  const { lr, betas, eps, weight_decay, clip_grad_norm } = training.optimizer;
  const optimizer = new AdamW(model.namedParameters(), {
    betas,
    eps,
    weightDecay: weight_decay,
    decays: () => true,
  });
  try {
    const [rows, length] = [4, 33];
    const { data } = expected.read(training.tokens, [rows, length]);
    const tokens = new BigInt64Array(data.buffer, data.byteOffset, rows * length);
    const columns = length - 1;
    const inputs = new BigInt64Array(rows * columns);
    const targets = new BigInt64Array(rows * columns);
    for (let r = 0; r < rows; r++)
      for (let c = 0; c < columns; c++) {
        inputs[r * columns + c] = tokens[r * length + c]!;
        targets[r * columns + c] = tokens[r * length + c + 1]!;
      }
    const batch = { rows, columns, inputs, targets, learned: targets.length };
    let worst = 0;
    for (const want of training.losses) {
      const { loss } = await trainStep(model, optimizer, batch, {
        learningRate: lr,
        clipNorm: clip_grad_norm,
      });
      const off = Math.abs(loss - want) / Math.abs(want);
      worst = Number.isNaN(off) ? Number.POSITIVE_INFINITY : Math.max(worst, off);
    }
    return worst;
  } finally {
    optimizer.dispose();
    model.dispose();
  }
}
