// Which parameters of a model may become integers. How, stands in `quantize.ts`.

/** Whether a parameter becomes integers: the matrices of attention and of MLPs that every token passes. */
export const becomesIntegers = (name: string, shape: readonly number[]): boolean =>
  shape.length === 2 && /^model\.layers\.\d+\.(self_attn|mlp)\..*_proj[a-z_]*\.weight$/.test(name);
