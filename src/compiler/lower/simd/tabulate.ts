// Tables of what four bits stand for. Where a value depends on the inner axis by four bits of an integer alone, a vector
// holds it for all sixteen of them, computed outside of the loop, and each element is looked up in one instruction. Weights
// of four bits are widened and scaled so, whatever the formula; the results have the same bits.

import { DTYPES, type Value } from "../../ir/index.js";
import { constantOf } from "./affine.js";
import { elementwise } from "./elementwise.js";
import type { Operand } from "./form.js";
import { dtypeOf, isScalarValue } from "./kinds.js";
import { type AxisMap, isView, mapKey, operandMap } from "./maps.js";
import type { Context, Nest } from "./nest.js";
import { defOf } from "./values.js";
import { opDef } from "../../ir/index.js";

const SIXTEEN = 16;
/** Looking up saves nothing where fewer operations make the value. */
const LEAST_OPS = 2;

/** Four bits of an integer: the lowest ones of `value`, an i32. */
interface Nibble {
  /** The node whose values are 0 to 15. */
  readonly key: string;
  readonly value: Value;
  readonly map: AxisMap;
}

interface Table {
  readonly nibble: Nibble;
  /** The axes of everything else, one bit each. */
  readonly axes: number;
  readonly ops: number;
}

/** The value, looked up in a table; undefined if there is none for it. */
export function lookUp(nest: Nest, v: Value, map: AxisMap, ctx: Context): Operand | undefined {
  if (nest.code.unit.shape.lookup !== SIXTEEN || nest.lanes !== SIXTEEN || dtypeOf(v) !== "f32")
    return undefined;
  if (isScalarValue(v) || nest.cellOf(v) || !isElementwise(v)) return undefined;
  const found = tableOf(nest, v, map);
  if (!found?.nibble || found.ops < LEAST_OPS) return undefined;
  const { nibble, axes } = found as Table;
  const place = nest.levelOf(axes);
  const key = `table ${mapKey(nest.code.unit.ids.of(v), map)}${nest.jam.key(axes)}`;
  const table = nest.memoized(place, key, () => evaluate(nest, v, map, nibble.key));
  const index = nest.vector(nibble.value, nibble.map, ctx);
  return nest.e.op("lookup", "f32", SIXTEEN, [table, index]);
}

const isElementwise = (v: Value): boolean => {
  const op = defOf(v);
  return op !== undefined && (isView(op) || opDef(op.opcode).elementwise === true);
};

/** What the value is made of: at most one nibble, values that are the same along the inner axis, operations between. */
function tableOf(
  nest: Nest,
  v: Value,
  map: AxisMap,
): (Partial<Table> & { axes: number; ops: number }) | undefined {
  if (!nest.dependsOnInner(v, map)) return { axes: nest.affine.axes(v, map), ops: 0 };
  const nibble = nibbleOf(nest, v, map);
  if (nibble) return { nibble, axes: 0, ops: 0 };
  if (!isElementwise(v) || nest.cellOf(v)) return undefined;
  const op = defOf(v)!;
  const inner = isView(op) ? operandMap(op, map) : map;
  let all: { nibble?: Nibble; axes: number; ops: number } = { axes: 0, ops: isView(op) ? 0 : 1 };
  for (const x of op.operands) {
    // Lanes of 64 bits would be twice as wide.
    if (DTYPES[dtypeOf(x)].bits > 32) return undefined;
    const part = tableOf(nest, x, inner);
    if (!part || (all.nibble && part.nibble && all.nibble.key !== part.nibble.key)) return undefined;
    const which = all.nibble ?? part.nibble;
    all = { ...(which ? { nibble: which } : {}), axes: all.axes | part.axes, ops: all.ops + part.ops };
  }
  return all;
}

/** `x & 15` of an i32, or `x >> 4` of one that was a byte without sign. */
function nibbleOf(nest: Nest, v: Value, map: AxisMap): Nibble | undefined {
  const op = defOf(v);
  if (!op || dtypeOf(v) !== "i32" || nest.cellOf(v)) return undefined;
  const key = mapKey(nest.code.unit.ids.of(v), map);
  const [a, b] = op.operands as [Value, Value];
  if (op.opcode === "and") {
    if (constantOf(b) === 15) return { key, value: a, map };
    return constantOf(a) === 15 ? { key, value: b, map } : undefined;
  }
  if ((op.opcode !== "shr" && op.opcode !== "ushr") || constantOf(b) !== 4) return undefined;
  const cast = defOf(a);
  return cast?.opcode === "cast" && dtypeOf(cast.operands[0]!) === "u8" ? { key, value: v, map } : undefined;
}

/** The value for the nibbles 0 to 15. */
function evaluate(nest: Nest, v: Value, map: AxisMap, nibble: string): Operand {
  const known = new Map<string, Operand>();
  const of = (x: Value, m: AxisMap): Operand => {
    const key = mapKey(nest.code.unit.ids.of(x), m);
    if (key === nibble) return nest.iota();
    if (!nest.dependsOnInner(x, m)) return nest.vector(x, m, nest.levels.at(-1)!);
    const before = known.get(key);
    if (before !== undefined) return before;
    const op = defOf(x)!;
    let made: Operand;
    if (isView(op)) made = of(op.operands[0]!, operandMap(op, m));
    else {
      const args = op.operands.map((y) => of(y, m));
      const dtype = dtypeOf(op.operands[op.opcode === "select" ? 1 : 0]!);
      made = elementwise(
        nest.e,
        { opcode: op.opcode, attrs: op.attrs, dtype, to: dtypeOf(x) },
        args,
        SIXTEEN,
      );
    }
    known.set(key, made);
    return made;
  };
  return of(v, map);
}
