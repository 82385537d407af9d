// A launch: checks the arguments, finds the code that fits them, hands both to the driver.
//
// Every operator pays for this path, so a launch that has happened before makes no strings and allocates
// nothing: what is known of the arguments becomes a row of small integers, which is compared with the rows of
// earlier launches.

import { DTYPES, type DType } from "../compiler/ir/index.js";
import { nearest } from "../compiler/nearest.js";
import type { ConstexprValue, KernelSource, ParamFacts, Specialization } from "../compiler/source.js";
import { isKernelBuffer, type KernelBuffer } from "./buffer.js";
import { executable } from "./compile.js";
import type { Chip, DeviceBuffer, Executable } from "./driver.js";
import { observed, observers } from "./observe.js";
import { recorder } from "./recording.js";
import { defaultChip } from "./registry.js";
import { DisposedError } from "./storage.js";

/** The numbers of programs along x, y and z; missing ones are 1. */
export type Grid<A> = readonly number[] | ((args: A) => readonly number[]);

/** Arguments or a grid that a kernel cannot be launched with. */
export class LaunchError extends Error {
  override name = "LaunchError";
}

interface Entry {
  readonly chip: Chip;
  readonly key: Int32Array;
  readonly exe: Executable;
}

const NAMES = Object.keys(DTYPES) as DType[];
const INDEX = Object.fromEntries(NAMES.map((d, i) => [d, i])) as Record<DType, number>;
const BYTES = NAMES.map((d) => DTYPES[d].bytes);
const WIDE = 2 ** 31;

type Check = "float" | "int" | "big" | "bool";

/** A parameter as the hot path wants it. */
interface Slot {
  readonly name: string;
  /** `computed`: a constexpr that the launch does not get but finds (see `choose.ts`). */
  readonly kind: "ptr" | "scalar" | "dim" | "constexpr" | "computed";
  readonly check: Check;
  readonly low: number;
  readonly high: number;
  readonly dtype: DType | undefined;
  /** Numbers of the constexpr values seen so far, and the values by number. */
  readonly ids: Map<ConstexprValue, number>;
  readonly seen: ConstexprValue[];
}

function slotOf(p: KernelSource["params"][number], computed: boolean): Slot {
  const dtype = p.kind === "scalar" ? p.dtype : p.kind === "dim" ? "i32" : undefined;
  const { bits, kind } = DTYPES[dtype ?? "i32"];
  const check: Check = kind === "float" ? "float" : kind === "bool" ? "bool" : bits === 64 ? "big" : "int";
  const low = kind === "int" ? -(2 ** (bits - 1)) : 0;
  const high = kind === "int" ? 2 ** (bits - 1) - 1 : 2 ** bits - 1;
  const how = computed ? "computed" : p.kind;
  return { name: p.name, kind: how, check, low, high, dtype, ids: new Map(), seen: [] };
}

const NONE: ReadonlySet<string> = new Set();

/** Launches one kernel. Not reentrant: its arrays are reused from launch to launch. */
export class Launcher {
  protected readonly slots: readonly Slot[];
  protected readonly key: Int32Array;
  protected readonly values: (DeviceBuffer | number | bigint)[] = [];
  protected readonly offsets: number[] = [];
  private readonly given: number;
  private readonly tables = new Map<Chip, Map<number, Entry[]>>();
  private last: Entry | undefined;

  /** @param computed names of constexprs that arguments do not hold */
  constructor(
    readonly source: KernelSource,
    computed: ReadonlySet<string> = NONE,
  ) {
    this.slots = source.params.map((p) => slotOf(p, computed.has(p.name)));
    this.given = this.slots.length - computed.size;
    this.key = new Int32Array(source.params.length + 1);
    for (const s of this.slots)
      if (s.kind !== "constexpr" && s.kind !== "computed") {
        this.values.push(0);
        this.offsets.push(0);
      }
  }

  /** Throws LaunchError for wrong arguments, CompileError when the kernel does not compile for them. */
  launch<A>(grid: Grid<A>, args: A): void {
    const chip = this.collect(args as Record<string, unknown>);
    const g = typeof grid === "function" ? grid(args) : grid;
    if (this.empty(chip, g)) return;
    this.enqueue(chip, this.find(chip) ?? this.add(chip), g);
  }

