// Turning blocks of vectors in registers, evaluated lane by lane.

import { describe, expect, test } from "vitest";
import { Emitter } from "./emit.js";
import type { Operand } from "./form.js";
import { turn } from "./turn.js";

describe("turn", () => {
  for (const [kind, lanes] of [
    ["f32", 4],
    ["i32", 8],
    ["f32", 16],
    ["f64", 2],
    ["i64", 4],
    ["f64", 8],
  ] as const)
    test(`${lanes} x ${lanes} ${kind}`, () => {
      const e = new Emitter(64);
      const values = new Map<Operand, number[]>();
      const rows = Array.from({ length: lanes }, (_, i) => {
        const r = e.reg(kind, lanes);
        values.set(
          r,
          Array.from({ length: lanes }, (_, j) => 100 * i + j),
        );
        return r;
      });
      const out = turn(e, kind, rows);
      for (const s of e.out) {
        if (s.s !== "op" || s.op !== "shuffle") throw new Error("only shuffles turn");
        const both = s.args.flatMap((a) => values.get(a)!);
        values.set(
          s.dst,
          s.pick!.map((k) => both[k]!),
        );
      }
      expect(out.map((r) => values.get(r))).toEqual(
        Array.from({ length: lanes }, (_, j) => Array.from({ length: lanes }, (_, i) => 100 * i + j)),
      );
      expect(e.out.length).toBe(lanes * Math.log2(lanes));
    });
});
