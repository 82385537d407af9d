// The code printer: a form of `lower/simd` as the text of a JavaScript function. A register of several lanes becomes a
// variable for each lane; everything else is a table from the form's operations to JavaScript's.

import type { Form, Mem, MemKind, Operand, Reg, RegKind, RegOp, Stmt } from "vexil/compiler";

/** One parameter of the printed function. */
export type Param = { readonly buffer: MemKind } | { readonly scalar: RegKind };

const BYTES: Record<MemKind, number> = { i8: 1, u8: 1, i16: 2, u16: 2, i32: 4, f32: 4, i64: 8, f64: 8 };

/** `a`, `b`, `c` are expressions of kind `kind` (of what is read); the result is of kind `to`. */
type Rule = (a: string, b: string, c: string) => string;
type Rules = Partial<Record<RegOp, Rule>>;

const i32 = (x: string): string => `${x}|0`;
const i64 = (x: string): string => `BigInt.asIntN(64,${x})`;
const u64 = (x: string): string => `BigInt.asUintN(64,${x})`;
const f32 = (x: string): string => `Math.fround(${x})`;

const compare = (unsigned: (x: string) => string): Rules => {
  const rule =
    (operator: string, read: (x: string) => string): Rule =>
    (a, b) =>
      `${read(a)}${operator}${read(b)}?1:0`;
  const same = (x: string): string => x;
  return {
    eq: rule("===", same),
    ne: rule("!==", same),
    ltS: rule("<", same),
    leS: rule("<=", same),
    gtS: rule(">", same),
    geS: rule(">=", same),
    ltU: rule("<", unsigned),
    leU: rule("<=", unsigned),
    gtU: rule(">", unsigned),
    geU: rule(">=", unsigned),
  };
};

const floats = (round: (x: string) => string): Rules => ({
  ...compare((x) => x),
  add: (a, b) => round(`${a}+${b}`),
  sub: (a, b) => round(`${a}-${b}`),
  mul: (a, b) => round(`${a}*${b}`),
  div: (a, b) => round(`${a}/${b}`),
  // Rounded twice, as a product and a sum that stand by themselves: kernels of one operator then agree to the last bit.
  fma: (a, b, c) => round(`${round(`${a}*${b}`)}+${c}`),
  sqrt: (a) => round(`Math.sqrt(${a})`),
  min: (a, b) => `Math.min(${a},${b})`,
  max: (a, b) => `Math.max(${a},${b})`,
  // The first operand where one is NaN.
  pmin: (a, b) => `${b}<${a}?${b}:${a}`,
  pmax: (a, b) => `${a}<${b}?${b}:${a}`,
  floor: (a) => `Math.floor(${a})`,
  ceil: (a) => `Math.ceil(${a})`,
  trunc: (a) => `Math.trunc(${a})`,
  nearest: (a) => `$.nearest(${a})`,
  abs: (a) => `Math.abs(${a})`,
  neg: (a) => `-${a}`,
});

const integers = (wrap: (x: string) => string, unsigned: (x: string) => string, count: string): Rules => ({
  ...compare(unsigned),
  add: (a, b) => wrap(`(${a}+${b})`),
  sub: (a, b) => wrap(`(${a}-${b})`),
  divS: (a, b) => wrap(`(${a}/${b})`),
  divU: (a, b) => wrap(`(${unsigned(a)}/${unsigned(b)})`),
  remS: (a, b) => wrap(`(${a}%${b})`),
  remU: (a, b) => wrap(`(${unsigned(a)}%${unsigned(b)})`),
  minS: (a, b) => `${a}<${b}?${a}:${b}`,
  maxS: (a, b) => `${a}>${b}?${a}:${b}`,
  minU: (a, b) => `${unsigned(a)}<${unsigned(b)}?${a}:${b}`,
  maxU: (a, b) => `${unsigned(a)}>${unsigned(b)}?${a}:${b}`,
  and: (a, b) => `${a}&${b}`,
  or: (a, b) => `${a}|${b}`,
  xor: (a, b) => `${a}^${b}`,
  shl: (a, b) => wrap(`(${a}<<(${b}&${count}))`),
  shrS: (a, b) => `${a}>>(${b}&${count})`,
});