  /**
   * The same launch without what earlier ones left in memory, except the loaded code: for measuring what the caches
   * save.
   */
  launchUncached<A>(grid: Grid<A>, args: A): void {
    const chip = this.collect(args as Record<string, unknown>);
    const g = typeof grid === "function" ? grid(args) : grid;
    if (this.empty(chip, g)) return;
    this.enqueue(chip, executable(this.source, this.specialization(), chip), g);
  }

  /** Whether a grid has no programs. Throws for one that the chip cannot launch. */
  protected empty(chip: Chip, g: readonly number[]): boolean {
    const n = g.length;
    const x = n > 0 ? g[0]! : -1;
    const y = n > 1 ? g[1]! : 1;
    const z = n > 2 ? g[2]! : 1;
    const max = chip.capabilities.maxGrid;
    if (!(whole(x, max[0]) && whole(y, max[1]) && whole(z, max[2]) && n <= 3)) throw this.badGrid(g, chip);
    return x * y * z === 0;
  }

  /** Hands what `collect` found to the driver. */
  protected enqueue(chip: Chip, exe: Executable, g: readonly number[], spec?: Specialization): void {
    const x = g[0]!;
    const y = g.length > 1 ? g[1]! : 1;
    const z = g.length > 2 ? g[2]! : 1;
    if (recorder !== null) recorder.launched(chip, exe, [x, y, z], this.values, this.offsets);
    if (observers === undefined) chip.driver.launch(exe, x, y, z, this.values, this.offsets);
    else this.enqueueObserved(chip, exe, [x, y, z], spec ?? this.specialization());
  }

  private enqueueObserved(
    chip: Chip,
    exe: Executable,
    grid: readonly [number, number, number],
    spec: Specialization,
  ): void {
    // An observer may launch something itself: the arrays are copied.
    const [values, offsets] = [this.values.slice(), this.offsets.slice()];
    observed(observers!, { source: this.source, chip, grid, specialization: () => spec }, () =>
      chip.driver.launch(exe, ...grid, values, offsets),
    );
  }

  /** The specialisation and the chip that a launch with these arguments would use. */
  specialize(args: Record<string, unknown>): { chip: Chip; spec: Specialization } {
    const chip = this.collect(args);
    return { chip, spec: this.specialization() };
  }

  /** Fills `key`, `values` and `offsets`; returns the chip of the buffers. */
  protected collect(args: Record<string, unknown>): Chip {
    const { slots, key, values, offsets } = this;
    const count = slots.length;
    let chip: Chip | undefined;
    let wide = 0;
    let at = 0;
    for (let i = 0; i < count; i++) {
      const slot = slots[i]!;
      const v = args[slot.name];
      switch (slot.kind) {
        case "ptr": {
          if (!isKernelBuffer(v)) throw this.badPointer(slot, args);
          if (chip === undefined) chip = v.chip;
          else if (chip !== v.chip) throw this.mixedChips(args);
          const dtype = INDEX[v.dtype];
          if (dtype === undefined)
            throw this.error(`${slot.name} has the dtype ${v.dtype}, which kernels cannot use`);
          const offset = v.offset;
          key[i] = dtype * 2 + ((offset * BYTES[dtype]!) % 16 === 0 ? 1 : 0);
          if (v.available >= WIDE) wide = 1;
          values[at] = this.bufferOf(v, slot);
          offsets[at++] = offset;
          break;
        }
        case "dim":
          if (typeof v !== "number" || (v | 0) !== v) throw this.badNumber(slot, args);
          key[i] = v === 1 ? 1 : v % 16 === 0 ? 2 : 0;
          values[at] = v;
          offsets[at++] = 0;
          break;
        case "scalar":
          if (slot.check === "float") {
            if (typeof v !== "number") throw this.badNumber(slot, args);
            values[at] = v;
          } else if (slot.check === "int") {
            if (typeof v !== "number" || !(v >= slot.low && v <= slot.high && Math.floor(v) === v))
              throw this.badNumber(slot, args);
            values[at] = v;
          } else values[at] = this.otherScalar(slot, v, args);
          offsets[at++] = 0;
          break;
        case "computed":
          break;
        default: {
          const id = slot.ids.get(v as ConstexprValue);
          key[i] = id !== undefined && v !== 0 ? id : this.intern(slot, v, args);
        }
      }
    }
    key[count] = wide;
    let given = 0;
    for (const _ in args) given++;
    if (given !== this.given) this.checkNames(args);
    return chip ?? defaultChip();
  }

