// Copies from one GPU's memory to another's, in both streams' order. Where the GPUs can reach each other the bytes go straight;
// elsewhere the driver takes them through the host.

import type { CudaContext } from "./context.js";

/** CUmemLocationType DEVICE and CUmemAccess_flags PROT_READWRITE. */
const [DEVICE, READ_WRITE] = [1, 3];
const ALREADY_ENABLED = 704;

/** Which GPUs may touch a GPU's memory, by context. */
const opened = new WeakMap<CudaContext, Set<CudaContext>>();

/** Lets `reader` touch the memory of `owner`, where the hardware can. */
function open(owner: CudaContext, reader: CudaContext): void {
  const readers = opened.get(owner) ?? new Set();
  opened.set(owner, readers);
  if (readers.has(reader)) return;
  readers.add(reader);
  const { api } = reader;
  const can = new Int32Array(1);
  const [mine, theirs] = [reader.device, owner.device];
  reader.check(api.cuDeviceCanAccessPeer(can, mine.handle, theirs.handle), "ask for access between GPUs");
  if (can[0] !== 1) return;
  reader.enter();
  const status = api.cuCtxEnablePeerAccess(owner.handle, 0);
  if (status !== ALREADY_ENABLED) reader.check(status, "allow access between GPUs");
  if (theirs.memoryPools !== 1) return;
  // Memory out of a pool has an access list of its own.
  const pool = owner.out((o) => api.cuDeviceGetDefaultMemPool(o, theirs.handle), "find the memory pool");
  const access = new Int32Array([DEVICE, mine.handle, READ_WRITE]);
  owner.check(api.cuMemPoolSetAccess(pool, access, 1), "allow access between GPUs");
}

/** Enqueues the copy behind everything that both GPUs have to do, and before what they get to do from now on. */
export function copyBetween(
  from: CudaContext,
  source: number,
  to: CudaContext,
  target: number,
  bytes: number,
): void {
  if (bytes === 0) return;
  const { api } = to;
  if (from.device.handle !== to.device.handle) {
    open(from, to);
    open(to, from);
  }
  const what = `copy from ${from.device.name} ${from.device.ordinal} to ${to.device.ordinal}`;
  from.enter();
  const made = from.record();
  to.enter();
  to.check(api.cuStreamWaitEvent(to.stream, made, 0), what);
  to.check(api.cuMemcpyPeerAsync(target, to.handle, source, from.handle, bytes, to.stream), what);
  const done = to.record();
  from.enter();
  from.check(api.cuStreamWaitEvent(from.stream, done, 0), what);
  // A wait looks at what is recorded when it is enqueued, so both events are free for the next record.
  from.release(made);
  to.release(done);
}
