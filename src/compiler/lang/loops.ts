// `for`, `for … of` and `while`: counted loops become IR `for`, the others IR `while`; short ones whose bounds
// are known unroll.

import type { AnyNode, Expression, ForOfStatement, ForStatement, Statement } from "acorn";
import { Block, isInt, opDef, type TileType, tile, Value } from "../ir/index.js";
import { assignedNames, boundNames, children } from "./analysis.js";
import { adopt, readPath, scalarTruth } from "./branch.js";
import { defaultDtype, literalAs, promote, typeOf } from "./coerce.js";
import { type Cell, type Context, Scope } from "./context.js";
import { evaluate, perform, unsupported } from "./expressions.js";
import { buildLoop, dispose, known, slotArgs } from "./loop.js";
import { binary } from "./operators.js";
import { destructure } from "./patterns.js";
import { declare, run } from "./statements.js";
import { describe, isList, isUntyped, kindOf, Range, Soft, type Val } from "./value.js";

/** A loop whose bounds are known and that has at most so many turns is unrolled. */
const UNROLL = 16;
/** More turns than this are a mistake, not a wish. */
const MAX_UNROLL = 4096;

/** The variables outside of a loop that its parts assign. */
function assignedCells(parts: readonly (AnyNode | null | undefined)[], scope: Scope): Cell[] {
  const cells = new Set<Cell>();
  for (const p of parts)
    if (p)
      for (const name of assignedNames(p)) {
        const cell = scope.find(name);
        if (cell && !cell.constant) cells.add(cell);
      }
  return [...cells];
}

/** An IR `for` over integers; `body` reads one turn with the counter. */
function countedLoop(
  cx: Context,
  bounds: readonly [Val, Val, Val],
  attrs: Record<string, number | boolean>,
  cells: readonly Cell[],
  name: string,
  body: (i: Value) => void,
): void {
  let type: TileType = tile("i32", []);
  const typed = bounds.filter((v): v is Value => v instanceof Value);
  for (const v of typed) {
    const t = typeOf(v);
    if (t.shape.length > 0 || !isInt(t.dtype))
      cx.fail(`the bounds and the step of a loop must be integers, not ${describe(v)}`);
  }
  for (const v of bounds)
    if (!(v instanceof Value) && (!isUntyped(v) || kindOf(v) !== "int"))
      cx.fail(`the bounds and the step of a loop must be integers, not ${describe(v)}`);
  if (typed.length > 0) type = typed.map(typeOf).reduce((a, b) => tile(promote(a, b, true), []));
  else if (bounds.some((v) => !(v instanceof Soft) && defaultDtype(v as number) === "i64"))
    type = tile("i64", []);
  const [lo, hi, step] = bounds.map((v) =>
    v instanceof Value ? cx.b.cast(v, type.dtype) : literalAs(cx, v as number, type.dtype),
  );
  buildLoop<Block>(
    cx,
    cells,
    (types, enter) => {
      const block = new Block([type, ...known(types)]);
      const i = block.args[0]!;
      i.name = name;
      const { after } = cx.region(block, () => {
        enter(slotArgs(types, block, 1));
        body(i);
      });
      return { made: block, after, last: block, discard: () => dispose(block) };
    },
    (inits, block) => cx.b.create("for", [lo!, hi!, step!, ...inits], attrs, [block]).results,
  );
}

export function forOfLoop(cx: Context, s: ForOfStatement, scope: Scope): void {
  const over = evaluate(cx, s.right, scope);
  cx.at(s.right);
  if (s.left.type !== "VariableDeclaration" || s.await) unsupported(cx, s);
  const pattern = s.left.declarations[0]!.id;
  const turn = (v: Val) => {
    const inner = new Scope(scope);
    destructure(cx, pattern, v, inner, (n, x) => cx.declare(inner, n, x, false));
    run(cx, s.body, inner);
  };
  if (isList(over)) {
    over.forEach(turn);
    return;
  }
  if (!(over instanceof Range))
    cx.fail(
      `a loop runs over tl.range(…), tl.staticRange(…) or a list, not over ${describe(over)}`,
      "for (const i of tl.range(0, n)) { … }",
    );
  const { lo, hi, step } = over;
  if (over.unroll) {
    const numbers = [lo, hi, step].map((v) => {
      if (typeof v !== "number" || !Number.isInteger(v))
        cx.fail(
          `tl.staticRange needs integers that are known at compile time, not ${describe(v)}`,
          "tl.range counts to a value of the run time; a constexpr parameter is known at compile time.",
        );
      return v;
    });
    unroll(cx, numbers as [number, number, number], turn);
    return;
  }
  if (typeof step === "number" && step <= 0)
    cx.fail(`the step of tl.range must be positive, not ${step}`, "To count down, count up and subtract.");
  const cells = assignedCells([s.body], scope);
  cx.at(s);
  countedLoop(cx, [lo, hi, step], { ...over.hints }, cells, boundNames(pattern)[0] ?? "i", turn);
}

