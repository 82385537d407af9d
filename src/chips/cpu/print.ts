// Prints a lowered kernel as a C function over a range of program ids. A table over the form: what the statements
// mean stands in `lower/simd/form.ts`, how values convert in `convert.ts`.

import { CompileError } from "../../compiler/target.js";
import type {
  Form,
  Mem,
  MemKind,
  Operand,
  Panel,
  Reg,
  RegType,
  Stmt,
} from "../../compiler/lower/simd/form.js";
import { blend, convert, convertLanes, floatToHalf, halfToFloat } from "./convert.js";
import { dot } from "./dots.js";
import { fitsOuterProducts, outerProducts } from "./products.js";
import {
  blendFloats,
  extreme,
  extremeWith,
  firstExtreme,
  fma,
  integerExtremeOf,
  round,
  sqrt,
} from "./floats.js";
import {
  atomic,
  loadMasked,
  loadVector,
  storeMasked,
  storeVector,
  streamable,
  streamFence,
  streamVector,
} from "./memory.js";
import { analyzeRegisters, eachStmt, type Registers } from "./registers.js";
import { configureTiles, RELEASE_TILES, tileProducts } from "./tiles.js";
import { bytesOf, type CKind, type Features, intOf, list, literal, Unit, unsignedOf } from "./unit.js";

/** Raised when the printed text or the argument block changes meaning. */
export const PRINTER_VERSION = 14;

/** Slots of 8 bytes before the first parameter in the argument block: the grid's x, y, z. */
export const ARGUMENT_SLOTS = 3;

/**
 * C for one kernel: `void run(const i64 *args, char *frame, i64 begin, i64 end)` runs the programs with linear ids
 * `begin <= id < end` (x fastest). `args` has 8-byte slots: the grid, then the parameters: a buffer as the address of
 * its first element, a scalar in the low bytes in its register kind. `frame` is scratch of `form.frameBytes` bytes.
 *
 * @param symbol the exported name; another one than `run` lets several kernels share a file
 */
export function printC(form: Form, features: Features, symbol = "run"): string {
  const unit = new Unit(features);
  const body = printFunction(unit, form, symbol);
  return unit.preamble() + body;
}

/** {@link printC} without the types and helpers, which collect in `unit`. */
export function printFunction(unit: Unit, form: Form, symbol: string): string {
  return new FormPrinter(unit, form).print(symbol);
}

const COMPARE: Readonly<Record<string, string>> = {
  eq: "==",
  ne: "!=",
  ltS: "<",
  leS: "<=",
  gtS: ">",
  geS: ">=",
  ltU: "<",
  leU: "<=",
  gtU: ">",
  geU: ">=",
};
const BINARY: Readonly<Record<string, string>> = {
  add: "+",
  sub: "-",
  mul: "*",
  and: "&",
  or: "|",
  xor: "^",
};
const DIVIDE: Readonly<Record<string, string>> = { div: "/", divS: "/", divU: "/", remS: "%", remU: "%" };

type OpStmt = Extract<Stmt, { s: "op" }>;

class FormPrinter {
  private readonly registers: Registers;
  private readonly declared = new Map<string, Set<string>>();
  private readonly lines: string[] = [];
  private readonly params = new Set<number>();
  private usesFrame = false;
  private streams = false;
  private tiles = false;
  private depth = 2;
  private temporaries = 0;

  constructor(
    private readonly u: Unit,
    private readonly form: Form,
  ) {
    this.registers = analyzeRegisters(form);
  }

