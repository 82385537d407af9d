// Every register operation and statement of the form, printed and judged by ptxas for each generation. Values are the
// business of the suites that run on a GPU.

import { describe, expect, it } from "vitest";
import type { Form, FormParam, Operand, Reg, RegKind, RegOp, Stmt } from "../../compiler/lower/simt/form.js";
import { MATRICES } from "./matrix.js";
import { printPtx } from "./print.js";
import { assemble, hasPtxas } from "./testing.js";

let next = 0;
const reg = (kind: RegKind): Reg => ({ id: next++, type: { kind, lanes: 1 } });

function formOf(body: Stmt[], more: Partial<Form> = {}): Form {
  const params: FormParam[] = [
    { kind: "buffer", name: "x", mem: "f32" },
    { kind: "buffer", name: "h", mem: "u16" },
    { kind: "buffer", name: "w", mem: "i64" },
    { kind: "buffer", name: "b", mem: "u8" },
    { kind: "scalar", name: "n", reg: "i32", mem: "i16" },
    { kind: "scalar", name: "m", reg: "i64", mem: "i64" },
    { kind: "scalar", name: "s", reg: "f32", mem: "f32" },
    { kind: "scalar", name: "d", reg: "f64", mem: "f64" },
    { kind: "scalar", name: "t", reg: "mask", mem: "u8" },
  ];
  return {
    name: "test",
    params,
    threads: 64,
    programsPerGroup: 1,
    sharedBytes: 4096,
    regs: [],
    registers: 32,
    layouts: [],
    body,
    ...more,
  };
}

const op = (name: RegOp, dst: Reg, args: readonly Operand[], index?: number): Stmt =>
  index === undefined ? { s: "op", op: name, dst, args } : { s: "op", op: name, dst, args, index };

const KINDS = {
  int: ["i32", "i64"],
  float: ["f32", "f64"],
  number: ["i32", "i64", "f32", "f64"],
  bits: ["i32", "i64", "mask"],
  any: ["i32", "i64", "f32", "f64", "mask"],
} as const;

/** Operations whose result has the kind of their arguments: [name, kinds, arguments]. */
const UNIFORM: readonly (readonly [RegOp, keyof typeof KINDS, number])[] = [
  ["add", "number", 2],
  ["sub", "number", 2],
  ["mul", "number", 2],
  ["div", "float", 2],
  ["min", "float", 2],
  ["max", "float", 2],
  ["fma", "float", 3],
  ["sqrt", "float", 1],
  ["floor", "float", 1],
  ["ceil", "float", 1],
  ["trunc", "float", 1],
  ["nearest", "float", 1],
  ["abs", "float", 1],
  ["neg", "float", 1],
  ["divS", "int", 2],
  ["divU", "int", 2],
  ["remS", "int", 2],
  ["remU", "int", 2],
  ["minS", "int", 2],
  ["minU", "int", 2],
  ["maxS", "int", 2],
  ["maxU", "int", 2],
  ["and", "bits", 2],
  ["or", "bits", 2],
  ["xor", "bits", 2],
  ["shl", "int", 2],
  ["shrS", "int", 2],
  ["shrU", "int", 2],
  ["copy", "any", 1],
];
const COMPARISONS: readonly RegOp[] = ["eq", "ne", "ltS", "leS", "gtS", "geS", "ltU", "leU", "gtU", "geU"];

const constant = (k: RegKind): Operand => (k === "i64" ? -5n : k === "mask" ? 1 : -3);