function unroll(cx: Context, [lo, hi, step]: [number, number, number], turn: (i: number) => void): void {
  if (step === 0) cx.fail("the step of a loop must not be 0");
  const turns = Math.max(0, Math.ceil((hi - lo) / step));
  if (turns > MAX_UNROLL)
    cx.fail(`unrolling ${turns} turns would make an enormous kernel`, "Use tl.range, which makes a loop.");
  for (let k = 0; k < turns; k++) turn(lo + k * step);
}

/** What a `for (let i = a; i < b; i += s)` counts, if it is of that form. */
interface Counter {
  readonly name: string;
  readonly init: Expression;
  readonly bound: Expression;
  readonly inclusive: boolean;
  readonly step: Expression | 1;
}

function counterOf(s: ForStatement): Counter | undefined {
  const { init, test, update: u } = s;
  if (init?.type !== "VariableDeclaration" || init.kind === "var" || !test || !u) return undefined;
  if (test.type !== "BinaryExpression" || test.left.type === "PrivateIdentifier") return undefined;
  let [left, op, right]: [Expression, string, Expression] = [test.left, test.operator, test.right];
  if (op === ">" || op === ">=") [left, op, right] = [right, op === ">" ? "<" : "<=", left];
  if (left.type !== "Identifier" || (op !== "<" && op !== "<=")) return undefined;
  const { name } = left;
  // The other variables of the declaration are declared around the loop; none of them may be carried by name.
  const d = init.declarations.find((x) => x.id.type === "Identifier" && x.id.name === name);
  if (!d?.init || boundNames(d.id)[0] !== name) return undefined;
  const step = stepOf(u, name);
  if (!step || assignedNames(s.body).includes(name)) return undefined;
  const changing = new Set([...assignedNames(s.body), name]);
  if (mentions(right, changing) || (step !== 1 && mentions(step, changing))) return undefined;
  return { name, init: d.init, bound: right, inclusive: op === "<=", step };
}

function stepOf(u: Expression, name: string): Expression | 1 | undefined {
  const is = (e: AnyNode) => e.type === "Identifier" && e.name === name;
  if (u.type === "UpdateExpression") return u.operator === "++" && is(u.argument) ? 1 : undefined;
  if (u.type !== "AssignmentExpression" || !is(u.left)) return undefined;
  if (u.operator === "+=") return u.right;
  if (u.operator !== "=" || u.right.type !== "BinaryExpression" || u.right.operator !== "+") return undefined;
  if (is(u.right.left)) return u.right.right;
  return is(u.right.right) && u.right.left.type !== "PrivateIdentifier" ? u.right.left : undefined;
}

const mentions = (node: AnyNode, names: ReadonlySet<string>): boolean =>
  (node.type === "Identifier" && names.has(node.name)) || children(node).some((c) => mentions(c, names));

