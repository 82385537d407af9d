// Loads and stores of one vector (or one scalar) of elements: contiguous, masked, or lane by lane.
// What the offsets and masks are is decided by the caller.

import { type DType, isNarrowFloat } from "../../ir/index.js";
import { type Emitter, isReg } from "./emit.js";
import type { Mem, Operand, Reg, RegKind } from "./form.js";
import type { Cell } from "./frame.js";
import { fromNarrowBits, toNarrowBits } from "./narrow.js";
import { frameKind, memKind, regKind } from "./kinds.js";

/** Where a vector's elements stand. */
export type Place =
  /** Consecutive from `at`. */
  | { readonly kind: "run"; readonly at: Operand }
  /** Lane by lane; `at(k)` may emit the offset of lane `k`. */
  | { readonly kind: "lanes"; readonly at: (lane: number) => Operand };

/** Elements of `dtype` as they are in a buffer, from `at` on. */
export function loadRun(e: Emitter, d: DType, mem: Mem, at: Operand, lanes: number): Operand {
  if (d === "bool") return e.op("ne", "mask", lanes, [e.load("i32", lanes, mem, "u8", at), 0]);
  if (isNarrowFloat(d)) return fromNarrowBits(e, d, e.load("i32", lanes, mem, memKind(d), at), lanes);
  return e.load(regKind(d), lanes, mem, memKind(d), at);
}

/** `stream`: see the form's store. */
export function storeRun(
  e: Emitter,
  d: DType,
  mem: Mem,
  at: Operand,
  x: Operand,
  lanes: number,
  stream = false,
): void {
  const how = stream && lanes > 1 ? { stream } : undefined;
  if (d === "bool") e.store("i32", lanes, mem, "u8", at, e.op("fromMask", "i32", lanes, [x]), how);
  else if (isNarrowFloat(d)) e.store("i32", lanes, mem, memKind(d), at, toNarrowBits(e, d, x, lanes), how);
  else e.store(regKind(d), lanes, mem, memKind(d), at, x, how);
}

/** A register that starts with a value and may be assigned again. */
function variable(e: Emitter, kind: RegKind, lanes: number, x: Operand): Reg {
  const r = e.reg(kind, lanes);
  e.assign(r, x);
  return r;
}

/** Loads under a mask; lanes that are off get `other` and are not read. */
export function loadMasked(
  e: Emitter,
  d: DType,
  mem: Mem,
  place: Place,
  mask: Operand,
  other: Operand,
  lanes: number,
): Operand {
  if (!isReg(mask)) {
    if (!Number(mask)) return other;
    return place.kind === "run" ? loadRun(e, d, mem, place.at, lanes) : gather(e, d, mem, place, lanes);
  }
  if (lanes > 1 && place.kind === "run" && e.canMask(memKind(d)))
    return e.load(regKind(d), lanes, mem, memKind(d), place.at, { mask, other: e.splat(other, lanes) });
  const r = variable(e, regKind(d), lanes, other);
  if (lanes === 1) {
    e.when(mask, () => e.assign(r, loadRun(e, d, mem, atLane(e, place, 0), 1)));
    return r;
  }
  const each = (): void => {
    for (let k = 0; k < lanes; k++)
      e.when(e.extract(mask, "mask", k), () => insert(e, r, loadRun(e, d, mem, atLane(e, place, k), 1), k));
  };
  const some = (): void => e.when(e.op("any", "mask", 1, [mask]), each);
  if (place.kind === "run")
    e.when(e.op("all", "mask", 1, [mask]), () => e.assign(r, loadRun(e, d, mem, place.at, lanes)), some);
  else some();
  return r;
}

/** Stores under a mask. */
export function storeMasked(
  e: Emitter,
  d: DType,
  mem: Mem,
  place: Place,
  mask: Operand,
  x: Operand,
  lanes: number,
  stream = false,
): void {
  const kind = regKind(d);
  const each = (): void => {
    for (let k = 0; k < lanes; k++)
      e.when(e.extract(mask, "mask", k), () =>
        storeRun(e, d, mem, atLane(e, place, k), e.extract(x, kind, k), 1),
      );
  };
  if (place.kind === "lanes" || lanes === 1) {
    if (lanes > 1 && isReg(mask)) e.when(e.op("any", "mask", 1, [mask]), each);
    else each();
    return;
  }
  const whole = (): void => storeRun(e, d, mem, place.at, x, lanes, stream);
  if (!isReg(mask)) {
    if (Number(mask)) whole();
    return;
  }
  const some = (): void =>
    e.canMask(memKind(d))
      ? e.store(kind, lanes, mem, memKind(d), place.at, x, { mask })
      : e.when(e.op("any", "mask", 1, [mask]), each);
  // A masked store may be much slower than a plain one.
  e.when(e.op("all", "mask", 1, [mask]), whole, some);
}