  print(symbol: string): string {
    let grid3 = false;
    const axes = new Set<number>();
    eachStmt(this.form.body, (s) => {
      if (s.s !== "op" || (s.op !== "programId" && s.op !== "numPrograms")) return;
      if (s.op === "programId" && s.index! > 0) grid3 = true;
      axes.add(s.index!);
    });
    this.statements(this.form.body);
    const out = [`void ${symbol}(const i64*args,char*frame,i64 begin,i64 end){`];
    for (const i of [...this.params].sort((a, b) => a - b)) out.push(`  ${this.parameter(i)}`);
    if (!this.usesFrame) out.push("  (void)frame;");
    const I = this.u.type("i32", 1);
    for (const axis of axes) out.push(`  ${I} n${axis}=(${I})args[${axis}];(void)n${axis};`);
    if (!axes.size && !this.params.size) out.push("  (void)args;");
    if (this.tiles) out.push(`  ${configureTiles(this.u)}`);
    if (grid3)
      out.push(
        `  const i64 gx=args[0],gy=args[1];${I} x=(${I})(begin%gx),y=(${I})(begin/gx%gy),z=(${I})(begin/gx/gy);(void)z;`,
        `  for(i64 id=begin;id<end;id++){`,
      );
    else
      out.push(`  for(i64 id=begin;id<end;id++){`, ...(axes.has(0) ? [`    ${I} x=(${I})id;(void)x;`] : []));
    for (const [type, names] of this.declared) out.push(`    ${type} ${[...names].join(",")};`);
    out.push(...this.lines);
    if (grid3) out.push("    if(++x==gx){x=0;if(++y==gy){y=0;z++;}}");
    out.push("  }");
    if (this.streams) out.push(`  ${streamFence(this.u)}();`);
    if (this.tiles) out.push(`  ${RELEASE_TILES}`);
    out.push("}", "");
    return out.join("\n");
  }

  /** The declaration that reads one parameter from the argument block, before the loop over programs. */
  private parameter(i: number): string {
    const p = this.form.params[i]!;
    const slot = `args[${ARGUMENT_SLOTS + i}]`;
    const v = `p${i}`;
    if (p.kind === "buffer") return `${this.u.type(p.mem, 1)}*const ${v}=(${this.u.type(p.mem, 1)}*)${slot};`;
    const type = this.u.type(p.reg === "mask" ? "i32" : p.reg, 1);
    if (p.reg === "f32" || p.reg === "f64") return `const ${type} ${v}=*(const ${type}*)&${slot};`;
    const small = p.reg === "i32" && p.mem !== "i32" ? `(${this.u.type(p.mem, 1)})` : "";
    return p.reg === "mask"
      ? `const ${type} ${v}=${slot}!=0;`
      : `const ${type} ${v}=(${type})${small}${slot};`;
  }

  private emit(text: string): void {
    this.lines.push("  ".repeat(this.depth) + text);
  }

  private block(body: readonly Stmt[]): void {
    this.depth++;
    this.statements(body);
    this.depth--;
  }

  private statements(body: readonly Stmt[]): void {
    for (const s of body) this.statement(s);
  }

  private statement(s: Stmt): void {
    // What nobody reads has no effect; the C compiler would only warn of it.
    if ((s.s === "op" || s.s === "load") && !this.registers.isUsed(s.dst)) return;
    switch (s.s) {
      case "op":
        this.emit(
          s.op === "insert" ? `${this.expression(s)};` : `${this.name(s.dst)}=${this.expression(s)};`,
        );
        break;
      case "load":
        this.load(s);
        break;
      case "store":
        this.store(s);
        break;
      case "prefetch":
        this.emit(`__builtin_prefetch(${this.address(s.mem, s.kind, s.at)});`);
        break;
      case "atomic":
        this.atomic(s);
        break;
      case "tiles":
        this.tiles = true;
        this.emit(tileProducts(s, ({ mem, at }) => this.address(mem, "i32", at)));
        break;
      case "for": {
        if (s.products && fitsOuterProducts(this.u.features, s.products)) {
          const { sums } = s.products;
          const address = (p: Panel): string => this.address(p.mem, p.kind, p.at);
          this.emit(outerProducts(this.u.features, s.products, (r, v) => this.name(sums[r]![v]!), address));
          break;
        }
        // A 64-bit counter for a 32-bit variable: it cannot wrap, and the C compiler sees that the loop ends.
        const t = `t${this.temporaries++}`;
        // Bounds in registers are read once; the body may assign them.
        const fixed: string[] = [];
        const bound = (o: Operand, name: string): string => {
          const text = this.scalar(o, s.iv.type.kind);
          if (typeof o !== "object") return text;
          fixed.push(`,${name}=${text}`);
          return name;
        };
        const [hi, step] = [bound(s.hi, `h${t}`), bound(s.step, `s${t}`)];
        const lo = this.scalar(s.lo, s.iv.type.kind);
        this.emit(`for(i64 ${t}=${lo}${fixed.join("")};${t}<${hi};${t}+=${step}){`);
        if (this.registers.isUsed(s.iv))
          this.emit(
            `  ${this.name(s.iv)}=${s.iv.type.kind === "i64" ? t : `(${this.u.type("i32", 1)})${t}`};`,
          );
        this.block(s.body);
        this.emit("}");
        break;
      }
      case "while":
        this.emit("for(;;){");
        this.block(s.cond);
        this.emit(`  if(!${this.scalar(s.test, "mask")})break;`);
        this.block(s.body);
        this.emit("}");
        break;
      case "if":
        this.emit(`if(${this.scalar(s.test, "mask")}){`);
        this.block(s.then);
        if (s.else.length) {
          this.emit("}else{");
          this.block(s.else);
        }
        this.emit("}");
        break;
    }
  }

