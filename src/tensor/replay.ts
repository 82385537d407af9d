// Operator calls that were made before, made again. What an operator does on the host follows from the layouts of its
// tensors and from its other arguments: which memory it takes, which kernels it launches with which numbers. The first call
// of a kind is written down as a plan; later ones take the memory and launch, and skip all that led there.
//
// Only operators that say so are replayed (`replay` of their declaration), and only calls of which the record tells all:
// new tensors come out, nothing is written in place, no host data is written on the way.

import { DTYPES, type DType } from "../compiler/ir/index.js";
import type { Chip, DeviceBuffer, Executable } from "../runtime/driver.js";
import { observers } from "../runtime/observe.js";
import { recorder, recordWork, settings, type WorkRecorder } from "../runtime/recording.js";
import { allocate, type Storage } from "../runtime/storage.js";
import { sameShape } from "./layout.js";
import { Tensor } from "./tensor.js";

/** More plans than this are calls that do not come back: start anew. */
const MOST_PLANS = 256;
/** Calls in a row without a plan after which only every so many-th is written down. */
const PATIENCE = 64;
const RARELY = 16;
/** Larger memory may need 64-bit offsets, which plans do not decide. */
const MOST_BYTES = 2 ** 31;
/** Code is compiled for addresses that are a multiple of this, or not. */
const ALIGNMENT = 16;

const misaligned = (t: Tensor): number => (t.offset * DTYPES[t.dtype].bytes) % ALIGNMENT;

/** What a plan wants a tensor argument to be. */
class Layout {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly dtype: DType;
  readonly chip: Chip;
  readonly misaligned: number;

  constructor(t: Tensor) {
    this.shape = t.shape;
    this.strides = t.strides;
    this.dtype = t.dtype;
    this.chip = t.storage.chip;
    this.misaligned = misaligned(t);
  }

  fits(t: Tensor): boolean {
    const { storage } = t;
    return (
      t.dtype === this.dtype &&
      storage.chip === this.chip &&
      (t.shape === this.shape || sameShape(t.shape, this.shape)) &&
      (t.strides === this.strides || sameShape(t.strides, this.strides)) &&
      (t.offset === 0 ? this.misaligned === 0 : misaligned(t) === this.misaligned) &&
      storage.bytes < MOST_BYTES &&
      !storage.disposed
    );
  }
}

/** One step of a plan: memory taken, memory given back, or a launch. */
type Step =
  | { readonly kind: "take"; readonly at: number; readonly bytes: number }
  | { readonly kind: "give"; readonly at: number }
  | Launch;

interface Launch {
  readonly kind: "launch";
  readonly exe: Executable;
  readonly grid: readonly [number, number, number];
  /** Numbers stay; buffers and their offsets are filled in for each call. */
  readonly values: (DeviceBuffer | number | bigint)[];
  readonly offsets: number[];
  /** For each parameter that is a buffer: where it stands, whose it is, and how far behind the owner's first element it begins. */
  readonly buffers: readonly { readonly slot: number; readonly owner: number; readonly ahead: number }[];
}

/** An owner of memory: argument `i` as `i`, memory that the call took as `~i`. */
const isArgument = (owner: number): boolean => owner >= 0;

/** A tensor that comes out of a call. */
interface Result {
  readonly at: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
  readonly dtype: DType;
}

interface Work {
  readonly chip: Chip;
  readonly steps: readonly Step[];
  readonly results: readonly Result[];
  /** The operator gives one tensor, not a list. */
  readonly single: boolean;
  /** The memory that a call has taken, by number; empty between calls. */
  readonly taken: (Storage | undefined)[];
}

/** What calls of one kind do; `null` where the record does not tell all. */
class Plan {
  readonly settings = settings;
  readonly work: Work | null;
  /** A layout for each tensor; everything else itself. */
  private readonly wanted: readonly unknown[];
  /** For each argument an earlier one that is the same tensor, or -1. */
  private readonly twin: readonly number[];

