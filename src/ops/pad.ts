// Padding: by a value, or by what the tensor itself holds at its ends. PyTorch: `torch.nn.functional.pad`.

import { type Operator, operator, type Scalar, showShape, type Tensor, tensor } from "../tensor/index.js";
import { clone, copy_ } from "./cast.js";
import { full } from "./creation.js";
import { indexSelect } from "./gather.js";

type Pads = readonly number[];

/** Two numbers for each dimension, the last dimension's first. */
function checkPads(op: string, self: Tensor, pads: Pads): void {
  if (pads.length % 2 !== 0 || pads.length > 2 * self.ndim)
    throw new RangeError(`${op}: ${pads.length} numbers do not pad a tensor of ${showShape(self.shape)}`);
  for (let i = 0; i < pads.length; i += 2) {
    const d = self.ndim - 1 - i / 2;
    if (self.shape[d]! + pads[i]! + pads[i + 1]! < 0)
      throw new RangeError(
        `${op}: nothing is left of dimension ${d} of ${showShape(self.shape)} padded by ${pads[i]} and ${pads[i + 1]}`,
      );
  }
}

/**
 * A frame of `value` around the tensor: `pad` has the lengths before and behind the last dimension, then those of the one
 * before it, and so on; negative ones cut off. PyTorch: `torch.constant_pad_nd`.
 * @example constantPadNd(x, [1, 2]); // the last dimension is 3 longer
 */
export const constantPadNd: Operator<(self: Tensor, pad: Pads, value?: Scalar) => Tensor> = operator({
  schema: "constant_pad_nd(Tensor self, int[] pad, Scalar value=0) -> Tensor",
  run: (self: Tensor, pads: Pads, value: Scalar) => {
    checkPads("constant_pad_nd", self, pads);
    const shape = self.shape.slice();
    let from = self;
    for (let i = 0; i < pads.length; i += 2) {
      const d = self.ndim - 1 - i / 2;
      const [before, behind] = [pads[i]!, pads[i + 1]!];
      shape[d]! += before + behind;
      const start = Math.max(0, -before);
      from = from.narrow(d, start, Math.max(0, self.shape[d]! - start - Math.max(0, -behind)));
    }
    const out = full(shape, value, { dtype: self.dtype, device: self.device });
    let to = out;
    for (let i = 0; i < pads.length; i += 2) {
      const d = self.ndim - 1 - i / 2;
      to = to.narrow(d, Math.max(0, pads[i]!), from.shape[d]!);
    }
    copy_(to, from);
    return out;
  },
  derivative: {
    backward: (ctx, grad) => [
      constantPadNd(
        grad!,
        (ctx.args[1] as Pads).map((n) => -n),
        0,
      ),
    ],
  },
  opinfo: ["constant_pad_nd"],
  stage: "stable",
  summary: "A frame of one value around a tensor",
});

/** For each place of a padded dimension of `n` elements, the one that it shows. */
const SOURCES: Readonly<Record<string, (i: number, n: number, before: number, behind: number) => number>> = {
  replicate: (i, n) => Math.min(Math.max(i, 0), n - 1),
  reflect: (i, n) => (i < 0 ? -i : i >= n ? 2 * (n - 1) - i : i),
  // What negative lengths cut off is gone before it goes round.
  circular: (i, n, before, behind) => {
    const first = Math.max(0, -before);
    const length = n - first - Math.max(0, -behind);
    return first + ((((i - first) % length) + length) % length);
  },
};

/**
 * The tensor with `pad` lengths added, as of {@link constantPadNd}: filled with `value`, or by `mode` with the tensor
 * mirrored at its end (`"reflect"`), its last element (`"replicate"`), or what stands at the other end (`"circular"`).
 * PyTorch: `F.pad`.
 */
export const pad: Operator<
  (
    self: Tensor,
    pad: Pads,
    mode?: "constant" | "reflect" | "replicate" | "circular",
    value?: number | null,
  ) => Tensor