function everyOperation(capability: number): Stmt[] {
  const body: Stmt[] = [];
  const value: Record<RegKind, Reg> = {
    i32: reg("i32"),
    i64: reg("i64"),
    f32: reg("f32"),
    f64: reg("f64"),
    mask: reg("mask"),
  };
  // Values that no compiler can know.
  const loaded: [RegKind, number][] = [
    ["i32", 4],
    ["i64", 5],
    ["f32", 6],
    ["f64", 7],
    ["mask", 8],
  ];
  for (const [kind, index] of loaded) body.push(op("param", value[kind], [], index));
  const keep = (r: Reg): void => {
    const k = r.type.kind;
    let out: Reg = r;
    if (k === "mask") {
      out = reg("i32");
      body.push(op("fromMask", out, [r]));
    }
    const wide = k === "i64" || k === "f64";
    body.push({
      s: "store",
      mem: { param: wide ? 2 : 0 },
      at: value.i32,
      plus: 3,
      values: [out],
      type: out.type,
      kind: wide ? "i64" : "i32",
    });
  };
  for (const [name, kinds, count] of UNIFORM)
    for (const k of KINDS[kinds])
      for (const literal of [-1, count - 1]) {
        const dst = reg(k);
        const args = Array.from({ length: count }, (_, i) => (i === literal ? constant(k) : value[k]));
        body.push(op(name, dst, args));
        keep(dst);
      }
  for (const name of COMPARISONS)
    for (const k of name.endsWith("U") ? KINDS.int : name.length === 2 ? KINDS.any : KINDS.number) {
      const dst = reg("mask");
      body.push(op(name, dst, [value[k], constant(k)]));
      keep(dst);
    }
  for (const k of KINDS.any) {
    const dst = reg(k);
    body.push(op("select", dst, [value.mask, value[k], constant(k)]));
    keep(dst);
  }
  for (const from of KINDS.number)
    for (const to of KINDS.number)
      for (const name of ["convertS", "convertU"] as const) {
        const dst = reg(to);
        body.push(op(name, dst, [value[from]]));
        keep(dst);
      }
  const others: [RegOp, RegKind, Operand[], number?][] = [
    ["bitcast", "f32", [value.i32]],
    ["bitcast", "i32", [value.f32]],
    ["bitcast", "f64", [value.i64]],
    ["bitcast", "i64", [value.f64]],
    ["fromMask", "i64", [value.mask]],
    ["not", "mask", [value.mask]],
    ["f16ToF32", "f32", [value.i32]],
    ["f32ToF16", "i32", [value.f32]],
    ["lowF16", "f32", [value.i32]],
    ["highF16", "f32", [value.i32]],
    ["lowBf16", "f32", [value.i32]],
    ["highBf16", "f32", [value.i32]],
    ["packF16", "i32", [value.f32, 1.5]],
    ["packBf16", "i32", [value.f32, 1.5]],
    ...(capability >= 80
      ? ([
          ["subPairF16", "i32", [value.i32, 0x64086408]],
          ["subPairBf16", "i32", [value.i32, 0x43084308]],
        ] as [RegOp, RegKind, Operand[], number?][])
      : []),
    ["andXor", "i32", [value.i32, 0xf000f, value.i32]],
    ["halvesOf", "i32", [value.i32, 7], 2],
    ["popCount", "i32", [value.i32]],
    ["exp2Approx", "f32", [value.f32]],
    ["sigmoidApprox", "f32", [value.f32]],
    ["programId", "i32", [], 1],
    ["programId", "i32", [], 0],
    ["numPrograms", "i32", [], 0],
    ["threadId", "i32", []],
    ["splat", "f32", [2]],
  ];
  for (const [name, kind, args, index] of others) {
    const dst = reg(kind);
    body.push(op(name, dst, args, index));
    keep(dst);
  }
  return body;
}

const MAP = { param: 1, step: { times: 64 }, rows: 64 } as const;
const MAPS: Partial<Form> = { maps: [MAP, { ...MAP, empty: true }] };

/** What the copy engine is told. */
function bulkStatements(i: Reg, p: Reg): Stmt[] {
  const [place, from] = [{ mem: { shared: 64 }, at: i, plus: 8 }, [i, 0, i] as const];
  return [
    { s: "bulkBarrier", place, count: 2, mask: p },
    { s: "bulkFence" },
    { s: "bulkArrive", place },
    { s: "bulkArrive", place, mask: p },
    { s: "bulkExpect", place, bytes: 8192, mask: p },
    { s: "bulkCopy", map: 0, to: { mem: { shared: 1024 }, at: 0 }, from, barrier: place, mask: p },
    {
      s: "bulkCopy",
      map: 0,
      to: { mem: { shared: 1024 }, at: 0 },
      from,
      barrier: place,
      empty: { test: p, map: 1 },
    },
    { s: "bulkWait", place, parity: i },
  ];
}

