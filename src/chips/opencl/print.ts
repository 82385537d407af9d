// Prints a form as OpenCL C. What single operations look like stands in `ops.ts`, memory in `memory.ts`.

import type { Form, Reg, Stmt } from "../../compiler/lower/simt/index.js";
import { atomic, ATOMIC_HELPERS, loadText, storeText } from "./memory.js";
import { MEMORY, operand, register, TYPE, typeOf } from "./names.js";
import { expression, HELPERS } from "./ops.js";

/** Changes whenever the printed code does. */
export const PRINTER_VERSION = 2;

export interface Dialect {
  readonly f64: boolean;
  readonly int64Atomics: boolean;
}

const KEYWORDS = new Set(
  "kernel global local private constant half if for while do int float double".split(" "),
);
/** The name of the kernel in the program's text. */
export const entryName = (name: string): string => {
  const plain = name.replace(/\W/g, "_");
  return KEYWORDS.has(plain) ? `${plain}_` : `k_${plain}`;
};

/** A scalar argument's type and how it becomes a register. */
const scalarType = (mem: keyof typeof MEMORY): string => MEMORY[mem];

export function printOpenCl(form: Form, dialect: Dialect): string {
  const helpers = new Set<string>();
  const use = (h: string): void => void helpers.add(h);
  const lines: string[] = [];
  list(form.body, "  ");
  const head = [
    "#pragma OPENCL FP_CONTRACT OFF",
    ...(dialect.f64 ? ["#pragma OPENCL EXTENSION cl_khr_fp64 : enable"] : []),
    ...(dialect.int64Atomics
      ? [
          "#pragma OPENCL EXTENSION cl_khr_int64_base_atomics : enable",
          "#pragma OPENCL EXTENSION cl_khr_int64_extended_atomics : enable",
        ]
      : []),
    // Words are read out of buffers of other elements.
    "#ifdef __has_attribute",
    "#if __has_attribute(may_alias)",
    "#define ALIAS __attribute__((may_alias))",
    "#endif",
    "#endif",
    "#ifndef ALIAS",
    "#define ALIAS",
    "#endif",
  ];
  for (const [mem, type] of Object.entries(MEMORY))
    if (mem !== "f64" || dialect.f64) head.push(`typedef ${type} ALIAS a_${mem};`);
  for (const h of helpers) head.push(HELPERS[h] ?? ATOMIC_HELPERS[h]!);
  const params = form.params.flatMap((p, i) =>
    p.kind === "buffer"
      ? [`__global ${MEMORY[p.mem]}*b${i}`, `ulong o${i}`]
      : [`${p.reg === "f32" || p.reg === "f64" ? scalarType(p.reg) : TYPE[p.reg]} s${i}`],
  );
  const bases = form.params.flatMap((p, i) =>
    p.kind === "buffer" ? [`  __global a_${p.mem}*p${i}=(__global a_${p.mem}*)b${i}+o${i};`] : [],
  );
  return [
    ...head,
    `__attribute__((reqd_work_group_size(${form.threads},1,1)))`,
    `__kernel void ${entryName(form.name)}(${params.join(",")}){`,
    ...bases,
    ...(form.sharedBytes
      ? [`  __local uchar shared[${form.sharedBytes}] __attribute__((aligned(64)));`]
      : []),
    ...declarations(form),
    ...lines,
    "}",
    "",
  ].join("\n");

  function list(stmts: readonly Stmt[], pad: string): void {
    for (const s of stmts) statement(s, pad);
  }

  function statement(s: Stmt, pad: string): void {
    const line = (text: string): void => void lines.push(pad + text);
    switch (s.s) {
      case "op":
        line(
          s.op === "insert"
            ? `${register(s.dst)}.s${s.lane!.toString(16)}=${operand(s.args[1]!, s.dst.type.kind)};`
            : `${register(s.dst)}=${expression(s.op, s, use)};`,
        );
        return;
      case "load":
        line(loadText(form, s));
        return;
      case "store":
        line(storeText(form, s));
        return;
      case "atomic":
        line(atomic(form, s, use));
        return;
      case "barrier":
        line(`barrier(CLK_LOCAL_MEM_FENCE${s.global ? "|CLK_GLOBAL_MEM_FENCE" : ""});`);
        return;
      case "for": {
        const iv = register(s.iv);
        const kind = s.iv.type.kind as "i32" | "i64";
        const signed = kind === "i64" ? "long" : "int";
        line(
          `for(${iv}=${operand(s.lo, kind)};(${signed})${iv}<(${signed})${operand(s.hi, kind)};${iv}+=${operand(s.step, kind)}){`,
        );
        list(s.body, `${pad}  `);
        line("}");
        return;
      }
      case "while":
        line("for(;;){");
        list(s.cond, `${pad}  `);
        lines.push(`${pad}  if(!${operand(s.test, "mask")})break;`);
        list(s.body, `${pad}  `);
        line("}");
        return;
      case "if":
        line(`if(${operand(s.test, "mask")}){`);
        list(s.then, `${pad}  `);
        if (s.else.length) {
          line("}else{");
          list(s.else, `${pad}  `);
        }
        line("}");
        return;
      default:
        throw new Error(`the opencl printer has no ${s.s}`);
    }
  }
}

/** Declares the registers that the body uses, by type. */
function declarations(form: Form): string[] {
  const byType = new Map<string, string[]>();
  const seen = new Set<Reg>();
  const note = (r: Reg): void => {
    if (seen.has(r)) return;
    seen.add(r);
    const type = typeOf(r);
    const names = byType.get(type) ?? [];
    names.push(register(r));
    byType.set(type, names);
  };
  const scan = (list: readonly Stmt[]): void => {
    for (const s of list) {
      if (s.s === "op") note(s.dst);
      else if (s.s === "load") s.dst.forEach(note);
      else if (s.s === "atomic") s.dst && note(s.dst);
      else if (s.s === "for") {
        note(s.iv);
        scan(s.body);
      } else if (s.s === "while") {
        scan(s.cond);
        scan(s.body);
      } else if (s.s === "if") {
        scan(s.then);
        scan(s.else);
      }
    }
  };
  scan(form.body);
  return [...byType].map(([type, names]) => `  ${type} ${names.join(",")};`);
}