> = operator({
  schema: 'pad(Tensor self, int[] pad, str mode="constant", float? value=None) -> Tensor',
  method: false,
  run: (self: Tensor, pads: Pads, mode: string, value: number | null) => {
    if (mode === "constant") return constantPadNd(self, pads, value ?? 0);
    const source = SOURCES[mode];
    if (!source)
      throw new RangeError(
        `pad: the mode is "constant", "reflect", "replicate" or "circular", not "${mode}"`,
      );
    checkPads("pad", self, pads);
    let out = self;
    for (let i = 0; i < pads.length; i += 2) {
      const d = self.ndim - 1 - i / 2;
      const [before, behind] = [pads[i]!, pads[i + 1]!];
      if (before === 0 && behind === 0) continue;
      const n = self.shape[d]!;
      const least =
        mode === "reflect"
          ? Math.max(before, behind) + 1
          : mode === "circular"
            ? Math.max(before, behind)
            : 1;
      if (n < least)
        throw new RangeError(
          `pad: dimension ${d} of length ${n} is too short for ${before} and ${behind} by "${mode}"`,
        );
      const ids = Array.from({ length: n + before + behind }, (_, k) =>
        source(k - before, n, before, behind),
      );
      const index = tensor(ids, { shape: [ids.length], dtype: "i64", device: self.device });
      out = indexSelect(out, d, index);
    }
    return out === self ? clone(self) : out;
  },
  derivative: "composite",
  opinfo: [
    ...["constant", "reflect", "replicate", "replicate_negative", "circular"].map((variant) => ({
      op: "nn.functional.pad",
      variant,
    })),
  ],
  stage: "stable",
  summary: "A frame around a tensor",
});

/** Channels regrouped: `[groups, n]` becomes `[n, groups]`. PyTorch: `F.channel_shuffle`. */
export const channelShuffle: Operator<(self: Tensor, groups: number) => Tensor> = operator({
  schema: "channel_shuffle(Tensor self, int groups) -> Tensor",
  method: false,
  run: (self: Tensor, groups: number) => {
    const [batch, channels, ...rest] = self.shape;
    if (batch === undefined || channels === undefined || groups < 1 || channels % groups !== 0)
      throw new RangeError(`channel_shuffle: ${showShape(self.shape)} has no channels in ${groups} groups`);
    const parted = self.reshape([batch, groups, channels / groups, ...rest]);
    return clone(parted.transpose(1, 2)).view([...self.shape]);
  },
  derivative: "composite",
  opinfo: ["nn.functional.channel_shuffle"],
  stage: "stable",
  summary: "Channels of groups interleaved",
});

/** Channels moved into space: `[..., C * r * r, H, W]` becomes `[..., C, H * r, W * r]`. PyTorch: `F.pixel_shuffle`. */
export const pixelShuffle: Operator<(self: Tensor, upscaleFactor: number) => Tensor> = operator({
  schema: "pixel_shuffle(Tensor self, int upscale_factor) -> Tensor",
  method: false,
  run: (self: Tensor, r: number) => {
    const [c, h, w] = self.shape.slice(-3) as [number, number, number];
    if (self.ndim < 3 || r < 1 || c % (r * r) !== 0)
      throw new RangeError(`pixel_shuffle: ${showShape(self.shape)} has no channels for a factor of ${r}`);
    const lead = self.shape.slice(0, -3);
    const n = lead.length;
    const order = [...lead.keys(), n, n + 3, n + 1, n + 4, n + 2];
    const parted = self.reshape([...lead, c / (r * r), r, r, h, w]).permute(order);
    return clone(parted).view([...lead, c / (r * r), h * r, w * r]);
  },
  derivative: "composite",
  opinfo: ["nn.functional.pixel_shuffle"],
  stage: "stable",
  summary: "Channels moved into space",
});

/** Space moved into channels: the inverse of {@link pixelShuffle}. PyTorch: `F.pixel_unshuffle`. */
export const pixelUnshuffle: Operator<(self: Tensor, downscaleFactor: number) => Tensor> = operator({
  schema: "pixel_unshuffle(Tensor self, int downscale_factor) -> Tensor",
  method: false,
  run: (self: Tensor, r: number) => {
    const [c, h, w] = self.shape.slice(-3) as [number, number, number];
    if (self.ndim < 3 || r < 1 || h % r !== 0 || w % r !== 0)
      throw new RangeError(`pixel_unshuffle: ${showShape(self.shape)} does not divide by ${r}`);
    const lead = self.shape.slice(0, -3);
    const n = lead.length;
    const order = [...lead.keys(), n, n + 2, n + 4, n + 1, n + 3];
    const parted = self.reshape([...lead, c, h / r, r, w / r, r]).permute(order);
    return clone(parted).view([...lead, c * r * r, h / r, w / r]);
  },
  derivative: "composite",
  opinfo: ["nn.functional.pixel_unshuffle"],
  stage: "stable",
  summary: "Space moved into channels",
});