/** What an operation on registers of a kind becomes. */
const RULES: Record<RegKind, Rules> = {
  f32: {
    ...floats(f32),
    f32ToF16: (a) => `$.f32ToF16(${a})`,
  },
  f64: floats((x) => x),
  i32: {
    ...integers(i32, (x) => `(${x}>>>0)`, "31"),
    mul: (a, b) => `Math.imul(${a},${b})`,
    shrU: (a, b) => `(${a}>>>(${b}&31))|0`,
    f16ToF32: (a) => `$.f16ToF32(${a})`,
  },
  i64: {
    ...integers(i64, u64, "63n"),
    mul: (a, b) => i64(`${a}*${b}`),
    shrU: (a, b) => i64(`${u64(a)}>>(${b}&63n)`),
  },
  mask: {
    eq: (a, b) => `${a}===${b}?1:0`,
    ne: (a, b) => `${a}^${b}`,
    and: (a, b) => `${a}&${b}`,
    or: (a, b) => `${a}|${b}`,
    xor: (a, b) => `${a}^${b}`,
    not: (a) => `${a}^1`,
  },
};

/** `from->to`, signed and unsigned. */
const CONVERT: Record<string, readonly [signed: Rule, unsigned: Rule]> = {
  "i32->i64": [(a) => `BigInt(${a})`, (a) => `BigInt(${a}>>>0)`],
  "i64->i32": [(a) => `Number(BigInt.asIntN(32,${a}))`, (a) => `Number(BigInt.asIntN(32,${a}))`],
  "i32->f32": [f32, (a) => f32(`${a}>>>0`)],
  "i32->f64": [(a) => a, (a) => `${a}>>>0`],
  "i64->f32": [(a) => `$.i64ToF32(${a})`, (a) => `$.i64ToF32(${u64(a)})`],
  "i64->f64": [(a) => `Number(${a})`, (a) => `Number(${u64(a)})`],
  "f32->f64": [(a) => a, (a) => a],
  "f64->f32": [f32, f32],
  i32: [
    (a) => `Math.min(Math.max(Math.trunc(${a}),-2147483648),2147483647)|0`,
    (a) => `Math.min(Math.max(Math.trunc(${a}),0),4294967295)|0`,
  ],
  i64: [(a) => `$.f64ToI64(${a})`, (a) => `$.f64ToU64(${a})`],
};

const isReg = (o: Operand | undefined): o is Reg => typeof o === "object";

function literal(x: number | bigint): string {
  if (typeof x === "bigint") return x < 0n ? `(${x}n)` : `${x}n`;
  return x < 0 || Object.is(x, -0) ? `(${Object.is(x, -0) ? "-0" : x})` : String(x);
}

/** The expression of one lane of an operand. */
const lane = (o: Operand, k: number): string =>
  isReg(o) ? (o.type.lanes > 1 ? `r${o.id}_${k}` : `r${o.id}`) : literal(o);

const variables = (r: Reg): string[] => Array.from({ length: r.type.lanes }, (_, k) => lane(r, k));

/**
 * The array that holds elements of a kind, and the index of the one `k` places after `at`. An index is an i64, or an i32
 * that counts up to 2^32 and wraps: it is negative where a tile is read backwards from its buffer's offset.
 */
function place(mem: Mem, kind: MemKind, at: Operand, k: number): readonly [array: string, index: string] {
  const [array, start] = "param" in mem ? [`p${mem.param}`, `o${mem.param}`] : ["F", mem.frame / BYTES[kind]];
  const isWide = isReg(at) && at.type.kind === "i64";
  const index = isWide ? `${start}+Number(${lane(at, 0)})+${k}` : `(${start}+${lane(at, 0)}+${k})>>>0`;
  return [`${array}.${kind}`, index];
}

function element(mem: Mem, kind: MemKind, at: Operand, k: number): string {
  const [array, index] = place(mem, kind, at, k);
  return `${array}[${index}]`;
}

