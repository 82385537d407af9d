import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { describeError, FOR_AUTHORS, FOR_USERS, UsageError } from "./errors.js";

const src = join(import.meta.dirname, "..");
const declared = readdirSync(src, { recursive: true, encoding: "utf8" })
  .filter((f) => f.endsWith(".ts") && !f.endsWith(".test.ts") && !f.includes("testing"))
  .flatMap((f) => [
    ...readFileSync(join(src, f), "utf8").matchAll(/class (\w+) extends (?:\w*Error|CompileError)\b/g),
  ])
  .map((m) => m[1]!);

it("knows every error class of the house, and no other", () => {
  expect(declared.length).toBeGreaterThan(20);
  expect([...FOR_USERS, ...FOR_AUTHORS].sort()).toEqual([...new Set(declared)].sort());
});

it("shows users one line, and the stack of bugs", () => {
  const named = (name: string) => Object.assign(new Error("what is wrong"), { name });
  expect(describeError(named("DataError"))).toEqual({ text: "vexil: what is wrong", code: 1 });
  expect(describeError(Object.assign(new Error("disk full"), { code: "ENOSPC" })).text).toBe(
    "vexil: disk full",
  );
  expect(describeError(new TypeError("x is undefined")).text).toMatch(/x is undefined\n +at /);
  expect(describeError(Object.assign(new Error("bad"), { code: "ERR_X" })).text).toContain("\n");
  expect(describeError(named("LaunchError")).text).toContain("\n");
  expect(describeError(new UsageError("no such flag"))).toMatchObject({ code: 2 });
  expect(describeError("text")).toEqual({ text: "vexil: text", code: 1 });
});
