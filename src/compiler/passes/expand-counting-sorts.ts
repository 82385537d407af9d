// `countingSort` as the ops `sort` and comparisons with every bin, for chips that have no way of their own to count.

import { Builder } from "../ir/builder.js";
import { Block, type Func, type Op, replaceAllUses, type Value, walk } from "../ir/ir.js";
import type { TileType } from "../ir/type.js";

/** Replaces those that `keep` does not want, in place. */
export function expandCountingSorts(func: Func, keep: (op: Op) => boolean = () => false): void {
  const found: Op[] = [];
  walk(func.body, (op) => {
    if (op.opcode === "countingSort" && !keep(op)) found.push(op);
  });
  found.forEach(expand);
}

function expand(op: Op): void {
  const made = new Block();
  const b = new Builder(made);
  const [keys, ...values] = op.operands as [Value, ...Value[]];
  const [n] = (keys.type as TileType).shape as [number];
  const bins = op.attrs["bins"] as number;
  const [counts, starts, ...sorted] = op.results;
  const spread = (v: Value, axis: number): Value =>
    b.value("broadcast", [b.value("expandDims", [v], { axis })], { shape: [n, bins] });
  const [each, bin] = [spread(keys, 1), spread(b.value("arange", [], { start: 0, end: bins }), 0)];
  const count = (pred: string): Value =>
    b.value("reduce", [b.cast(b.value("cmp", [each, bin], { pred }), "i32")], { kind: "sum", axis: 0 });
  if (counts!.uses.size) replaceAllUses(counts!, count("eq"));
  if (starts!.uses.size) replaceAllUses(starts!, count("lt"));
  if (sorted.some((v) => v.uses.size)) {
    const { results } = b.create("sort", [keys, ...values], { axis: 0, descending: false, limit: n });
    for (const [i, v] of sorted.entries()) replaceAllUses(v, results[i + 1]!);
  }
  for (const o of [...made.ops]) op.parent!.insertBefore(op, o);
  op.erase();
}