  // Operands -----------------------------------------------------------------------------------------------

  /** The C type of a register. */
  private ctype(reg: Reg): string {
    if (this.registers.isHalf(reg)) return this.u.type("u16", reg.type.lanes);
    return this.u.type(this.ckind(reg), reg.type.lanes);
  }

  /** The C element kind of a register: masks are integers, of the width chosen for them. */
  private ckind(reg: Reg): "i32" | "i64" | "f32" | "f64" {
    if (reg.type.kind !== "mask") return reg.type.kind;
    return reg.type.lanes > 1 && this.registers.maskBytes(reg) === 8 ? "i64" : "i32";
  }

  private name(reg: Reg): string {
    const name = `r${reg.id}`;
    const type = this.ctype(reg);
    const names = this.declared.get(type);
    if (names) names.add(name);
    else this.declared.set(type, new Set([name]));
    return name;
  }

  private scalar(x: Operand, kind: RegType["kind"]): string {
    return typeof x === "object" ? this.name(x) : literal(kind, x);
  }

  /** An operand of the given type (never a mask vector): literals and scalars are spread over the lanes. */
  private value(x: Operand, kind: RegType["kind"], lanes: number): string {
    if (typeof x === "object" && x.type.lanes === lanes) return this.name(x);
    const one = this.scalar(x, kind);
    if (lanes === 1) return one;
    if (typeof x !== "object") return this.u.constant(kind as CKind, lanes, one);
    return `(${this.u.type(kind as CKind, lanes)}){${list(lanes, one)}}`;
  }

  /** A mask vector with lanes of an integer kind, all bits set where true; a scalar mask as 0 or 1. */
  private mask(x: Operand, kind: "i32" | "i64", lanes: number): string {
    if (lanes === 1) return this.scalar(x, "mask");
    if (typeof x === "object" && x.type.lanes === lanes)
      return convertLanes(this.u, this.ckind(x), kind, lanes, this.name(x));
    const one = typeof x === "object" ? `-${this.name(x)}` : Number(x) ? "-1" : "0";
    return `(${this.u.type(kind, lanes)}){${list(lanes, one)}}`;
  }

  // Operations ---------------------------------------------------------------------------------------------

