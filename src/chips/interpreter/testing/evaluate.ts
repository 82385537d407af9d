// For tests: runs a few ops on given elements through loads and stores, one program.

import {
  buffer,
  Builder,
  type DType,
  Func,
  numel,
  type TileType,
  type Value,
} from "../../../compiler/ir/index.js";
import { fromBits, roundTo, toBits } from "../../../compiler/ir/rounding.js";
import { type Elements, isNarrow, memoryView } from "../elements.js";
import { type Argument, prepare } from "../program.js";
import { DTYPES } from "../../../compiler/ir/index.js";

export interface Input {
  readonly dtype: DType;
  readonly values: readonly (number | bigint)[];
  readonly shape?: readonly number[];
}

/** Memory that holds the values as `dtype`. */
export function memory(dtype: DType, values: readonly (number | bigint)[]): ArrayBuffer {
  const data = new ArrayBuffer(values.length * DTYPES[dtype].bytes);
  const view = memoryView(dtype, data);
  values.forEach((v, i) => {
    view[i] = isNarrow(dtype) ? Number(toBits(dtype, v)) : roundTo(dtype, v);
  });
  return data;
}

/** The values in memory. */
export function contents(dtype: DType, data: ArrayBuffer): (number | bigint)[] {
  const view: Elements = memoryView(dtype, data);
  return Array.from(view as Float64Array, (v) => (isNarrow(dtype) ? fromBits(dtype, BigInt(v)) : v));
}

/** Offsets of a whole row-major tile. */
function everywhere(b: Builder, shape: readonly number[]): Value {
  const n = numel(shape);
  const flat = b.value("arange", [], { start: 0, end: n });
  if (shape.length === 0) return b.value("reshape", [flat], { shape: [] });
  return b.value("reshape", [flat], { shape });
}

/** Loads the inputs as tiles (of their length, or of `shape`), builds on them, returns what the results hold. */
export function evaluate(
  inputs: readonly Input[],
  build: (b: Builder, values: Value[]) => Value | Value[],
): (number | bigint)[][] {
  // Built twice: the first time only to learn the types of the results, which become parameters.
  const trial = assemble(inputs, [], build);
  const types = trial.results.map((v) => v.type as TileType);
  const real = assemble(inputs, types, build);
  const args: Argument[] = inputs.map((x) => ({ data: memory(x.dtype, x.values), offset: 0 }));
  const outs = types.map((t) => memory(t.dtype, new Array(numel(t.shape)).fill(0)));
  prepare(real.func).run(1, 1, 1, [...args, ...outs.map((data) => ({ data, offset: 0 }))]);
  return outs.map((data, i) => contents(types[i]!.dtype, data));
}

function assemble(
  inputs: readonly Input[],
  outs: readonly TileType[],
  build: (b: Builder, values: Value[]) => Value | Value[],
): { func: Func; results: Value[] } {
  const func = new Func("evaluate", [
    ...inputs.map((x, i) => ({ name: `in${i}`, type: buffer(x.dtype) })),
    ...outs.map((t, i) => ({ name: `out${i}`, type: buffer(t.dtype) })),
  ]);
  const b = new Builder(func.body);
  const loaded = inputs.map((x, i) =>
    b.value("load", [func.body.args[i]!, everywhere(b, x.shape ?? [x.values.length])]),
  );
  const built = build(b, loaded);
  const results = Array.isArray(built) ? built : [built];
  outs.forEach((t, i) => {
    b.create("store", [func.body.args[inputs.length + i]!, everywhere(b, t.shape), results[i]!]);
  });
  return { func, results };
}
