// Where forms wait for the launches before them: behind early loads and what their addresses are made of, before everything else that
// touches a buffer, on every way.

import { expect, it } from "vitest";
import { branch } from "../simd/emit.js";
import { orderOf, placeAwait } from "./await.js";
import type { Reg, Stmt } from "./form.js";

const reg = (id: number): Reg => ({ id, type: { kind: "i32", lanes: 1 } });
const [a, b, c, d, test] = [0, 1, 2, 3, 4].map(reg) as [Reg, Reg, Reg, Reg, Reg];
const address = (dst: Reg, from: Reg | number): Stmt => ({ s: "op", op: "add", dst, args: [from, 4] });
const load = (dst: Reg, param: number, at: Reg | number, early = false): Stmt => ({
  s: "load",
  dst: [dst],
  kind: "i32",
  mem: { param },
  at,
  ...(early ? { early } : {}),
});
const store = (value: Reg): Stmt => ({
  s: "store",
  values: [value],
  type: value.type,
  kind: "i32",
  mem: { param: 2 },
  at: 0,
});
const wait: Stmt = { s: "await" };

it("brings early loads and their addresses to the front", () => {
  const [at, x, next, w] = [address(a, 1), load(b, 0, a), address(c, a), load(d, 1, c, true)];
  const body = [at, x, next, w, store(d), store(b)];
  const placed = placeAwait(body);
  expect(placed).toEqual([at, next, w, wait, x, store(d), store(b)]);
  expect(orderOf(placed)).toEqual({ early: [1], written: [2] });
  expect(orderOf(body)).toEqual({ early: [], written: [2] });
});

it("leaves behind what depends on other memory, and registers that change", () => {
  const behind = [load(a, 0, 0), load(b, 1, a, true), store(b)];
  expect(placeAwait(behind)).toEqual([wait, ...behind]);
  const twice: Stmt[] = [load(a, 0, 0), address(b, 0), load(c, 1, b, true), address(b, b), store(c)];
  expect(placeAwait(twice)[0]).toEqual(wait);
});

it("waits once on each way, and before loops", () => {
  const either = (yes: Stmt[], no: Stmt[]): Stmt => branch(test, yes as never, no as never) as Stmt;
  const [first, x] = [load(a, 1, 0, true), load(b, 0, 0)];
  expect(placeAwait([either([first, x], []), store(b)])).toEqual([
    either([first, wait, x], [wait]),
    store(b),
  ]);
  const turn = [load(b, 0, 0), load(d, 1, c, true), store(b), store(d)];
  const turns: Stmt = { s: "for", iv: c, lo: 0, hi: 4, step: 1, body: turn };
  expect(placeAwait([turns])).toEqual([
    wait,
    { ...turns, body: [turn[1], { s: "issue" }, turn[0], ...turn.slice(2)] },
  ]);
  const loop: Stmt = { s: "for", iv: c, lo: 0, hi: 4, step: 1, body: [load(d, 0, c)] };
  expect(placeAwait([first, loop])).toEqual([first, wait, loop]);
  // Whoever comes behind relies on this launch to have waited.
  expect(placeAwait([first])).toEqual([wait, first]);
});