  private expression(s: OpStmt): string {
    const { op, dst, args } = s;
    const { kind, lanes } = dst.type;
    const u = this.u;
    const arg = (i: number): string =>
      kind === "mask"
        ? this.mask(args[i]!, this.ckind(dst) as "i32" | "i64", lanes)
        : this.value(args[i]!, kind, lanes);
    /** Reads an integer argument as unsigned. */
    const uarg = (i: number): string => `(${u.type(unsignedOf(kind as "i32" | "i64"), lanes)})${arg(i)}`;
    const signed = (text: string): string => `(${this.ctype(dst)})(${text})`;
    /** The kind of the first register among the arguments, or what a literal suggests. */
    const argKind = (): RegType["kind"] => {
      const reg = args.find((a): a is Reg => typeof a === "object");
      return reg?.type.kind ?? (args.some((a) => typeof a === "bigint") ? "i64" : "f64");
    };
    switch (op) {
      case "add":
      case "sub":
      case "mul":
      case "and":
      case "or":
      case "xor":
        return `${arg(0)}${BINARY[op]}${arg(1)}`;
      case "div":
      case "divS":
      case "remS":
        return `${arg(0)}${DIVIDE[op]}${arg(1)}`;
      case "divU":
      case "remU":
        return signed(`${uarg(0)}${DIVIDE[op]}${uarg(1)}`);
      case "min":
      case "max": {
        const fixed = args.findIndex((x) => typeof x !== "object" && !Number.isNaN(Number(x)));
        const direct = fixed < 0 ? undefined : extremeWith(u, op, kind as "f32" | "f64", lanes);
        if (direct) return direct(arg(fixed), arg(1 - fixed));
        return `${extreme(u, op, kind as "f32" | "f64", lanes)}(${arg(0)},${arg(1)})`;
      }
      case "pmin":
      case "pmax": {
        const of = op === "pmin" ? "min" : "max";
        const direct = extremeWith(u, of, kind as "f32" | "f64", lanes);
        // The instruction gives its second operand where one is NaN.
        if (direct) return direct(arg(1), arg(0));
        if (lanes === 1) return `${arg(1)}${of === "min" ? "<" : ">"}${arg(0)}?${arg(1)}:${arg(0)}`;
        return `${firstExtreme(u, of, kind as "f32" | "f64", lanes)}(${arg(0)},${arg(1)})`;
      }
      case "fma":
        return fma(u, kind as "f32" | "f64", lanes, arg(0), arg(1), arg(2));
      case "sqrt":
        return sqrt(u, kind as "f32" | "f64", lanes, arg(0));
      case "floor":
      case "ceil":
      case "trunc":
      case "nearest":
        return round(u, op, kind as "f32" | "f64", lanes, arg(0));
      case "abs": {
        if (lanes === 1) return `__builtin_fabs${kind === "f32" ? "f" : ""}(${arg(0)})`;
        const clear = kind === "f32" ? "0x7fffffff" : "0x7fffffffffffffffll";
        return signed(`(${u.type(intOf(kind as CKind), lanes)})${arg(0)}&${clear}`);
      }
      case "neg":
        return `-${arg(0)}`;
      case "minS":
      case "minU":
      case "maxS":
      case "maxU":
        return this.integerExtreme(s, arg, uarg);
      case "shl":
      case "shrS":
      case "shrU": {
        const mask = kind === "i64" ? 63 : 31;
        const count =
          typeof args[1] === "object"
            ? `(${arg(1)}&${mask})`
            : String(Number(BigInt(args[1]!) & BigInt(mask)));
        if (op === "shrU") return signed(`${uarg(0)}>>${count}`);
        return `${arg(0)}${op === "shl" ? "<<" : ">>"}${count}`;
      }
      case "not":
        return lanes === 1 ? `!${arg(0)}` : `~${arg(0)}`;
      case "eq":
      case "ne":
      case "ltS":
      case "leS":
      case "gtS":
      case "geS":
      case "ltU":
      case "leU":
      case "gtU":
      case "geU":
        return this.compare(s, argKind());
      case "select": {
        if (lanes === 1) return `${this.scalar(args[0]!, "mask")}?${arg(1)}:${arg(2)}`;
        if (kind === "f32" || kind === "f64") {
          const m = this.mask(args[0]!, intOf(kind), lanes);
          const one = blendFloats(u, kind, lanes, m, arg(1), arg(2));
          if (one !== undefined) return one;
        }
        const I = intOf(this.ckind(dst));
        const cast = `(${u.type(I, lanes)})`;
        const m = this.mask(args[0]!, I, lanes);
        return signed(blend(m, cast + arg(1), cast + arg(2)));
      }
      case "any":
      case "all":
        return this.reduceMask(op, args[0]!);
      case "convertS":
      case "convertU": {
        const from = argKind();
        return convert(u, from, kind, lanes, this.value(args[0]!, from, lanes), op === "convertU");
      }
      case "bitcast": {
        const from = argKind();
        const x = this.value(args[0]!, from, lanes);
        if (lanes > 1 || from === kind) return `(${this.ctype(dst)})${x}`;
        const name = u.helper(`bits_${from}_${kind}`, () => {
          const [A, B] = [u.type(from as CKind, 1), u.type(kind as CKind, 1)];
          return `${B} bits_${from}_${kind}(${A} x){union{${A} a;${B} b;}c={x};return c.b;}`;
        });
        return `${name}(${x})`;
      }
      case "fromMask":
        return lanes === 1
          ? this.scalar(args[0]!, "mask")
          : `-${this.mask(args[0]!, intOf(kind as CKind), lanes)}`;
      case "f16ToF32": {
        const raw = typeof args[0] === "object" && this.registers.isHalf(args[0]);
        return halfToFloat(u, lanes, this.value(args[0]!, "i32", lanes), raw);
      }
      case "f32ToF16":
        return floatToHalf(u, lanes, this.value(args[0]!, "f32", lanes), this.registers.isHalf(dst));
      case "copy":
      case "splat":
        return arg(0);
      case "iota":
        return lanes === 1 ? "0" : `(${this.ctype(dst)}){${list(lanes, (i) => i)}}`;
      case "extract": {
        const v = args[0] as Reg;
        return kind === "mask" ? `${this.name(v)}[${s.lane}]&1` : `${this.name(v)}[${s.lane}]`;
      }
      case "insert": {
        const x = kind === "mask" ? `-${this.scalar(args[1]!, "mask")}` : this.scalar(args[1]!, kind);
        const place = `${this.name(dst)}[${s.lane}]=${x}`;
        return args[0] === dst ? place : `${this.name(dst)}=${arg(0)};${place}`;
      }
      case "pack": {
        const lane = (i: number): string =>
          kind === "mask" ? `-${this.scalar(args[i]!, "mask")}` : this.scalar(args[i]!, kind);
        return lanes === 1 ? this.scalar(args[0]!, kind) : `(${this.ctype(dst)}){${list(lanes, lane)}}`;
      }
      case "shuffle": {
        const pick = s.pick ?? [];
        if (u.features.shuffle) return `__builtin_shufflevector(${arg(0)},${arg(1)},${pick.join(",")})`;
        const index = u.type(intOf(kind as CKind), lanes);
        return `__builtin_shuffle(${arg(0)},${arg(1)},(${index}){${pick.join(",")}})`;
      }
      case "half": {
        const v = args[0] as Reg;
        const first = s.lane! * lanes;
        if (u.features.shuffle && kind !== "mask")
          return `__builtin_shufflevector(${this.name(v)},${this.name(v)},${list(lanes, (i) => first + i)})`;
        return `(${this.ctype(dst)}){${list(lanes, (i) => `${this.name(v)}[${first + i}]`)}}`;
      }
      case "lookup":
        // The instruction takes an index by its lowest bits, as this builtin is defined.
        return `__builtin_shuffle(${arg(0)},${this.value(args[1]!, "i32", lanes)})`;
      case "dot4S":
      case "dot4U":
      case "dot2S":
      case "dot2B": {
        const word = (i: number): string => this.value(args[i]!, "i32", lanes);
        return `${dot(u, op, lanes)}(${word(0)},${word(1)},${arg(2)})`;
      }
      case "param":
        this.params.add(s.index!);
        return `p${s.index}`;
      case "programId":
        return "xyz"[s.index!]!;
      case "numPrograms":
        return `n${s.index}`;
    }
  }

