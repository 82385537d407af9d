// GPTQ over a model: layer after layer, each calibrated on what the layers before it, already rounded, make of some texts.
// The rounding itself is `ops/gptq.ts`.

import { gptq, type GptqOptions, mm, quantizeInt4, quantizeInt8, zeros } from "../ops/index.js";
import { scope } from "../runtime/index.js";
import { keep, noGrad, type Tensor, tensor, withInterceptor } from "../tensor/index.js";
import { takeNumber } from "./take.js";
import type { LanguageModel } from "./transformer.js";

/** A layer's matrices that multiply the same inputs, and the second derivatives by them. */
interface Inputs {
  readonly names: string[];
  readonly second: Tensor;
}

/**
 * The integers and scales of a model's matrices, `[name, [packed, scales]]` one after the other; the caller frees them. The
 * model's own weights become what the integers stand for.
 *
 * @param chosen names of the matrices, all in layers
 * @throws RangeError where a sample does not fit the context, or the calibration makes numbers that are not finite
 */
export async function* calibrated(
  model: LanguageModel,
  chosen: ReadonlySet<string>,
  options: GptqOptions & {
    readonly samples: readonly (readonly number[])[];
    readonly onLayer?: (layer: number, layers: number) => void;
  },
): AsyncGenerator<[name: string, integers: [packed: Tensor, scales: Tensor]]> {
  const { device, config } = model;
  const { samples, bits, groupSize } = options;
  const long = samples.find((s) => s.length > config.maxPositions);
  if (long)
    throw new RangeError(
      `a sample of ${long.length} tokens does not fit the context of ${config.maxPositions}`,
    );
  let states = samples.map((ids) =>
    kept(() =>
      model.model.embed(
        tensor(BigInt64Array.from(ids, BigInt), { shape: [1, ids.length], device }),
        0,
        "f32",
      ),
    ),
  );
  const { layers } = model.model;
  try {
    for (const [i, layer] of layers.entries()) {
      options.onLayer?.(i, layers.length);
      const weights = new Map(
        [...layer.namedParameters(`model.layers.${i}.`)].filter(([name]) => chosen.has(name)),
      );
      const run = (x: Tensor): Tensor => layer.forward(x, model.placeOf(0, x.shape[1]!));
      const groups = observe(weights, states, run);
      for (const { names, second } of groups)
        for (const name of names) {
          const weight = weights.get(name)!;
          const [packed, scales] = noGrad(() =>
            scope(() => {
              const [rounded, by] = gptq(weight, second, options);
              weight.copy_(rounded);
              return bits === 8 ? quantizeInt8(rounded, groupSize, by) : quantizeInt4(rounded, groupSize, by);
            }),
          );
          if (!Number.isFinite(await takeNumber(noGrad(() => scope(() => weight.sum())))))
            throw new RangeError(
              `${name}: the calibration made numbers that are not finite: use more or other text`,
            );
          yield [name, [packed, scales]];
        }
      for (const g of groups) g.second.dispose();
      // What the next layer sees comes from the rounded one.
      states = states.map((x) => {
        const y = kept(() => run(x));
        x.storage.dispose();
        return y;
      });
    }
  } finally {
    for (const x of states) x.storage.dispose();
  }
}

const kept = (make: () => Tensor): Tensor => keep(noGrad(() => scope(() => make().clone())));

/** Runs a layer on all samples and adds up `X^T X` of the inputs of its matrices. */
function observe(
  weights: ReadonlyMap<string, Tensor>,
  states: readonly Tensor[],
  run: (x: Tensor) => Tensor,
): readonly Inputs[] {
  const nameOf = new Map([...weights].map(([name, t]) => [t, name]));
  const groups: Inputs[] = [];
  const groupOf = new Map<string, Inputs>();
  for (const x of states)
    noGrad(() =>
      scope(() => {
        /** The input that was added last for each group: matrices that share an input are one group. */
        const seen = new Map<Tensor, Inputs>();
        const watch = (input: Tensor, name: string): void => {
          if (seen.has(input)) {
            const group = seen.get(input)!;
            if (!groupOf.has(name)) {
              group.names.push(name);
              groupOf.set(name, group);
            }
            return;
          }
          const K = input.shape.at(-1)!;
          let group = groupOf.get(name);
          if (!group) {
            group = { names: [name], second: keep(zeros([K, K], { dtype: "f32", device: input.device })) };
            groups.push(group);
            groupOf.set(name, group);
          }
          seen.set(input, group);
          const rows = input.reshape([-1, K]);
          group.second.add_(mm(rows.t(), rows));
        };
        withInterceptor(
          (op, args, next) => {
            const name = op.name === "linear" ? nameOf.get(args[1] as Tensor) : undefined;
            if (name !== undefined) watch(args[0] as Tensor, name);
            return next();
          },
          () => run(x),
        );
      }),
    );
  return groups;
}