/** The first `count` lanes (all, some or none) of a vector from consecutive elements; the others get `other`. */
export function loadPrefix(
  e: Emitter,
  d: DType,
  mem: Mem,
  at: Operand,
  count: Operand,
  other: Operand,
  lanes: number,
  spare: Mem,
): Operand {
  const kind = regKind(d);
  const r = e.reg(kind, lanes);
  e.when(
    e.op("geS", "mask", 1, [count, lanes]),
    () => e.assign(r, loadRun(e, d, mem, at, lanes)),
    () => {
      frameStore(e, kind, spare, 0, other, lanes);
      e.loop(0, count, 1, (k) => frameStore(e, kind, spare, k, loadRun(e, d, mem, plus(e, at, k), 1), 1));
      e.assign(r, frameLoad(e, kind, spare, 0, lanes));
    },
  );
  return r;
}

/** Stores the first `count` lanes (all, some or none) of a vector to consecutive elements. */
export function storePrefix(
  e: Emitter,
  d: DType,
  mem: Mem,
  at: Operand,
  count: Operand,
  x: Operand,
  lanes: number,
  spare: Mem,
  stream = false,
): void {
  const kind = regKind(d);
  e.when(
    e.op("geS", "mask", 1, [count, lanes]),
    () => storeRun(e, d, mem, at, x, lanes, stream),
    () => {
      frameStore(e, kind, spare, 0, x, lanes);
      e.loop(0, count, 1, (k) => storeRun(e, d, mem, plus(e, at, k), frameLoad(e, kind, spare, k, 1), 1));
    },
  );
}

/** Elements in their register kind, in the frame. */
export function frameStore(
  e: Emitter,
  kind: RegKind,
  mem: Mem,
  at: Operand,
  x: Operand,
  lanes: number,
): void {
  if (kind === "mask") e.store("i32", lanes, mem, "u8", at, e.op("fromMask", "i32", lanes, [x]));
  else e.store(kind, lanes, mem, frameKind(kind), at, x);
}

export function frameLoad(e: Emitter, kind: RegKind, mem: Mem, at: Operand, lanes: number): Operand {
  if (kind === "mask") return e.op("ne", "mask", lanes, [e.load("i32", lanes, mem, "u8", at), 0]);
  return e.load(kind, lanes, mem, frameKind(kind), at);
}

/** Elements of a cell as it stores them. */
export function cellStore(e: Emitter, cell: Cell, mem: Mem, at: Operand, x: Operand, lanes: number): void {
  if (cell.narrow) storeRun(e, cell.narrow, mem, at, x, lanes);
  else frameStore(e, cell.kind, mem, at, x, lanes);
}

export function cellLoad(e: Emitter, cell: Cell, mem: Mem, at: Operand, lanes: number): Operand {
  return cell.narrow ? loadRun(e, cell.narrow, mem, at, lanes) : frameLoad(e, cell.kind, mem, at, lanes);
}

/** `at + k`, where `k` is an i32. */
function plus(e: Emitter, at: Operand, k: Operand): Operand {
  const wide = typeof at === "bigint" || (isReg(at) && at.type.kind === "i64");
  return wide ? e.op("add", "i64", 1, [at, e.op("convertS", "i64", 1, [k])]) : e.op("add", "i32", 1, [at, k]);
}

function atLane(e: Emitter, place: Place, lane: number): Operand {
  if (place.kind === "lanes") return place.at(lane);
  if (lane === 0) return place.at;
  const kind = isReg(place.at) && place.at.type.kind === "i64" ? "i64" : "i32";
  return e.op("add", kind, 1, [place.at, kind === "i64" ? BigInt(lane) : lane]);
}

/** Puts a scalar into a lane of a variable. */
export function insert(e: Emitter, into: Reg, x: Operand, lane: number): void {
  if (into.type.lanes === 1) e.assign(into, x);
  else e.out.push({ s: "op", op: "insert", dst: into, args: [into, x], lane });
}

function gather(e: Emitter, d: DType, mem: Mem, place: Place, lanes: number): Operand {
  return pack(e, regKind(d), lanes, (k) => loadRun(e, d, mem, atLane(e, place, k), 1));
}

/** A vector of separate scalars. */
export function pack(e: Emitter, kind: RegKind, lanes: number, lane: (k: number) => Operand): Operand {
  if (lanes === 1) return lane(0);
  return e.op(
    "pack",
    kind,
    lanes,
    Array.from({ length: lanes }, (_, k) => lane(k)),
  );
}
