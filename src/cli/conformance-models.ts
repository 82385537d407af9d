// Model conformance: every model folder with a reference.json, against what transformers computed there.
// Format: test/fixtures/models/README.md. Prints nothing; the command does.

import * as fs from "node:fs";
import { join } from "node:path";
import "../chips/index.js";
import { modelType } from "../models/config.js";
import { supportedFamilies } from "../models/families/index.js";
import { openFolder, readJson, Weights } from "../models/folder.js";
import { loadModel } from "../models/load.js";
import type { ChatMessage, TextTokenizer } from "../models/tokenizer.js";
import type { LanguageModel } from "../models/transformer.js";
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
      /** Absent for models that predict no next token. */
      readonly greedy?: boolean;
      /** Largest relative difference of a training loss, and of a norm of all gradients. */
      readonly lossError?: number;
      readonly gradNormError?: number;
    }
  | { readonly unsupported: true };

interface Reference {
  readonly cases: readonly {
    readonly prompt: string;
    readonly input_ids: readonly number[];
    readonly output: string;
    readonly greedy?: readonly number[];
  }[];
  readonly chat: {
    readonly messages: readonly ChatMessage[];
    readonly text: string;
    readonly input_ids: readonly number[];
  };
  readonly training?: {
    readonly tokens: string;
    readonly optimizer: {
      readonly lr: number;
      readonly betas: readonly [number, number];
      readonly eps: number;
      readonly weight_decay: number;
      readonly clip_grad_norm: number;
    };
    readonly losses: readonly number[];
    readonly grad_norms: readonly number[];
  };
}

/** How far a supported family may be off. */
export const LIMITS = { logitsError: 2e-4, lossError: 1e-3, gradNormError: 1e-3 } as const;

export const modelPasses = (r: ModelResult): boolean =>
  "unsupported" in r ||
  (r.tokens &&
    r.chat &&
    r.greedy !== false &&
    r.logitsError <= LIMITS.logitsError &&
    !((r.lossError ?? 0) > LIMITS.lossError) &&
    !((r.gradNormError ?? 0) > LIMITS.gradNormError));

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
      ...(model.config.causal ? { greedy: await checkGreedy(model, reference.cases) } : {}),
      ...(reference.training ? await trainingErrors(path, chip, reference.training, expected) : {}),
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
    const { causal, vocabSize, hiddenSize } = model.config;
    const output = noGrad(() =>
      scope(() => {
        const ids = tensor(BigInt64Array.from(c.input_ids, BigInt), { shape: [1, n], device: model.device });
        return causal ? model.forward(ids) : model.hidden(ids);
      }),
    );
    const got = await output.data();
    output.dispose();
    const bytes = expected.read(c.output, [n, causal ? vocabSize : hiddenSize]).data;
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
    const greedy = c.greedy ?? [];
    const [tokens] = await greedyBatch(model, [c.input_ids], greedy.length, new Set());
    if (!sameList(tokens!, greedy)) return false;
  }
  return true;
}

async function trainingErrors(
  path: string,
  chip: string,
  training: NonNullable<Reference["training"]>,
  expected: Weights,
): Promise<{ lossError: number; gradNormError: number }> {
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
    let [lossError, gradNormError] = [0, 0];
    for (const [i, want] of training.losses.entries()) {
      const got = await trainStep(model, optimizer, batch, { learningRate: lr, clipNorm: clip_grad_norm });
      lossError = Math.max(lossError, relative(got.loss, want));
      gradNormError = Math.max(gradNormError, relative(got.gradNorm, training.grad_norms[i]!));
    }
    return { lossError, gradNormError };
  } finally {
    optimizer.dispose();
    model.dispose();
  }
}

/** How far a number is off; infinitely, where it is none. */
const relative = (got: number, want: number): number => {
  const off = Math.abs(got - want) / Math.abs(want);
  return Number.isNaN(off) ? Number.POSITIVE_INFINITY : off;
};
