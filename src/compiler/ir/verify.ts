// Checks that a function is well-formed IR. What an op's operands must be stands beside the op (`infer`).

import { DTYPES, is64, isDType, isInt } from "./dtype.js";
import { Block, type Func, Op, Value } from "./ir.js";
import { opDef } from "./ops/index.js";
import { printOp, showAttr } from "./print.js";
import { sameType, showType, type Type } from "./type.js";

/** Malformed IR: the message names the op and the reason. */
export class IrVerifyError extends Error {
  override name = "IrVerifyError";
  constructor(
    reason: string,
    readonly op?: Op,
  ) {
    super(op ? `${reason}, in: ${firstLine(op)}` : reason);
  }
}

function firstLine(op: Op): string {
  try {
    return printOp(op).split("\n")[0]!;
  } catch {
    return op.opcode;
  }
}

/** The terminator that ends each region of an op. */
const REGIONS: Readonly<Record<string, readonly string[]>> = {
  for: ["yield"],
  if: ["yield", "yield"],
  while: ["condition", "yield"],
};

/** Attributes that must be one of a few words. */
const WORDS: Readonly<Record<string, Readonly<Record<string, readonly (string | undefined)[]>>>> = {
  cmp: { pred: ["eq", "ne", "lt", "le", "gt", "ge"] },
  min: { nan: [undefined, "propagate", "ignore"] },
  max: { nan: [undefined, "propagate", "ignore"] },
  reduce: {
    kind: ["sum", "prod", "max", "min", "and", "or", "xor", "argmax", "argmin"],
    nan: [undefined, "propagate", "ignore"],
  },
  scan: { kind: ["sum", "prod", "max", "min"] },
  atomic: { kind: ["add", "max", "min", "and", "or", "xor", "xchg"] },
};

/**
 * Checks definitions before uses, types (inferred again), terminators, region arguments, power-of-two tiles,
 * use lists, and that buffers stand only where memory ops take them.
 *
 * @throws IrVerifyError
 */
export function verify(func: Func): void {
  if (func.body.parent !== func) throw new IrVerifyError(`the body of ${func.name} has another parent`);
  if (func.paramNames.length !== func.body.args.length)
    throw new IrVerifyError(
      `${func.name} has ${func.paramNames.length} parameter names for ${func.body.args.length} parameters`,
    );
  if (func.paramFacts && func.paramFacts.length !== func.body.args.length)
    throw new IrVerifyError(`${func.name} has facts for ${func.paramFacts.length} parameters only`);
  for (const [i, v] of func.body.args.entries())
    if (v.type.kind === "tile" && v.type.shape.length > 0)
      throw new IrVerifyError(`parameter ${func.paramNames[i]} is a tile: ${showType(v.type)}`);
  new Verifier().func(func);
}

class Verifier {
  private readonly visible = new Set<Value>();
  private readonly values: Value[] = [];
  private readonly ops = new Set<Op>();

  func(func: Func): void {
    this.block(func.body, undefined);
    for (const v of this.values)
      for (const user of v.uses)
        if (!this.ops.has(user) || !user.operands.includes(v))
          throw new IrVerifyError(
            `the use list of ${v.name ?? "a value"} names an op that does not use it`,
            user,
          );
  }

  private block(block: Block, terminator: string | undefined): void {
    const mine: Value[] = [];
    const define = (v: Value, def: Op | Block, op: Op | undefined) => {
      if (v.def !== def) throw new IrVerifyError("a value does not know what defines it", op);
      if (v.type.kind === "tile") checkTile(v.type, op);
      this.visible.add(v);
      mine.push(v);
      this.values.push(v);
    };
    for (const v of block.args) define(v, block, block.parent instanceof Op ? block.parent : undefined);
    for (const [i, op] of block.ops.entries()) {
      if (this.ops.has(op)) throw new IrVerifyError("an op stands in two places", op);
      this.ops.add(op);
      if (op.parent !== block) throw new IrVerifyError("an op does not know the block it stands in", op);
      this.op(op);
      const last = i === block.ops.length - 1;
      if (opDef(op.opcode).terminator) {
        if (!last) throw new IrVerifyError("a terminator stands before the end of its block", op);
        if (
          terminator === undefined
            ? op.opcode !== "yield" || op.operands.length > 0
            : op.opcode !== terminator
        )
          throw new IrVerifyError(`a block ends with ${op.opcode}, not ${terminator ?? "nothing"}`, op);
      }
      for (const v of op.results) define(v, op, op);
    }
    if (terminator !== undefined && block.terminator?.opcode !== terminator)
      throw new IrVerifyError(
        `a region must end with ${terminator}`,
        block.parent instanceof Op ? block.parent : undefined,
      );
    for (const v of mine) this.visible.delete(v);
  }