  private bufferOf(v: KernelBuffer, slot: Slot): DeviceBuffer {
    try {
      return v.buffer;
    } catch (e) {
      if (e instanceof DisposedError) e.message = `kernel ${this.source.name}: ${slot.name}: ${e.message}`;
      throw e;
    }
  }

  private otherScalar(slot: Slot, v: unknown, args: Record<string, unknown>): number | bigint {
    if (slot.check === "bool") {
      if (typeof v === "boolean") return v ? 1 : 0;
      if (v === 0 || v === 1) return v;
      throw this.badNumber(slot, args);
    }
    if (typeof v === "number" && Number.isSafeInteger(v) && v >= slot.low) return BigInt(v);
    if (typeof v !== "bigint") throw this.badNumber(slot, args);
    const wrapped = slot.dtype === "u64" ? BigInt.asUintN(64, v) : BigInt.asIntN(64, v);
    if (wrapped !== v) throw this.badNumber(slot, args);
    return v;
  }

  /** The number of a constexpr value; a new value gets the next one. */
  private intern(slot: Slot, v: unknown, args: Record<string, unknown>): number {
    let value: ConstexprValue;
    if (Array.isArray(v) && v.every((x) => typeof x === "number")) value = v as number[];
    else if (
      typeof v === "number" ||
      typeof v === "bigint" ||
      typeof v === "boolean" ||
      typeof v === "string"
    )
      value = v;
    else {
      if (v === undefined) this.checkNames(args);
      throw this.error(
        `${slot.name} is a constexpr: a number, bigint, boolean, string or list of numbers, not ${show(v)}`,
      );
    }
    // Lists are compared by elements, and -0 is not 0 here, so neither is found by the map.
    let id = slot.seen.findIndex((s) =>
      Array.isArray(s) && Array.isArray(value)
        ? s.length === value.length && s.every((x, i) => Object.is(x, (value as number[])[i]))
        : Object.is(s, value),
    );
    if (id < 0) {
      id = slot.seen.length;
      // A list may be changed by its owner: keep a copy.
      slot.seen.push(Array.isArray(value) ? value.slice() : value);
      if (!Array.isArray(value) && value !== 0) slot.ids.set(value, id);
    }
    return id;
  }

