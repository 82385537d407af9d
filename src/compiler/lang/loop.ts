// Loops in the IR: which variables they carry, and of which type. A variable that starts as a literal takes the
// type of its update, which a trial turn finds; the ops of the trial are thrown away.

import { type Block, sameType, type TileType, Value } from "../ir/index.js";
import { typeOf } from "./coerce.js";
import type { Cell, Context } from "./context.js";
import { literalFits, materialize, rebuild, same, type Shape, untypedMeet } from "./merge.js";
import { describe, isList, isUntyped, Pointer, Soft, Unset, type Val } from "./value.js";

/** One number that a loop carries: a variable, or a pointer's offset, or an element of a list. */
interface Slot {
  readonly init: Value | Soft | number | bigint | boolean;
  /** Undefined while only untyped values are known for it. */
  type: TileType | undefined;
  readonly what: string;
}

interface Carried {
  readonly cell: Cell;
  readonly init: Val;
  readonly shape: Shape;
}

interface Plan {
  readonly carried: readonly Carried[];
  readonly slots: readonly Slot[];
}

const ATTEMPTS = 6;

/**
 * Builds a loop. `cells` are the variables that its body may assign. `read` reads one turn: it makes the blocks
 * with arguments of the given types, calls `enter(args)` inside to set the variables, and returns what the
 * body left; `finish` makes the op from the initial values and the blocks and returns its results.
 */
export function buildLoop<T>(
  cx: Context,
  cells: readonly Cell[],
  read: (
    types: readonly (TileType | undefined)[],
    enter: (args: readonly (Value | undefined)[]) => void,
  ) => {
    made: T;
    after: Map<Cell, Val>;
    /** Where the values for the next turn are made. */
    last: Block;
    discard: () => void;
  },
  finish: (inits: readonly Value[], made: T) => readonly Value[],
): void {
  const loc = cx.b.loc;
  let live = [...cells];
  let plan = makePlan(live);
  /** Variables that are no numbers and change: without a value at the start of a turn. */
  const fleeting = new Set<Cell>();
  for (let attempt = 0; ; attempt++) {
    const trial = plan.slots.some((s) => s.type === undefined);
    if (trial) cx.trials++;
    const turn = read(
      plan.slots.map((s) => s.type),
      (args) => {
        const now = args.map((a, i) => a ?? softOf(plan.slots[i]!.init));
        for (const c of plan.carried) {
          const v = fleeting.has(c.cell)
            ? new Unset(
                "a loop only carries numbers, tiles and pointers; assign it in the turn before it is read",
              )
            : rebuild(c.shape, now as Value[]);
          if (v instanceof Value) v.name ??= c.cell.name;
          cx.write(c.cell, v);
        }
      },
    );
    if (trial) cx.trials--;
    cx.b.loc = loc;
    const missed = [...turn.after.keys()].filter((c) => !live.includes(c));
    if (missed.length > 0) {
      turn.discard();
      live = [...live, ...missed];
      plan = makePlan(live);
      continue;
    }
    const changed = plan.carried.filter(
      (c) => c.shape.kind === "fixed" && !fleeting.has(c.cell) && !same(turn.after.get(c.cell), c.init),
    );
    if (changed.length > 0) {
      turn.discard();
      for (const c of changed) fleeting.add(c.cell);
      continue;
    }
    const next = nextValues(cx, plan, turn.after);
    if (settle(cx, plan.slots, next, trial, attempt)) {
      const yields = cx.b.inside(turn.last, () =>
        next.map((v, i) => materialize(cx, v, plan.slots[i]!.type!)),
      );
      cx.b.inside(turn.last, () => cx.b.create("yield", yields));
      const inits = plan.slots.map((s) => materialize(cx, s.init, s.type!));
      const results = finish(inits, turn.made);
      for (const c of plan.carried) {
        if (c.shape.kind === "fixed") {
          if (fleeting.has(c.cell))
            cx.write(
              c.cell,
              new Unset("it is assigned in a loop that may not run; give it a value before the loop"),
            );
          continue;
        }
        const v = rebuild(c.shape, results);
        if (v instanceof Value) v.name ??= c.cell.name;
        cx.write(c.cell, v);
      }
      return;
    }
    turn.discard();
  }
}

const softOf = (v: Slot["init"]): Val => {
  if (v instanceof Soft) return v;
  if (typeof v === "boolean") return new Soft("bool");
  return new Soft(typeof v === "number" && !Number.isInteger(v) ? "float" : "int");
};

