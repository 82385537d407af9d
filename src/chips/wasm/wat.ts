// Shows a module in WebAssembly's text format, for `kernel.explain` and VEXIL_DEBUG=code.
// It is for people, but it is the real format: a text assembler reads it back to the same code.

import type { Func, Instr, Module } from "./encode.js";
import { OPCODES } from "./opcodes.js";

function float(v: number): string {
  if (Number.isNaN(v)) return "nan";
  if (!Number.isFinite(v)) return v > 0 ? "inf" : "-inf";
  return Object.is(v, -0) ? "-0" : String(v);
}

function operands({ name, imm }: Instr): string {
  switch (OPCODES.get(name)?.imm) {
    case "f32":
    case "f64":
      return ` ${float(Number(imm[0]))}`;
    case "mem":
    case "memLane":
      return `${imm[0] ? ` offset=${imm[0]}` : ""}${imm.length > 1 ? ` ${imm[1]}` : ""}`;
    case "bytes16":
      if (name !== "v128.const") return ` ${imm.join(" ")}`;
      return ` i32x4 ${[0, 4, 8, 12]
        .map((i) => {
          const word = [3, 2, 1, 0].reduce((w, k) => w * 256 + Number(imm[i + k]), 0);
          return `0x${word.toString(16).padStart(8, "0")}`;
        })
        .join(" ")}`;
    default:
      return imm.map((v) => ` ${v}`).join("");
  }
}

function showFunc(f: Func, exported: string | undefined): string {
  const lines = [
    `  (func $${f.name.replace(/[^\w.-]/g, "_")}${exported ? ` (export "${exported}")` : ""}` +
      (f.params.length ? ` (param ${f.params.join(" ")})` : "") +
      (f.results.length ? ` (result ${f.results.join(" ")})` : ""),
  ];
  if (f.locals.length) lines.push(`    (local ${f.locals.join(" ")})`);
  let depth = 2;
  for (const i of f.code) {
    if (i.name === "end" || i.name === "else") depth--;
    lines.push(`${"  ".repeat(depth)}${i.name}${operands(i)}`);
    if (OPCODES.get(i.name)?.imm === "block" || i.name === "else") depth++;
  }
  return `${lines.join("\n")})`;
}

/** The module as text. */
export function showModule(m: Module): string {
  const { min, max, shared } = m.memory;
  const funcs = m.funcs.map((f, i) => showFunc(f, m.exports.find((e) => e.func === i)?.name));
  return `(module\n  (import "env" "memory" (memory ${min} ${max}${shared ? " shared" : ""}))\n${funcs.join("\n")})\n`;
}