  private find(chip: Chip): Executable | undefined {
    const { key, last } = this;
    if (last !== undefined && last.chip === chip && sameKey(last.key, key)) return last.exe;
    const entries = this.tables.get(chip)?.get(hash(key));
    if (entries === undefined) return undefined;
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i]!;
      if (sameKey(entry.key, key)) {
        this.last = entry;
        return entry.exe;
      }
    }
    return undefined;
  }

  private add(chip: Chip): Executable {
    const key = this.key.slice();
    const exe = executable(this.source, this.specialization(), chip);
    let table = this.tables.get(chip);
    if (!table) {
      table = new Map();
      this.tables.set(chip, table);
    }
    const entry: Entry = { chip, key, exe };
    const h = hash(key);
    const entries = table.get(h);
    if (entries) entries.push(entry);
    else table.set(h, [entry]);
    this.last = entry;
    return exe;
  }

  protected specialization(): Specialization {
    const params = this.slots.map((slot, i): ParamFacts => {
      const k = this.key[i]!;
      switch (slot.kind) {
        case "ptr":
          return { kind: "ptr", dtype: NAMES[k >> 1]!, aligned: (k & 1) === 1 };
        case "dim":
          return { kind: "dim", isOne: k === 1, divisibleBy16: k === 2 };
        case "scalar":
          return { kind: "scalar" };
        default:
          return { kind: "constexpr", value: slot.seen[k]! };
      }
    });
    return { params, wideOffsets: this.key[this.slots.length] === 1 };
  }

  protected error(what: string): LaunchError {
    return new LaunchError(`kernel ${this.source.name}: ${what}`);
  }

  /** Throws for arguments that are missing or that the kernel does not have. */
  private checkNames(args: Record<string, unknown>): void {
    const names = this.slots.filter((s) => s.kind !== "computed").map((s) => s.name);
    for (const name of Object.keys(args))
      if (!names.includes(name)) {
        if (this.slots.some((s) => s.name === name))
          throw this.error(`${name} is chosen by its heuristics or its tuner: leave it out`);
        const near = nearest(
          name,
          names.filter((n) => args[n] === undefined),
        );
        const hint = near ? ` Did you mean ${near}?` : "";
        throw this.error(`it has no parameter ${name}.${hint} Its parameters are: ${names.join(", ")}`);
      }
    const missing = names.filter((n) => args[n] === undefined);
    if (missing.length)
      throw this.error(
        `${missing.length === 1 ? "the argument" : "the arguments"} ${missing.join(", ")} ${
          missing.length === 1 ? "is" : "are"
        } missing. Its parameters are: ${names.join(", ")}`,
      );
  }

  private badPointer(slot: Slot, args: Record<string, unknown>): LaunchError {
    this.checkNames(args);
    return this.error(`${slot.name} must be a tensor, not ${show(args[slot.name])}`);
  }

  private badNumber(slot: Slot, args: Record<string, unknown>): LaunchError {
    this.checkNames(args);
    const v = args[slot.name];
    const want =
      slot.check === "bool"
        ? "a boolean"
        : slot.check === "float"
          ? `a number (${slot.dtype})`
          : slot.check === "big"
            ? `a bigint or a whole number (${slot.dtype})`
            : `a whole number from ${slot.low} to ${slot.high} (${slot.dtype})`;
    return this.error(`${slot.name} must be ${want}, not ${show(v)}`);
  }

  private mixedChips(args: Record<string, unknown>): LaunchError {
    const places = this.slots
      .filter((s) => isKernelBuffer(args[s.name]))
      .map((s) => `${s.name} on ${(args[s.name] as KernelBuffer).chip.name}`);
    return this.error(`its tensors must be on one chip, but there are ${places.join(", ")}`);
  }

  private badGrid(grid: readonly number[], chip: Chip): LaunchError {
    const shown = `[${[...grid].join(", ")}]`;
    if (grid.length < 1 || grid.length > 3)
      return this.error(`a grid has 1 to 3 numbers of programs, not ${grid.length}: ${shown}`);
    if (grid.some((g) => !Number.isInteger(g) || g < 0))
      return this.error(`the numbers of programs of a grid are whole numbers, not ${shown}`);
    const max = chip.capabilities.maxGrid;
    return this.error(`the grid ${shown} is larger than the chip ${chip.name} allows: [${max.join(", ")}]`);
  }
}

const whole = (g: number, max: number): boolean => g >= 0 && g <= max && Math.floor(g) === g;

export function sameKey(a: Int32Array, b: Int32Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

export function hash(key: Int32Array): number {
  let h = 17;
  for (let i = 0; i < key.length; i++) h = (Math.imul(h, 31) + key[i]!) | 0;
  // Maps keep integers of 31 bits without allocating.
  return h >> 1;
}

/** A value for an error message. */
function show(v: unknown): string {
  if (isKernelBuffer(v)) return `a tensor of ${v.dtype}`;
  if (v === null) return "null";
  if (typeof v === "string") return JSON.stringify(v);
  if (typeof v === "bigint") return `the bigint ${v}`;
  if (typeof v === "function") return "a function";
  if (Array.isArray(v)) return "an array";
  if (typeof v === "object") {
    const name = v.constructor?.name;
    return name && name !== "Object" ? `a ${name}` : "an object";
  }
  return `${v}`;
}
