// Which parameters of a model may become integers. How, stands in `quantize.ts`.

/** Bits of the integers that stand for a model's matrices. */
export interface IntegerBits {
  readonly bits: 4 | 8;
  /** Those of the output matrix, where it is one of its own; absent: it stays floats. */
  readonly outputBits?: 4 | 8 | undefined;
}

/** The output matrix, where it is not that of the embeddings. */
export const OUTPUT = "lm_head.weight";

/** The bits of the integers that a parameter becomes, if it does: the matrices of attention and of MLPs that every token passes. */
export function bitsOf(name: string, shape: readonly number[], q: IntegerBits): 4 | 8 | undefined {
  if (shape.length !== 2) return undefined;
  if (name === OUTPUT) return q.outputBits;
  return /^model\.layers\.\d+\.(self_attn|mlp)\..*_proj[a-z_]*\.weight$/.test(name) ? q.bits : undefined;
}