  private op(op: Op): void {
    const def = (() => {
      try {
        return opDef(op.opcode);
      } catch (e) {
        throw new IrVerifyError((e as Error).message, op);
      }
    })();
    for (const [i, v] of op.operands.entries()) {
      if (!(v instanceof Value)) throw new IrVerifyError(`operand ${i} is no value`, op);
      if (!this.visible.has(v)) throw new IrVerifyError(`operand ${i} is not defined before its use`, op);
      if (!v.uses.has(op)) throw new IrVerifyError(`operand ${i} does not know of this use`, op);
      if (v.type.kind === "buffer" && !(def.memory && i === 0))
        throw new IrVerifyError("a buffer is only operand 0 of an op on memory", op);
    }
    const [least, most] =
      typeof def.arity === "number" ? [def.arity, def.arity] : (def.arity ?? [0, Number.POSITIVE_INFINITY]);
    if (op.operands.length < least || op.operands.length > most)
      throw new IrVerifyError(
        `${op.opcode} takes ${least === most ? least : `${least} to ${most}`} operands, not ${op.operands.length}`,
        op,
      );
    const ends = REGIONS[op.opcode] ?? [];
    if (op.regions.length !== ends.length)
      throw new IrVerifyError(`${op.opcode} has ${op.regions.length} regions, not ${ends.length}`, op);
    checkAttrs(op);
    for (const [i, region] of op.regions.entries()) {
      if (!(region instanceof Block) || region.parent !== op)
        throw new IrVerifyError(`region ${i} has another parent`, op);
      for (const v of region.args)
        if (v.type.kind === "buffer") throw new IrVerifyError("buffers are not carried into regions", op);
      this.block(region, ends[i]!);
    }
    let types: Type[];
    try {
      types = def.infer(
        op.operands.map((v) => v.type),
        op.attrs,
        op.regions,
      );
    } catch (e) {
      throw new IrVerifyError((e as Error).message, op);
    }
    if (types.length !== op.results.length)
      throw new IrVerifyError(`${op.opcode} makes ${types.length} results, not ${op.results.length}`, op);
    for (const [i, v] of op.results.entries()) {
      if (v.type.kind !== "tile") throw new IrVerifyError("no op makes a buffer", op);
      if (!sameType(v.type, types[i]!))
        throw new IrVerifyError(
          `result ${i} is ${showType(v.type)}, but ${op.opcode} makes ${showType(types[i]!)}`,
          op,
        );
    }
  }
}

function checkTile(t: Type, op: Op | undefined): void {
  if (!isDType(t.dtype)) throw new IrVerifyError(`${String(t.dtype)} is no dtype`, op);
  if (t.kind === "buffer") return;
  for (const d of t.shape)
    if (!Number.isSafeInteger(d) || d < 1 || d > 2 ** 30 || (d & (d - 1)) !== 0)
      throw new IrVerifyError(`the dimensions of a tile are powers of two: ${showType(t)}`, op);
}

function checkAttrs(op: Op): void {
  const wrong = (key: string, want: string): never => {
    const got = op.attrs[key];
    throw new IrVerifyError(
      `${op.opcode}: {${key}} must be ${want}, not ${got === undefined ? "missing" : showAttr(got)}`,
      op,
    );
  };
  for (const [key, words] of Object.entries(WORDS[op.opcode] ?? {}))
    if (!words.includes(op.attrs[key] as string | undefined))
      wrong(key, `one of ${words.filter(Boolean).join(", ")}`);
  const { shape } = op.attrs;
  const shaped = ["splat", "broadcast", "reshape"].includes(op.opcode);
  if (shape === undefined ? shaped : !Array.isArray(shape)) wrong("shape", "a list of numbers");
  // Atomics have an `order` too: a word.
  if (op.opcode === "permute" && !Array.isArray(op.attrs["order"])) wrong("order", "a list of numbers");
  for (const key of ["axis", "start", "end"]) {
    const a = op.attrs[key];
    const needed =
      key === "axis" ? ["expandDims", "reduce", "scan", "sort"].includes(op.opcode) : op.opcode === "arange";
    if (a === undefined ? needed : !Number.isSafeInteger(a)) wrong(key, "an integer");
  }
  if (["cast", "bitcast", "const"].includes(op.opcode) && !isDType(String(op.attrs["dtype"])))
    wrong("dtype", "a dtype");
  if (op.opcode !== "const") return;
  const dtype = op.attrs["dtype"] as keyof typeof DTYPES;
  const value = op.attrs["value"];
  if (isInt(dtype) && is64(dtype)) {
    if (typeof value !== "bigint") wrong("value", "a bigint");
  } else if (typeof value !== "number" || (DTYPES[dtype].kind !== "float" && !Number.isInteger(value)))
    wrong("value", isInt(dtype) ? "an integer" : "a number");
}