export function forLoop(cx: Context, s: ForStatement, scope: Scope): void {
  const head = new Scope(scope);
  if (s.init?.type === "VariableDeclaration") declare(cx, s.init, head);
  else if (s.init) perform(cx, s.init, head);
  const counter = counterOf(s);
  if (counter) {
    const lo = head.find(counter.name)!.value;
    // The bound is read once: that is the same where reading it has no effect.
    const path = readPath(cx, () => [
      evaluate(cx, counter.bound, head),
      counter.step === 1 ? 1 : evaluate(cx, counter.step, head),
    ]);
    const [hi, step] = path.result as readonly [Val, Val];
    const integers = [lo, hi, step].every((v) =>
      v instanceof Value
        ? isInt(typeOf(v).dtype) && typeOf(v).shape.length === 0
        : isUntyped(v) && kindOf(v) === "int",
    );
    const repeatable = path.after.size === 0 && path.block.ops.every((op) => opDef(op.opcode).pure);
    const forward = step instanceof Value || (typeof step === "number" && step > 0);
    if (integers && repeatable && forward) {
      adopt(cx, path.block);
      cx.at(s.test!);
      const end = counter.inclusive ? binary(cx, "+", hi, 1) : hi;
      const turn = (i: Val) => {
        const inner = new Scope(head);
        cx.declare(inner, counter.name, i, false);
        run(cx, s.body, inner);
      };
      if (typeof lo === "number" && typeof end === "number" && typeof step === "number")
        if (Math.ceil((end - lo) / step) <= UNROLL) {
          unroll(cx, [lo, end, step], turn);
          return;
        }
      cx.at(s);
      countedLoop(cx, [lo, end, step], {}, assignedCells([s.body], head), counter.name, turn);
      return;
    }
    dispose(path.block);
  }
  if (!s.test) {
    cx.at(s);
    cx.fail("a loop without a condition does not end", "for (const i of tl.range(0, n)) { … }");
  }
  whileLoop(cx, s, s.test, s.body, s.update ?? undefined, head);
}

/** `while (test) { body; update }`. */
export function whileLoop(
  cx: Context,
  s: AnyNode,
  test: Expression,
  body: Statement,
  update: Expression | undefined,
  scope: Scope,
): void {
  // A condition that is false from the start needs no loop.
  const first = readPath(cx, () => evaluate(cx, test, scope));
  const never = first.result === false && first.after.size === 0;
  const effects = first.after.size > 0;
  dispose(first.block);
  if (never) return;
  if (effects || assignedNames(test).length > 0) {
    effectfulWhile(cx, s, test, body, update, scope);
    return;
  }
  const turn = () => {
    run(cx, body, new Scope(scope));
    if (update) perform(cx, update, scope);
  };
  cx.at(s);
  whileOp(cx, assignedCells([body, update], scope), test, () => evaluate(cx, test, scope), turn);
}

function whileOp(
  cx: Context,
  cells: readonly Cell[],
  test: AnyNode,
  condition: () => Val,
  turn: () => void,
): void {
  buildLoop<[Block, Block]>(
    cx,
    cells,
    (types, enter) => {
      const args = known(types);
      const [before, after] = [new Block(args), new Block(args)];
      cx.region(before, () => {
        enter(slotArgs(types, before, 0));
        const v = condition();
        cx.at(test);
        const t = scalarTruth(cx, v, "the condition of `while`");
        cx.b.create("condition", [typeof t === "boolean" ? cx.b.constant(t, "bool") : t]);
      });
      const left = cx.region(after, () => {
        enter(slotArgs(types, after, 0));
        turn();
      });
      return {
        made: [before, after],
        after: left.after,
        last: after,
        discard: () => {
          dispose(before);
          dispose(after);
        },
      };
    },
    (inits, blocks) => cx.b.create("while", [...inits], {}, [...blocks]).results,
  );
}

/** A condition that assigns is read before the loop and at the end of each turn; the loop carries its answer. */
function effectfulWhile(
  cx: Context,
  s: AnyNode,
  test: Expression,
  body: Statement,
  update: Expression | undefined,
  scope: Scope,
): void {
  const ask = (): Val => {
    const v = evaluate(cx, test, scope);
    cx.at(test);
    const t = scalarTruth(cx, v, "the condition of `while`");
    return typeof t === "boolean" ? cx.b.constant(t, "bool") : t;
  };
  const go = cx.declare(new Scope(scope), "running", undefined, false);
  cx.write(go, ask());
  cx.at(s);
  whileOp(
    cx,
    [go, ...assignedCells([test, body, update], scope)],
    test,
    () => go.value,
    () => {
      run(cx, body, new Scope(scope));
      if (update) perform(cx, update, scope);
      cx.write(go, ask());
    },
  );
}
