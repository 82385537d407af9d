// The exported function of every module: the loop over linear program ids around the kernel itself.
// The kernel is a function of its own and called for each program, so that an engine which optimises
// functions while they are called can exchange it during a launch.

import { Code } from "./code.js";
import type { Func, ValType } from "./encode.js";

/** Argument slots of 8 bytes before the parameters: the grid's x, y, z. */
export const GRID_SLOTS = 3;

const [ARGS, FRAME, FIRST, LAST] = [0, 1, 2, 3] as const;

/** `run(args, frame, first, last)`: calls function `program` (args, frame, x, y, z) for first <= id < last. */
export function runLoop(program: number): Func {
  const c = new Code(4);
  const [gridX, gridY, x, y, z] = [0, 0, 0, 0, 0].map(() => c.local("i32")) as [
    number,
    number,
    number,
    number,
    number,
  ];
  const load = (slot: number, local: number): void => {
    c.get(ARGS);
    c.op("i32.load", 8 * slot);
    c.set(local);
  };
  const binary = (op: string, a: number, b: number, to: number): void => {
    c.get(a);
    c.get(b);
    c.op(`i32.${op}`);
    c.set(to);
  };
  const increment = (local: number): void => {
    c.get(local);
    c.op("i32.const", 1);
    c.op("i32.add");
    c.op("local.tee", local);
  };
  load(0, gridX);
  load(1, gridY);
  binary("rem_u", FIRST, gridX, x);
  binary("div_u", FIRST, gridX, z);
  binary("rem_u", z, gridY, y);
  binary("div_u", z, gridY, z);
  c.op("loop");
  for (const arg of [ARGS, FRAME, x, y, z]) c.get(arg);
  c.op("call", program);
  increment(x);
  c.get(gridX);
  c.op("i32.eq");
  c.op("if");
  c.op("i32.const", 0);
  c.set(x);
  increment(y);
  c.get(gridY);
  c.op("i32.eq");
  c.op("if");
  c.op("i32.const", 0);
  c.set(y);
  increment(z);
  c.set(z);
  c.op("end");
  c.op("end");
  increment(FIRST);
  c.get(LAST);
  c.op("i32.lt_u");
  c.op("br_if", 0);
  c.op("end");
  const params: ValType[] = ["i32", "i32", "i32", "i32"];
  return { name: "run", params, results: [], locals: c.locals, code: c.instrs };
}