  private integerExtreme(s: OpStmt, arg: (i: number) => string, uarg: (i: number) => string): string {
    const { kind, lanes } = s.dst.type;
    const u = this.u;
    const less = s.op.startsWith("min") ? "<" : ">";
    const unsigned = s.op.endsWith("U");
    if (lanes === 1)
      return `${unsigned ? `${uarg(0)}${less}${uarg(1)}` : `${arg(0)}${less}${arg(1)}`}?${arg(0)}:${arg(1)}`;
    const direct = unsigned ? undefined : integerExtremeOf(u, less === "<" ? "min" : "max", kind, lanes);
    if (direct) return direct(arg(0), arg(1));
    const name = `${s.op}_${kind}_${lanes}`;
    u.helper(name, () => {
      const T = u.type(kind as CKind, lanes);
      const read = unsigned ? `(${u.type(unsignedOf(kind as "i32" | "i64"), lanes)})` : "";
      return `${T} ${name}(${T} a,${T} b){${T} m=(${T})(${read}a${less}${read}b);return ${blend("m", "a", "b")};}`;
    });
    return `${name}(${arg(0)},${arg(1)})`;
  }

  private compare(s: OpStmt, kind: RegType["kind"]): string {
    const { op, dst, args } = s;
    const { lanes } = dst.type;
    const to = this.ckind(dst) as "i32" | "i64";
    if (kind === "mask") {
      const [a, b] = [this.mask(args[0]!, to, lanes), this.mask(args[1]!, to, lanes)];
      if (op !== "eq" && op !== "ne")
        throw new CompileError(`${this.form.name}: masks have no order (${op})`);
      return op === "ne" ? `${a}^${b}` : lanes === 1 ? `${a}==${b}` : `~(${a}^${b})`;
    }
    const unsigned = op.endsWith("U") && (kind === "i32" || kind === "i64");
    const read = unsigned ? `(${this.u.type(unsignedOf(kind), lanes)})` : "";
    const [a, b] = args.map((x) => read + this.value(x, kind, lanes));
    const text = `${a}${COMPARE[op]}${b}`;
    if (lanes === 1) return text;
    const own = intOf(kind);
    return convertLanes(this.u, own, to, lanes, `(${this.u.type(own, lanes)})(${text})`);
  }