function operation(s: Extract<Stmt, { s: "op" }>): string[] {
  const { op, dst, args } = s;
  const [x] = args;
  const each = (value: (k: number) => string): string[] =>
    variables(dst).map((name, k) => `${name}=${value(k)};`);
  switch (op) {
    case "param":
      return each(() => (dst.type.kind === "f32" ? f32(`p${s.index}`) : `p${s.index}`));
    case "programId":
      return each(() => `id${s.index}`);
    case "numPrograms":
      return each(() => `n${s.index}`);
    case "iota":
      return each((k) => String(k));
    case "splat":
      return each(() => lane(x!, 0));
    case "copy":
      return each((k) => lane(x!, k));
    case "fromMask":
      return each((k) => (dst.type.kind === "i64" ? `BigInt(${lane(x!, k)})` : lane(x!, k)));
    case "extract":
      return each(() => lane(x!, s.lane!));
    case "insert":
      return each((k) => (k === s.lane ? lane(args[1]!, 0) : lane(x!, k)));
    case "pack":
      return each((k) => lane(args[k]!, 0));
    case "shuffle": {
      const { lanes } = dst.type;
      return each((k) => (s.pick![k]! < lanes ? lane(x!, s.pick![k]!) : lane(args[1]!, s.pick![k]! - lanes)));
    }
    case "half":
      return each((k) => lane(x!, s.lane! * dst.type.lanes + k));
    case "select":
      return each((k) => `${lane(x!, k)}?${lane(args[1]!, k)}:${lane(args[2]!, k)}`);
    case "any":
    case "all":
      return each(() => (isReg(x) ? variables(x).join(op === "any" ? "|" : "&") : literal(x!)));
  }
  const from = args.find(isReg)?.type.kind ?? dst.type.kind;
  const to = dst.type.kind;
  let rule: Rule | undefined;
  if (op === "bitcast") rule = (a) => `$.${from}To${to.toUpperCase()}Bits(${a})`;
  else if (op === "convertS" || op === "convertU")
    rule = (CONVERT[`${from}->${to}`] ?? CONVERT[to])?.[op === "convertS" ? 0 : 1];
  else rule = RULES[from][op];
  if (!rule) throw new Error(`the toy chip has no ${op} of ${from}`);
  return each((k) => rule(...(args.map((o) => lane(o, k)) as [string, string, string])));
}

/** One program runs at a time, so reading and then writing is atomic. */
function atomic(s: Extract<Stmt, { s: "atomic" }>): string[] {
  const { kind } = s.dst.type;
  const [array, index] = place(s.mem, s.kind, s.at, 0);
  const old = lane(s.dst, 0);
  const value = lane(s.value, 0);
  const isOrdered = s.op === "max" || s.op === "min";
  const op = isOrdered && (kind === "i32" || kind === "i64") ? `${s.op}${s.unsigned ? "U" : "S"}` : s.op;
  let next = value;
  if (s.op === "cas") next = `${old}===${lane(s.expected!, 0)}?${value}:${old}`;
  else if (s.op !== "xchg") next = RULES[kind][op as RegOp]!(old, value, "");
  return [`{const at=${index};`, `${old}=${array}[at];`, `${array}[at]=${next};}`];
}

function statement(s: Stmt): string[] {
  switch (s.s) {
    case "op":
      return operation(s);
    case "load":
      return variables(s.dst).map((name, k) => `${name}=${element(s.mem, s.kind, s.at, k)};`);
    case "store":
      return Array.from(
        { length: s.type.lanes },
        (_, k) => `${element(s.mem, s.kind, s.at, k)}=${lane(s.value, k)};`,
      );
    case "prefetch":
      return [];
    case "atomic":
      return atomic(s);
    case "tiles":
      // Its vector shape has no matrix unit.
      throw new Error("the toy chip has no matrix unit");
    case "for": {
      const i = lane(s.iv, 0);
      const head = `for(${i}=${lane(s.lo, 0)};${i}<${lane(s.hi, 0)};${i}+=${lane(s.step, 0)}){`;
      return [head, ...statements(s.body), "}"];
    }
    case "while":
      return ["for(;;){", ...statements(s.cond), `if(!${lane(s.test, 0)})break;`, ...statements(s.body), "}"];
    case "if":
      return [
        `if(${lane(s.test, 0)}){`,
        ...statements(s.then),
        ...(s.else.length ? ["}else{", ...statements(s.else)] : []),
        "}",
      ];
  }
}

const statements = (list: readonly Stmt[]): string[] => list.flatMap(statement);

/** The body of a function of the support table that returns the kernel as a function of arguments and grid. */
export function printJs(form: Form): string {
  const names = form.regs.flatMap(variables);
  const lines = [
    `// ${form.name}`,
    "return function(P,O,F,n0,n1,n2){",
    ...form.params.map((p, i) => `const p${i}=P[${i}]${p.kind === "buffer" ? `,o${i}=O[${i}]` : ""};`),
    "for(let id2=0;id2<n2;id2++)for(let id1=0;id1<n1;id1++)for(let id0=0;id0<n0;id0++){",
    ...(names.length ? [`let ${names.join(",")};`] : []),
    ...statements(form.body),
    "}};",
  ];
  return `${lines.join("\n")}\n`;
}