function everyStatement(capability: number): Stmt[] {
  const newer = capability >= 80;
  const [i, p, r, w, f, iv] = [reg("i32"), reg("mask"), reg("i32"), reg("i64"), reg("f32"), reg("i32")];
  const four = [reg("f32"), reg("f32"), reg("f32"), reg("f32")];
  const [i32, i64] = [reg("i32").type, reg("i64").type];
  const body: Stmt[] = [
    op("threadId", i, []),
    op("ltS", p, [i, 7]),
    op("convertS", w, [i]),
    { s: "load", dst: four, kind: "f32", mem: { param: 0 }, at: i, mask: p, cache: "streaming" },
    { s: "load", dst: [r], kind: "i32", mem: { param: 1 }, at: w, plus: -8, cache: "evictFirst" },
    { s: "load", dst: [r], kind: "u8", mem: { param: 3 }, at: i, mask: 1 },
    { s: "load", dst: [r], kind: "i16", mem: { param: 1 }, at: 5 },
    { s: "load", dst: [w], kind: "i64", mem: { param: 2 }, at: i, plus: 2 ** 31 },
    { s: "store", values: four, type: f.type, kind: "f32", mem: { param: 0 }, at: i, cache: "streaming" },
    { s: "store", values: [r], type: i32, kind: "u8", mem: { param: 3 }, at: i, mask: p },
    { s: "store", values: [r], type: i32, kind: "i32", mem: { shared: 64 }, at: i, plus: 4 },
    { s: "store", values: [3n], type: i64, kind: "i64", mem: { param: 2 }, at: w },
    { s: "barrier", scope: "group" },
    { s: "barrier", scope: "subgroup" },
    { s: "barrier", scope: "group", global: true },
    ...(capability >= 90 ? bulkStatements(i, p) : []),
    { s: "load", dst: [f], kind: "f32", mem: { shared: 128 }, at: i },
    ...(["xor", "up", "down", "index"] as const).map(
      (how): Stmt => ({ s: "shuffle", how, dst: f, value: f, by: 3 }),
    ),
    { s: "match", dst: i, value: i, bits: 8, lanes: 32 },
    // Reads, without changing anything.
    { s: "atomic", op: "or", dst: i, kind: "i32", value: 0, order: "relaxed", mem: { param: 0 }, at: i },
  ];
  for (const kind of ["i32", "i64", "f32", "f64"] as const)
    for (const name of ["add", "max", "min", "and", "or", "xor", "xchg", "cas"] as const) {
      const float = kind[0] === "f";
      if (float && name !== "add" && name !== "xchg") continue;
      const [dst, value] = [reg(kind), kind === "i64" ? 1n : 1];
      const more = name === "cas" ? { expected: kind === "i64" ? 2n : 2 } : {};
      const param = kind === "i64" || kind === "f64" ? 2 : 0;
      for (const order of ["relaxed", "acq_rel"] as const)
        body.push({
          s: "atomic",
          op: name,
          dst,
          kind,
          value,
          order,
          mem: { param },
          at: i,
          mask: p,
          ...more,
        });
    }
  body.push({
    s: "atomic",
    op: "add",
    kind: "i32",
    value: 1,
    order: "relaxed",
    scope: "group",
    mem: { shared: 0 },
    at: i,
  });
  for (const mem of [{ param: 3 }, { shared: 8 }])
    for (const mask of [p, 1])
      body.push({
        s: "atomic",
        op: "cas",
        dst: r,
        kind: "u8",
        value: 1,
        expected: r,
        order: "acq_rel",
        mem,
        at: i,
        plus: 3,
        mask,
      });
  body.push({
    s: "atomic",
    op: "cas",
    dst: r,
    kind: "u16",
    value: 1,
    expected: r,
    order: "relaxed",
    mem: { param: 1 },
    at: i,
  });
  // biome-ignore lint/suspicious/noThenProperty: the form's own word
  const branch: Stmt = { s: "if", test: p, then: [op("add", r, [r, iv])], else: [op("sub", r, [r, 1])] };
  body.push({
    s: "for",
    iv,
    lo: 0,
    hi: i,
    step: 2,
    body: [branch],
  });
  body.push({ s: "while", cond: [op("ltS", p, [r, 9])], test: p, body: [op("add", r, [r, 1])] });
  body.push({
    s: "loadMatrix",
    dst: [reg("i32"), reg("i32"), reg("i32"), reg("i32")],
    place: { mem: { shared: 0 }, at: i },
    transpose: true,
  });
  if (newer) {
    body.push({
      s: "copyAsync",
      to: { mem: { shared: 0 }, at: i },
      from: { mem: { param: 0 }, at: i },
      bytes: 16,
      mask: p,
    });
    body.push({
      s: "copyAsync",
      to: { mem: { shared: 0 }, at: i },
      from: { mem: { param: 0 }, at: i },
      bytes: 4,
    });
    body.push({ s: "copyCommit" }, { s: "copyWait", pending: 1 });
    for (const [matrix, m] of MATRICES.entries()) {
      const size = (bits: readonly number[], bytes: number): number =>
        Math.max(1, (2 ** bits.length * bytes) / 4);
      const element = m.operands === "tf32" ? 4 : m.operands === "f64" ? 4 : m.operands.length === 2 ? 1 : 2;
      const list = (n: number, kind: RegKind): Reg[] => Array.from({ length: n }, () => reg(kind));
      const d = list(2 ** m.c.registers.length, m.accumulator);
      if (capability < m.since || capability > (m.until ?? capability)) continue;
      if (m.isAsync) {
        const at = {
          mem: { shared: 0 },
          at: 1024,
          swizzle: 128,
          strideBytes: 1024,
          leadingBytes: 4096,
        } as const;
        body.push({ s: "matrixFence" });
        const [a, b] = [
          { ...at, major: "k" } as const,
          { ...at, major: m.operands === "tf32" ? "k" : "mn" } as const,
        ];
        if (m.a.shared) body.push({ s: "matrix", matrix, d, a, b, c: d, isAsync: true });
        const left = list(size(m.a.fragment!.registers, element), "i32");
        body.push({ s: "matrix", matrix, d, a: left, b, c: d, isAsync: true, first: 1 });
        body.push({ s: "matrixCommit" }, { s: "matrixWait", pending: 0 });
        continue;
      }
      const [a, b] = [m.a.fragment!, m.b.fragment!].map((x) =>
        list(size(x.registers, element), m.operands === "f64" ? "f64" : "i32"),
      );
      body.push({ s: "matrix", matrix, d, a: a!, b: b!, c: d });
    }
  }
  return body;
}

describe.skipIf(!hasPtxas)(`printed PTX is taken by ptxas${hasPtxas ? "" : " (missing: ptxas)"}`, () => {
  for (const capability of [75, 80, 86, 89, 90]) {
    it(`every register operation for ${capability / 10}`, () => {
      const text = printPtx(formOf(everyOperation(capability)), capability);
      expect(assemble(text, capability).bytes.length).toBeGreaterThan(1000);
    });
    it(`every statement for ${capability / 10}`, () => {
      const text = printPtx(formOf(everyStatement(capability), capability >= 90 ? MAPS : {}), capability);
      expect(assemble(text, capability).bytes.length).toBeGreaterThan(1000);
    });
    it(`several programs in a workgroup for ${capability / 10}`, () => {
      const [id, n] = [reg("i32"), reg("i32")];
      const body: Stmt[] = [
        op("programId", id, [], 0),
        op("numPrograms", n, [], 0),
        { s: "store", values: [n], type: n.type, kind: "i32", mem: { param: 0 }, at: id },
      ];
      const text = printPtx(formOf(body, { programsPerGroup: 4, sharedBytes: 0 }), capability);
      expect(assemble(text, capability).bytes.length).toBeGreaterThan(500);
    });
  }
});