  constructor(args: readonly unknown[], work: Work | null) {
    this.work = work;
    this.wanted = args.map((v) => (v instanceof Tensor ? new Layout(v) : Array.isArray(v) ? v.slice() : v));
    this.twin = args.map((v, i) => {
      const first = v instanceof Tensor ? args.indexOf(v) : i;
      return first < i ? first : -1;
    });
  }

  matches(args: readonly unknown[]): boolean {
    const { wanted, twin } = this;
    if (args.length !== wanted.length || this.settings !== settings) return false;
    for (let i = 0; i < wanted.length; i++) {
      const want = wanted[i];
      const v = args[i];
      if (want instanceof Layout) {
        if (!(v instanceof Tensor && want.fits(v))) return false;
        if (twin[i]! >= 0 && args[twin[i]!] !== v) return false;
      } else if (!Object.is(want, v) && !sameList(want, v)) return false;
    }
    return true;
  }
}

/** Whether both are lists of the same numbers. */
function sameList(a: unknown, b: unknown): boolean {
  if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) return false;
  return true;
}

/** Whether plans can tell calls apart by this argument. */
function isPlain(v: unknown): boolean {
  if (Array.isArray(v)) return v.every((x) => typeof x === "number" || typeof x === "boolean");
  if (v instanceof Tensor) return v.storage.bytes < MOST_BYTES;
  return v === null || (typeof v !== "object" && typeof v !== "function");
}

function hash(args: readonly unknown[]): number {
  let h = args.length;
  for (let i = 0; i < args.length; i++) {
    const v = args[i];
    if (v instanceof Tensor) {
      const { shape, strides } = v;
      h = (Math.imul(h, 31) + shape.length) | 0;
      for (let d = 0; d < shape.length; d++)
        h = (Math.imul(Math.imul(h, 31) + shape[d]!, 31) + strides[d]!) | 0;
    } else h = (Math.imul(h, 31) + (typeof v === "number" ? v | 0 : 7)) | 0;
  }
  // Maps keep integers of 31 bits without allocating.
  return h >> 1;
}

/** Does what a plan says for these arguments. */
function replay(work: Work, args: readonly unknown[]): unknown {
  const { steps, taken, chip, results } = work;
  for (let i = 0; i < steps.length; i++) {
    const step = steps[i]!;
    if (step.kind === "take") taken[step.at] = allocate(chip, step.bytes);
    else if (step.kind === "give") taken[step.at]!.dispose();
    else {
      const { values, offsets, buffers, grid } = step;
      for (let k = 0; k < buffers.length; k++) {
        const { slot, owner, ahead } = buffers[k]!;
        if (isArgument(owner)) {
          const t = args[owner] as Tensor;
          values[slot] = t.storage.buffer;
          offsets[slot] = t.offset + ahead;
        } else values[slot] = taken[~owner]!.buffer;
      }
      chip.driver.launch(step.exe, grid[0], grid[1], grid[2], values, offsets);
    }
  }
  const out = work.single ? make(results[0]!, taken) : results.map((r) => make(r, taken));
  // Plans outlive calls; their tensors must not.
  for (let i = 0; i < taken.length; i++) taken[i] = undefined;
  return out;
}

function make(r: Result, taken: readonly (Storage | undefined)[]): Tensor {
  const storage = taken[r.at]!;
  return new Tensor({ storage, shape: r.shape, strides: r.strides, offset: r.offset, dtype: r.dtype });
}

/** Writes down one call. */
class Writer implements WorkRecorder {
  private readonly steps: Step[] = [];
  private readonly taken: Storage[] = [];
  private readonly owners = new Map<DeviceBuffer, number>();
  private complete = true;

  constructor(
    private readonly args: readonly unknown[],
    private readonly chip: Chip,
  ) {
    args.forEach((v, i) => {
      if (!(v instanceof Tensor) || args.indexOf(v) < i || v.storage.disposed) return;
      // Two views of one memory: which of them a launch gets cannot be told from the buffer.
      if (this.owners.has(v.buffer)) this.complete = false;
      this.owners.set(v.buffer, i);
    });
  }