  private reduceMask(op: "any" | "all", x: Operand): string {
    const lanes = typeof x === "object" ? x.type.lanes : 1;
    if (lanes === 1 || typeof x !== "object") return this.scalar(x, "mask");
    const kind = this.ckind(x);
    const bytes = bytesOf(kind) * lanes;
    const u = this.u;
    const name = `${op}_${bytes}`;
    u.helper(name, () => {
      const T = u.type(kind, lanes);
      const L = u.type("i64", 1);
      if (bytes === 8) return `int ${name}(${T} m){${L} w=(${L})m;return w${op === "any" ? "!=0" : "==-1"};}`;
      const W = u.type("i64", bytes / 8);
      if (u.features.x86 && (bytes === 32 || bytes === 16)) {
        const suffix = bytes === 32 ? "256" : "128";
        const test =
          op === "any"
            ? `!__builtin_ia32_ptestz${suffix}(w,w)`
            : `__builtin_ia32_ptestc${suffix}(w,(${W}){${list(bytes / 8, "-1")}})`;
        return `int ${name}(${W} w){return ${test};}`;
      }
      const joined = Array.from({ length: bytes / 8 }, (_, i) => `w[${i}]`).join(op === "any" ? "|" : "&");
      return `int ${name}(${W} w){return (${joined})${op === "any" ? "!=0" : "==-1"};}`;
    });
    return `${name}(${bytes === 8 ? "" : `(${u.type("i64", bytes / 8)})`}${this.name(x)})`;
  }

  // Memory -------------------------------------------------------------------------------------------------

  /** The address of an element, as a pointer to its memory kind. */
  private address(mem: Mem, kind: MemKind, at: Operand): string {
    const type = this.u.type(kind, 1);
    const index = typeof at === "object" ? this.name(at) : String(at);
    if ("frame" in mem) {
      this.usesFrame = true;
      return `((${type}*)(frame+${mem.frame})+${index})`;
    }
    const p = this.form.params[mem.param];
    if (p?.kind !== "buffer")
      throw new CompileError(`${this.form.name}: parameter ${mem.param} is not a buffer`);
    this.params.add(mem.param);
    return p.mem === kind ? `(p${mem.param}+${index})` : `((${type}*)p${mem.param}+${index})`;
  }

