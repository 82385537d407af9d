// How well a model predicts a text: the exponential of the mean loss per token.

import { crossEntropy } from "../ops/index.js";
import { scope } from "../runtime/index.js";
import { noGrad, tensor } from "../tensor/index.js";
import { takeNumber } from "./take.js";
import type { LanguageModel } from "./transformer.js";

/**
 * The perplexity of token ids, cut into windows that overlap by one token.
 * @param window tokens that are seen at once; at most the model's context
 * @throws RangeError for fewer than two tokens
 */
export async function perplexity(
  model: LanguageModel,
  ids: readonly number[],
  window = 512,
): Promise<number> {
  if (ids.length < 2) throw new RangeError("perplexity needs two tokens or more");
  const width = Math.min(window, model.config.maxPositions);
  let [total, count] = [0, 0];
  for (let at = 0; at + 1 < ids.length; at += width) {
    const part = BigInt64Array.from(ids.slice(at, at + width + 1), BigInt);
    const n = part.length - 1;
    const loss = noGrad(() =>
      scope(() => {
        const { device } = model;
        const logits = model.forward(tensor(part.slice(0, n), { shape: [1, n], device }));
        return crossEntropy(logits.view([n, -1]), tensor(part.slice(1), { shape: [n], device }));
      }),
    );
    total += (await takeNumber(loss)) * n;
    count += n;
  }
  return Math.exp(total / count);
}
