// The copy engine of 9.0 (PTX ISA, "cp.async.bulk.tensor" and "mbarrier"): the statements of blocks that it brings as PTX, and the
// tensor maps that tell it where their rows are. A map has the columns of a block, its rows, and pieces of 16 bytes through the whole
// buffer, where a block begins: so one map serves every block, and what a mask cuts off lies beyond the last column or row. So that it
// can, a map begins in front of its buffer, perhaps where there is no memory. That is not touched, except for blocks of which nothing
// lies inside: the engine looks at the map's beginning then, and these have a map that begins with the buffer.

import type { BlockMap, Stmt } from "../../compiler/lower/simt/form.js";
import type { CudaApi } from "./cuda.js";
import { addressOf, type Bases, guard } from "./memory-ops.js";
import type { PtxUnit } from "./unit.js";

type Of<S extends Stmt["s"]> = Extract<Stmt, { s: S }>;

export function printBarrier(u: PtxUnit, bases: Bases, s: Of<"bulkBarrier">): void {
  const under = guard(u, s.mask);
  const { text } = addressOf(u, bases, s.place);
  u.emit(`${under}mbarrier.init.shared.b64 ${text}, ${s.count};`);
  u.emit(`${under}fence.mbarrier_init.release.cluster;`);
}

export function printArrive(u: PtxUnit, bases: Bases, s: Of<"bulkArrive">): void {
  const under = guard(u, s.mask);
  const { text } = addressOf(u, bases, s.place);
  u.emit(`${under}mbarrier.arrive.shared.b64 _, ${text};`);
}

export function printExpect(u: PtxUnit, bases: Bases, s: Of<"bulkExpect">): void {
  const under = guard(u, s.mask);
  const { text } = addressOf(u, bases, s.place);
  const bytes = u.register(s.bytes, "i32");
  u.emit(`${under}mbarrier.arrive.expect_tx.shared.b64 _, ${text}, ${bytes};`);
}

export function printBulkCopy(u: PtxUnit, bases: Bases, s: Of<"bulkCopy">): void {
  const under = guard(u, s.mask);
  if (under === undefined) return;
  const [to, barrier] = [addressOf(u, bases, s.to), addressOf(u, bases, s.barrier)];
  const from = s.from.map((x) => u.register(x, "i32")).join(", ");
  let map = bases.map(s.map);
  if (s.empty) {
    const chosen = u.temp("i64");
    u.emit(`selp.b64 ${chosen}, ${bases.map(s.empty.map)}, ${map}, ${u.operand(s.empty.test, "mask")};`);
    map = chosen;
  }
  u.emit(
    `${under}cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes ${to.text}, [${map}, {${from}}], ${barrier.text};`,
  );
}

export function printBulkWait(u: PtxUnit, bases: Bases, s: Of<"bulkWait">): void {
  const { text } = addressOf(u, bases, s.place);
  const parity = u.register(s.parity, "i32");
  const [again, done] = [u.newLabel("wait"), u.temp("mask")];
  u.label(again);
  u.emit(`mbarrier.try_wait.parity.shared.b64 ${done}, ${text}, ${parity};`);
  u.emit(`@!${done} bra ${again};`);
}

/** Bytes of a tensor map (CUtensorMap); it stands at a multiple of 64. */
export const MAP_BYTES = 128;

/** CUtensorMapDataType: 16 bits. Copies move bits. */
const UINT16 = 1;
/** CUtensorMapSwizzle: pieces of 16 bytes are permuted within 128. */
const SWIZZLE_128 = 3;
/** CUtensorMapL2promotion: 256 bytes. */
const PROMOTE_256 = 3;
/** Elements of a row of a block, and of the pieces that count where a block begins. */
const [ROW, PIECE] = [64, 8];

const [sizes, strides] = [new BigInt64Array(3), new BigInt64Array(2)];
const [box, ones] = [new Int32Array(3), Int32Array.of(1, 1, 1)];

/** Makes the map of a buffer whose first element is at `address`, with rows `step` elements apart; the call's status. */
export function encodeMap(
  api: CudaApi,
  to: Uint8Array,
  map: BlockMap,
  address: number,
  step: number,
): number {
  sizes[0] = BigInt(ROW);
  sizes[1] = BigInt(map.rows);
  sizes[2] = 2n ** 31n;
  strides[0] = BigInt(step * 2);
  strides[1] = BigInt(PIECE * 2);
  box[0] = ROW;
  box[1] = map.rows;
  box[2] = 1;
  const first = map.empty ? address : address - 2 * (ROW + map.rows * step);
  return api.cuTensorMapEncodeTiled(to, UINT16, 3, first, sizes, strides, box, ones, 0, SWIZZLE_128, PROMOTE_256, 0); // biome-ignore format: one call
}