  private load(s: Extract<Stmt, { s: "load" }>): void {
    const { dst, kind } = s;
    const { lanes } = dst.type;
    const at = this.address(s.mem, kind, s.at);
    if (s.mask !== undefined) {
      const value = this.elements(dst.type, kind);
      const mask = this.mask(s.mask, intOf(value), lanes);
      const zero = Object.is(s.other, 0) || s.other === 0n;
      const other = zero ? undefined : this.value(s.other ?? 0, value, lanes);
      this.emit(`${this.name(dst)}=${loadMasked(this.u, value, lanes, at, mask, other)};`);
      return;
    }
    if (s.packed) {
      const type = this.u.unaligned("i32", lanes);
      this.emit(`${this.name(dst)}=*(${lanes === 1 ? "i32" : type}*)${at};`);
    } else if (this.registers.isHalf(dst)) {
      const value = lanes === 1 ? `*${at}` : `*(${this.u.unaligned("u16", lanes)}*)${at}`;
      this.emit(`${this.name(dst)}=${value};`);
    } else if (dst.type.kind === "mask") {
      const I = this.ckind(dst);
      const ints = loadVector(this.u, kind, "i32", lanes, at);
      const test = `${convertLanes(this.u, "i32", I, lanes, ints)}!=0`;
      this.emit(`${this.name(dst)}=${lanes === 1 ? test : `(${this.ctype(dst)})(${test})`};`);
    } else {
      this.emit(`${this.name(dst)}=${loadVector(this.u, kind, dst.type.kind, lanes, at)};`);
      // GCC would rather load a vector anew for each multiplication than keep it, and then waits for its loads.
      const fits = lanes * bytesOf(this.ckind(dst)) <= this.u.features.vectorBytes;
      if (this.u.features.x86wide && fits && this.registers.isShared(dst))
        this.emit(`__asm__("":"+v"(${this.name(dst)}));`);
    }
  }

  private store(s: Extract<Stmt, { s: "store" }>): void {
    const { kind, type } = s;
    const { lanes } = type;
    const at = this.address(s.mem, kind, s.at);
    if (s.mask !== undefined) {
      const value = this.elements(type, kind);
      const mask = this.mask(s.mask, intOf(value), lanes);
      this.emit(storeMasked(this.u, value, lanes, at, mask, this.value(s.value, value, lanes)));
      return;
    }
    if (s.stream && lanes > 1 && type.kind === kind && streamable(kind, lanes)) {
      this.streams = true;
      this.emit(`${streamVector(this.u, kind, lanes)}(${at},${this.value(s.value, kind, lanes)});`);
      return;
    }
    if (typeof s.value === "object" && this.registers.isHalf(s.value)) {
      const place = lanes === 1 ? `*${at}` : `*(${this.u.unaligned("u16", lanes)}*)${at}`;
      this.emit(`${place}=${this.name(s.value)};`);
      return;
    }
    const value =
      type.kind !== "mask"
        ? this.value(s.value, type.kind, lanes)
        : lanes === 1
          ? this.scalar(s.value, "mask")
          : `(-${this.mask(s.value, "i32", lanes)})`;
    this.emit(storeVector(this.u, kind, type.kind === "mask" ? "i32" : type.kind, lanes, at, value));
  }

  /** The element of a masked access. */
  private elements(type: RegType, kind: MemKind): "i32" | "i64" | "f32" | "f64" {
    if (type.lanes === 1 || type.kind === "mask" || type.kind !== kind)
      throw new CompileError(`${this.form.name}: no masked access of ${type.kind} in ${kind} memory`);
    return type.kind;
  }

  private atomic(s: Extract<Stmt, { s: "atomic" }>): void {
    const kind = s.dst.type.kind;
    if (kind === "mask" || (kind[0] === "f" && kind !== s.kind) || (kind[0] !== "f" && s.kind[0] === "f"))
      throw new CompileError(`${this.form.name}: no atomic on ${s.kind} memory with a ${kind} register`);
    const values = [s.value, ...(s.expected === undefined ? [] : [s.expected])].map((v) =>
      this.scalar(v, kind),
    );
    const call = atomic(this.u, s.op, s.kind, s.unsigned === true, this.address(s.mem, s.kind, s.at), values);
    this.emit(this.registers.isUsed(s.dst) ? `${this.name(s.dst)}=${call};` : `(void)${call};`);
  }
}
