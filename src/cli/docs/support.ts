// Which dtypes an operator takes, found by calling it: one of PyTorch's samples for it, its tensors converted to each
// dtype in turn, on the interpreter. The answers are kept in `support-table.ts`, so that nobody has to wait for them.

import { loadedChip } from "../../runtime/registry.js";
import { scope } from "../../runtime/scope.js";
import { ArgumentError } from "../../tensor/bind.js";
import {
  bindByName,
  callOperator,
  decode,
  encode,
  inferenceMode,
  operators,
  type OperatorInfo,
  type OpInfoEntry,
  parseDType,
  Tensor,
  tensor,
  TENSOR_DTYPES,
  type DType,
} from "../../tensor/index.js";
import { type Case, type Json, type SampleSet, type StoredTensor, readSampleSet } from "../opinfo/read.js";
import { ValueReader } from "../opinfo/values.js";

/** For each dtype, in the order of TENSOR_DTYPES: null where the operator runs, else why not. */
export type Support = readonly (string | null)[];

/** A set in which tensors of one dtype have another. */
function converted(set: SampleSet, from: DType, to: DType): SampleSet {
  return {
    cases: set.cases,
    tensor(key): StoredTensor {
      const t = set.tensor(key);
      if (t.dtype !== from || from === to) return t;
      return { dtype: to, shape: t.shape, bytes: encode(decode(t.bytes.slice(), from), to) };
    },
  };
}

/** Whether a call was one for another operator of the same name. */
const OTHER = Symbol("other");

/** The samples that an operator serves; one that writes in place takes those of the form that does not. */
function entriesOf(op: OperatorInfo): readonly OpInfoEntry[] {
  if (op.opinfo.length > 0 || op.writes.length === 0) return op.opinfo;
  return operators().get(op.name.replace(/_(?=\.|$)/, ""))?.opinfo ?? [];
}

async function call(op: OperatorInfo, c: Case, set: SampleSet): Promise<unknown> {
  const reader = new ValueReader(set, "interpreter");
  const entry = entriesOf(op).find((e) => e.op === c.op && (e.variant ?? "") === (c.variant ?? ""))!;
  const input = reader.read(plain(c.input));
  const args = c.args.map((v) => reader.read(plain(v)));
  const kwargs = Object.fromEntries(
    Object.entries(c.kwargs).map(([k, v]) => [k, k === "device" ? "interpreter" : reader.read(plain(v))]),
  );
  try {
    if (entry.adapt) {
      const adapted = await entry.adapt(input, args, kwargs);
      return adapted === undefined ? OTHER : await callOperator(op.name, ...adapted);
    }
    return await bindByName(op, input, args, kwargs);
  } catch (error) {
    if (error instanceof ArgumentError) return OTHER;
    throw error;
  }
}

/** A value without the wish for gradients. */
function plain(v: Json): Json {
  if (Array.isArray(v)) return v.map(plain) as unknown as Json;
  if (typeof v !== "object" || v === null) return v;
  const out: Record<string, unknown> = {};
  for (const [k, x] of Object.entries(v)) if (k !== "requires_grad") out[k] = plain(x as Json);
  return out;
}

/** Messages as they read for any shape and any operator. */
function reason(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text
    .split("\n")[0]!
    .replace(/\[[\d, ]*\]/g, "[…]")
    .slice(0, 160);
}

/** Finds out for one operator; null where there is nothing to try it with. */
export async function probe(op: OperatorInfo, set: SampleSet): Promise<Support | null> {
  const mine = set.cases.filter((c) =>
    entriesOf(op).some((e) => e.op === c.op && (e.variant ?? "") === (c.variant ?? "")),
  );
  const order = ["float32", "int64", "bool"];
  const rank = (c: Case): number => (order.indexOf(c.dtype) + 4) % 4;
  const run = (c: Case, to: DType): Promise<unknown> =>
    scope(() =>
      inferenceMode(async () => {
        const from = parseDType(c.dtype)!;
        const result = await call(op, c, converted(set, from, to));
        for (const t of (Array.isArray(result) ? result : [result]) as unknown[])
          if (t instanceof Tensor) await t.bytes();
        return result === OTHER ? OTHER : true;
      }),
    );
  for (const c of mine.sort((a, b) => rank(a) - rank(b))) {
    try {
      if ((await run(c, parseDType(c.dtype)!)) === OTHER) continue;
    } catch {
      continue;
    }
    const out: (string | null)[] = [];
    for (const dtype of TENSOR_DTYPES) {
      try {
        const result = await run(c, dtype);
        out.push(result === OTHER ? "the arguments do not fit" : null);
      } catch (error) {
        out.push(reason(error));
      }
    }
    return out;
  }
  return op.samples === undefined ? null : trySamples(op);
}

/** With the operator's own samples: lists of arguments whose f32 tensors are converted. */
async function trySamples(op: OperatorInfo): Promise<Support | null> {
  const args = op.samples!()[0];
  if (args === undefined) return null;
  const out: (string | null)[] = [];
  for (const dtype of TENSOR_DTYPES) {
    const as = async (v: unknown): Promise<unknown> =>
      Array.isArray(v)
        ? Promise.all(v.map(as))
        : v instanceof Tensor && v.dtype === "f32"
          ? tensor(Array.from(await v.data(), Number), { shape: v.shape, dtype, device: v.device })
          : v;
    try {
      await callOperator(op.name, ...((await as(args)) as unknown[]));
      out.push(null);
    } catch (error) {
      out.push(reason(error));
    }
  }
  return out;
}

/** All operators of the table, or some. The interpreter must be the default chip. */
export async function probeAll(
  prefix: string,
  wanted: (op: OperatorInfo) => boolean = () => true,
): Promise<Map<string, Support | null>> {
  loadedChip("interpreter");
  const set = readSampleSet(prefix);
  const out = new Map<string, Support | null>();
  for (const op of operators().values()) if (wanted(op)) out.set(op.name, await probe(op, set));
  return out;
}
