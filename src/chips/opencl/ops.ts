// OpenCL C expressions for the register operations of the form: a table, and the helper functions that some need.

import type { Operand, Reg, RegKind, RegOp } from "../../compiler/lower/simt/index.js";
import { operand, SIGNED, TYPE } from "./names.js";

export interface OpSite {
  readonly dst: Reg;
  readonly args: readonly Operand[];
  readonly index?: number;
  readonly lane?: number;
}

/** Helper functions by name; printed before the kernel where they are used. */
export const HELPERS: Readonly<Record<string, string>> = {
  f16_to_f32:
    "inline float f16_to_f32(uint x){ushort h=(ushort)x;return vload_half(0,(const __private half*)&h);}",
  f32_to_f16: "inline uint f32_to_f16(float x){ushort h;vstore_half_rte(x,0,(__private half*)&h);return h;}",
  f32_to_bf16:
    "inline uint f32_to_bf16(float x){uint b=as_uint(x);return (x!=x?b|0x400000u:b+0x7fffu+((b>>16)&1u))>>16;}",
};

const INFIX: Partial<Record<RegOp, string>> = {
  add: "+",
  sub: "-",
  mul: "*",
  div: "/",
  and: "&",
  or: "|",
  xor: "^",
};
const COMPARE: Readonly<Record<string, string>> = {
  eq: "==",
  ne: "!=",
  lt: "<",
  le: "<=",
  gt: ">",
  ge: ">=",
};
const CALL: Partial<Record<RegOp, string>> = {
  sqrt: "sqrt",
  floor: "floor",
  ceil: "ceil",
  trunc: "trunc",
  nearest: "rint",
  abs: "fabs",
};
const isInt = (k: RegKind): k is "i32" | "i64" => k === "i32" || k === "i64";
const kindOf = (o: Operand, otherwise: RegKind): RegKind => (typeof o === "object" ? o.type.kind : otherwise);

/** The expression of an operation; `use` is told of helpers. */
export function expression(op: RegOp, s: OpSite, use: (helper: string) => void): string {
  const kind = s.dst.type.kind;
  const call = (helper: string, ...args: string[]): string => {
    use(helper);
    return `${helper}(${args.join(",")})`;
  };
  const arg = (i: number, k: RegKind = kind): string => operand(s.args[i]!, k);
  const signed = (i: number, k: RegKind = kind): string =>
    isInt(k) ? `(${SIGNED[k]})${arg(i, k)}` : arg(i, k);
  const infix = INFIX[op];
  if (infix) return `${arg(0)}${infix}${arg(1)}`;
  if (CALL[op]) return `${CALL[op]}(${arg(0)})`;
  const order = /^(eq|ne|lt|le|gt|ge)([SU]?)$/.exec(op);
  if (order) {
    const k = kindOf(s.args[0]!, kindOf(s.args[1]!, "i32"));
    const read = (i: number): string => (order[2] === "S" ? signed(i, k) : arg(i, k));
    return `${read(0)}${COMPARE[order[1]!]}${read(1)}`;
  }
  switch (op) {
    case "fma":
      return `fma(${arg(0)},${arg(1)},${arg(2)})`;
    case "min":
    case "max":
      return `(${arg(0)}${op === "min" ? "<" : ">"}${arg(1)}||${arg(0)}!=${arg(0)})?${arg(0)}:${arg(1)}`;
    case "neg":
      return `-${arg(0)}`;
    case "divS":
    case "remS":
      return `(${TYPE[kind]})(${signed(0)}${op === "divS" ? "/" : "%"}${signed(1)})`;
    case "divU":
    case "remU":
      return `${arg(0)}${op === "divU" ? "/" : "%"}${arg(1)}`;
    case "minS":
    case "maxS":
      return `(${TYPE[kind]})${op.slice(0, 3)}(${signed(0)},${signed(1)})`;
    case "minU":
    case "maxU":
      return `${op.slice(0, 3)}(${arg(0)},${arg(1)})`;
    case "shl":
    case "shrU":
    case "shrS": {
      const by = `(${arg(1)}&${kind === "i64" ? 63 : 31})`;
      if (op === "shrS") return `(${TYPE[kind]})(${signed(0)}>>${by})`;
      return `${arg(0)}${op === "shl" ? "<<" : ">>"}${by}`;
    }
    case "not":
      return `!${arg(0)}`;
    case "select":
      return `${arg(0, "mask")}?${arg(1)}:${arg(2)}`;
    case "fromMask":
      return `(${TYPE[kind]})${arg(0, "mask")}`;
    case "copy":
    case "splat":
      return arg(0);
    case "bitcast":
      return `as_${TYPE[kind]}(${arg(0, kindOf(s.args[0]!, "i32"))})`;
    case "convertS":
    case "convertU":
      return conversion(op === "convertS", s);
    case "f16ToF32":
      return call("f16_to_f32", arg(0, "i32"));
    case "f32ToF16":
      return call("f32_to_f16", arg(0, "f32"));
    case "lowF16":
      return call("f16_to_f32", arg(0, "i32"));
    case "highF16":
      return call("f16_to_f32", `${arg(0, "i32")}>>16`);
    case "lowBf16":
      return `as_float(${arg(0, "i32")}<<16)`;
    case "highBf16":
      return `as_float(${arg(0, "i32")}&0xffff0000u)`;
    case "packF16":
    case "packBf16": {
      const h = op === "packF16" ? "f32_to_f16" : "f32_to_bf16";
      return `${call(h, arg(0, "f32"))}|(${call(h, arg(1, "f32"))}<<16)`;
    }
    case "andXor":
      return `(${arg(0, "i32")}&${arg(1, "i32")})^${arg(2, "i32")}`;
    case "halvesOf": {
      const [low, high] = [(s.index! & 1) * 16, (s.index! >> 1) * 16];
      return `((${arg(0, "i32")}>>${low})&0xffffu)|((${arg(1, "i32")}>>${high})<<16)`;
    }
    case "threadId":
      return "(uint)get_local_id(0)";
    case "programId":
      return `(uint)get_group_id(${s.index})`;
    case "numPrograms":
      return `(uint)get_num_groups(${s.index})`;
    case "param":
      return `s${s.index}`;
    case "extract":
      return `${arg(0)}.s${s.lane!.toString(16)}`;
    default:
      throw new Error(`the opencl printer has no expression for ${op}`);
  }
}

function conversion(isSigned: boolean, s: OpSite): string {
  const to = s.dst.type.kind;
  const from = kindOf(s.args[0]!, isInt(to) ? "i32" : "i32");
  const x = operand(s.args[0]!, from);
  if (isInt(from)) {
    const read = isSigned ? `(${SIGNED[from]})${x}` : x;
    if (isInt(to)) return `(${TYPE[to]})(${isSigned && to === "i64" ? `(long)${read}` : read})`;
    return `convert_${TYPE[to]}_rte(${read})`;
  }
  if (!isInt(to)) return `convert_${TYPE[to]}${to === "f32" ? "_rte" : ""}(${x})`;
  const name = isSigned ? SIGNED[to] : TYPE[to];
  return `${x}!=${x}?(${TYPE[to]})0:(${TYPE[to]})convert_${name}_sat_rtz(${x})`;
}