  allocated(storage: Storage): void {
    if (storage.chip !== this.chip) this.complete = false;
    this.owners.set(storage.buffer, ~this.taken.length);
    this.steps.push({ kind: "take", at: this.taken.length, bytes: storage.bytes });
    this.taken.push(storage);
  }

  freed(storage: Storage): void {
    const at = this.taken.indexOf(storage);
    if (at < 0) this.complete = false;
    else this.steps.push({ kind: "give", at });
  }

  launched(
    chip: Chip,
    exe: Executable,
    grid: readonly [number, number, number],
    values: readonly (DeviceBuffer | number | bigint)[],
    offsets: readonly number[],
  ): void {
    if (chip !== this.chip) this.complete = false;
    const buffers: Launch["buffers"][number][] = [];
    values.forEach((v, slot) => {
      if (typeof v !== "object") return;
      const owner = this.owners.get(v);
      if (owner === undefined) this.complete = false;
      else {
        const from = isArgument(owner) ? (this.args[owner] as Tensor).offset : 0;
        buffers.push({ slot, owner, ahead: offsets[slot]! - from });
      }
    });
    this.steps.push({
      kind: "launch",
      exe,
      grid,
      values: values.slice(),
      offsets: offsets.slice(),
      buffers,
    });
  }

  refuse(): void {
    this.complete = false;
  }

  /** The plan that gives such results; `null` if the record does not tell all. */
  finish(result: unknown): Work | null {
    const list: readonly unknown[] = Array.isArray(result) ? result : [result];
    const results = list.map((t) => this.resultOf(t));
    const storages = new Set(results.map((r) => r?.at));
    if (!this.complete || storages.has(undefined) || storages.size < results.length) return null;
    return {
      chip: this.chip,
      steps: this.steps,
      results: results as Result[],
      single: !Array.isArray(result),
      taken: new Array<undefined>(this.taken.length).fill(undefined),
    };
  }

  private resultOf(t: unknown): Result | undefined {
    if (!(t instanceof Tensor) || !t.ownsStorage || t.origin !== null || t.requiresGrad) return undefined;
    const at = this.taken.indexOf(t.storage);
    if (at < 0 || t.storage.disposed) return undefined;
    return { at, shape: t.shape, strides: t.strides, offset: t.offset, dtype: t.dtype };
  }
}

/** The plans of one operator. */
export class Replays {
  private readonly plans = new Map<number, Plan[]>();
  private last: Plan | undefined;
  private count = 0;
  private strangers = 0;

  constructor(private readonly run: (...args: unknown[]) => unknown) {}

  /** `run(...args)`, by a plan if there is one. */
  call(args: readonly unknown[]): unknown {
    // Who watches launches wants to see them; who writes down a call that this one is part of, too.
    if (observers !== undefined || recorder !== null) return this.run(...args);
    let plan = this.last;
    if (plan === undefined || !plan.matches(args)) plan = this.find(args);
    if (plan === undefined) return this.write(args);
    return plan.work === null ? this.run(...args) : replay(plan.work, args);
  }

  private find(args: readonly unknown[]): Plan | undefined {
    const list = this.plans.get(hash(args));
    if (list === undefined) return undefined;
    for (let i = 0; i < list.length; i++)
      if (list[i]!.matches(args)) {
        this.strangers = 0;
        this.last = list[i];
        return list[i];
      }
    return undefined;
  }

  /** Runs a call of a new kind and writes it down. */
  private write(args: readonly unknown[]): unknown {
    const first = args.find((v) => v instanceof Tensor) as Tensor | undefined;
    const rare = ++this.strangers > PATIENCE && this.strangers % RARELY !== 0;
    if (rare || first === undefined || !args.every(isPlain)) return this.run(...args);
    const writer = new Writer(args, first.storage.chip);
    const result = recordWork(writer, () => this.run(...args));
    const plan = new Plan(args, writer.finish(result));
    if (this.count >= MOST_PLANS) {
      this.plans.clear();
      this.count = 0;
    }
    const h = hash(args);
    const list = this.plans.get(h);
    if (list === undefined) this.plans.set(h, [plan]);
    else list.push(plan);
    this.count++;
    this.last = plan;
    return result;
  }
}