function makePlan(cells: readonly Cell[]): Plan {
  const slots: Slot[] = [];
  const shape = (v: Val, what: string): Shape => {
    if (v instanceof Value || isUntyped(v)) {
      slots.push({ init: v, type: v instanceof Value ? typeOf(v) : undefined, what });
      return { kind: "slot", index: slots.length - 1 };
    }
    if (v instanceof Pointer)
      return { kind: "pointer", pointer: v, offset: shape(v.offset, `the offset of ${what}`) };
    if (isList(v)) return { kind: "list", items: v.map((x, i) => shape(x, `${what}[${i}]`)) };
    return { kind: "fixed", value: v };
  };
  const carried = cells.map((cell) => ({ cell, init: cell.value, shape: shape(cell.value, cell.name) }));
  return { carried, slots };
}

/** What each slot is after a turn. */
function nextValues(
  cx: Context,
  plan: Plan,
  after: Map<Cell, Val>,
): (Value | Soft | number | bigint | boolean)[] {
  const out: (Value | Soft | number | bigint | boolean)[] = [];
  const take = (s: Shape, v: Val, what: string): void => {
    switch (s.kind) {
      case "fixed":
        return;
      case "slot":
        if (v instanceof Value || isUntyped(v)) out[s.index] = v;
        else cx.fail(`${what} is a number before the loop and ${describe(v)} after a turn`);
        return;
      case "pointer":
        if (!(v instanceof Pointer) || v.buffer !== s.pointer.buffer)
          cx.fail(
            `${what} is ${describe(s.pointer)} before the loop and ${describe(v)} after a turn`,
            "A pointer stays with one parameter: carry the offset instead.",
          );
        take(s.offset, v.offset, `the offset of ${what}`);
        return;
      case "list":
        if (!isList(v) || v.length !== s.items.length)
          cx.fail(`${what} is a list of ${s.items.length} before the loop and ${describe(v)} after a turn`);
        s.items.forEach((item, i) => {
          take(item, v[i], `${what}[${i}]`);
        });
    }
  };
  for (const c of plan.carried) take(c.shape, after.has(c.cell) ? after.get(c.cell) : undefined, c.cell.name);
  return out;
}

/** Whether the turn left every slot with its type; if not, sets the types for the next attempt. */
function settle(
  cx: Context,
  slots: readonly Slot[],
  next: readonly (Value | Soft | number | bigint | boolean)[],
  trial: boolean,
  attempt: number,
): boolean {
  let stable = true;
  slots.forEach((s, i) => {
    const v = next[i]!;
    if (s.type === undefined) {
      const init = s.init as Soft | number | bigint | boolean;
      const type = v instanceof Value ? typeOf(v) : untypedMeet(cx, [init, v], s.what);
      if (!literalFits(init, type))
        cx.fail(
          `${s.what} is ${describe(init)} before the loop and ${describe(v)} after a turn`,
          "Start it with a value of the type that it gets: tl.zeros(shape, dtype), tl.full(shape, value, dtype) or tl.cast.",
        );
      s.type = type;
    } else if (v instanceof Value) {
      if (sameType(v.type, s.type)) return;
      stable = false;
      if (trial) return;
      if (isUntyped(s.init) && attempt < ATTEMPTS && literalFits(s.init, typeOf(v))) {
        s.type = typeOf(v);
        return;
      }
      cx.fail(
        `${s.what} changes its type in the loop: it is ${describe(s.init)} before it and ${describe(v)} after a turn`,
        "A variable that a loop carries keeps one type: start it with that type (tl.zeros(shape, dtype)), or cast its update with tl.cast.",
      );
    } else if (!literalFits(v, s.type))
      cx.fail(
        `${s.what} is ${describe(rebuildType(s.type))} in the loop, but a turn leaves ${describe(v)} in it`,
      );
  });
  return stable && !trial;
}

const rebuildType = (t: TileType): Value => new Value(t);

/** The arguments of a block for slots of these types; untyped ones have none yet. */
export function slotArgs(
  types: readonly (TileType | undefined)[],
  block: Block,
  skip: number,
): (Value | undefined)[] {
  let at = skip;
  return types.map((t) => (t ? block.args[at++] : undefined));
}

export const known = (types: readonly (TileType | undefined)[]): TileType[] =>
  types.filter((t): t is TileType => t !== undefined);

/** Takes a block's ops out of all use lists. */
export function dispose(block: Block): void {
  for (let op = block.ops.at(-1); op; op = block.ops.at(-1)) op.erase();
}
