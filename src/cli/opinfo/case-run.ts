// One operator sample: makes its arguments, runs the operator that claims it, compares results and gradients.

import type { Chip } from "../../runtime/driver.js";
import { scope } from "../../runtime/scope.js";
import { ArgumentError } from "../../tensor/bind.js";
import {
  bindByName,
  callOperator,
  grad,
  numelOf,
  type OpInfoEntry,
  type OperatorInfo,
  parseDType,
  Tensor,
  tensor,
} from "../../tensor/index.js";
import { allZero, compareTensor, difference, type Tolerance, toleranceOf } from "./compare.js";
import { EXCEPTIONS } from "./exceptions.js";
import type { Case, Json, SampleSet } from "./read.js";
import { sameButTies } from "./ties.js";
import { floatOf, ValueReader } from "./values.js";

/** An operator that claims a sample's name. */
export interface Candidate {
  readonly info: OperatorInfo;
  readonly entry: OpInfoEntry;
}

/** Indices along `dim` may name any of equal elements of `input`. */
interface Ties {
  readonly input: Tensor;
  readonly dim: number;
}

/** What one sample came to. */
export type Outcome =
  | { readonly kind: "passed" }
  | { readonly kind: "unsupported" }
  | { readonly kind: "declined"; readonly reason: string }
  | { readonly kind: "failed"; readonly reason: string };

/** Runs one sample on one chip. */
export class CaseRun {
  constructor(
    readonly c: Case,
    readonly set: SampleSet,
    readonly chip: Chip,
    /** Receives the exceptions that were needed. */
    readonly exceptions: Set<string>,
  ) {}

  async run(list: readonly Candidate[]): Promise<Outcome> {
    if (list.length === 0) return { kind: "unsupported" };
    const lacking = this.lacking();
    if (lacking) return { kind: "declined", reason: lacking };
    return scope(async () => {
      try {
        return await this.attempt(list);
      } catch (error) {
        const missing = (error as { capability?: unknown } | null)?.capability;
        if (typeof missing === "string") return { kind: "declined", reason: missing };
        return { kind: "failed", reason: error instanceof Error ? error.message : String(error) };
      }
    });
  }

  /** The capability that this case needs and the chip has not. */
  private lacking(): string | undefined {
    const { capabilities } = this.chip;
    if (capabilities.f64 && capabilities.i64) return undefined;
    const needs = (v: unknown, dtype: string): boolean => {
      if (Array.isArray(v)) return v.some((x) => needs(x, dtype));
      if (typeof v !== "object" || v === null) return false;
      const { tensor: key, dtype: named } = v as { tensor?: string; dtype?: string };
      if (key !== undefined) return this.set.tensor(key).dtype === dtype;
      if (named !== undefined) return parseDType(named) === dtype;
      return Object.values(v).some((x) => needs(x, dtype));
    };
    const all = [this.c.input, this.c.args, this.c.kwargs, this.c.output];
    if (!capabilities.f64 && needs(all, "f64")) return "f64";
    return !capabilities.i64 && needs(all, "i64") ? "i64" : undefined;
  }

  private async attempt(list: readonly Candidate[]): Promise<Outcome> {
    const reader = new ValueReader(this.set, this.chip.name);
    const input = reader.read(this.c.input);
    const args = this.c.args.map((v) => reader.read(v));
    // The samples' device is PyTorch's; ours is the chip under test.
    const kwargs = Object.fromEntries(
      Object.entries(this.c.kwargs).map(([k, v]) => [k, k === "device" ? this.chip.name : reader.read(v)]),
    );
    let misfit: ArgumentError | undefined;
    for (const { info, entry } of list) {
      let result: unknown;
      try {
        if (entry.adapt) {
          const adapted = await entry.adapt(input, args, kwargs);
          if (adapted === undefined) continue;
          result = callOperator(info.name, ...adapted);
        } else result = bindByName(info, input, args, kwargs);
        result = await result;
      } catch (error) {
        // A sample may be for another operator of the same name.
        if (!(error instanceof ArgumentError)) throw error;
        misfit ??= error;
        continue;
      }
      const random = typeof info.random === "function" ? info.random(input, args, kwargs) : info.random;
      const dim = entry.ties?.(args, kwargs);
      const ties = dim === undefined ? undefined : { input: input as Tensor, dim };
      const reason = await this.check(result, reader.leaves, random, ties);
      return reason === undefined ? { kind: "passed" } : { kind: "failed", reason };
    }
    return misfit === undefined ? { kind: "unsupported" } : { kind: "failed", reason: misfit.message };
  }

  private async check(
    result: unknown,
    leaves: readonly Tensor[],
    random: boolean,
    ties: Ties | undefined,
  ): Promise<string | undefined> {
    const layoutOnly = random || (this.c.uninitialised ?? false);
    return (
      (await this.compare(result, this.c.output, layoutOnly, "the result", ties)) ??
      (this.c.grads !== undefined && !random ? await this.gradients(result, leaves) : undefined)
    );
  }

  private async compare(
    got: unknown,
    want: Json,
    layoutOnly: boolean,
    what: string,
    ties: Ties | undefined,
  ): Promise<string | undefined> {
    if (typeof want === "object" && want !== null) {
      const items = (want["tuple"] ?? want["list"]) as Json[] | undefined;
      if (Array.isArray(items)) {
        if (!Array.isArray(got)) return `${what} is ${show(got)}, not a list of ${items.length}`;
        if (got.length !== items.length) return `${what} has ${got.length} items instead of ${items.length}`;
        for (const [i, item] of items.entries()) {
          const reason = await this.compare(got[i], item, layoutOnly, `${what}[${i}]`, ties);
          if (reason) return reason;
        }
        return undefined;
      }
      if ("tensor" in want) {
        if (!(got instanceof Tensor)) return `${what} is ${show(got)}, not a tensor`;
        const stored = this.set.tensor(want["tensor"] as string);
        const tolerance = toleranceOf(stored.dtype, false);
        const reason = await this.tensors(got, stored, tolerance, layoutOnly, false);
        if (reason && ties && (await sameButTies(ties.input, ties.dim, got, stored))) return undefined;
        return prefixed(what, reason);
      }
      if ("float" in want) return this.number(got, floatOf(want["float"] as string), what);
      if ("dtype" in want)
        return got === parseDType(want["dtype"] as string) ? undefined : `${what} is ${show(got)}`;
      return `${what}: the sample's value ${JSON.stringify(want)} is of an unknown kind`;
    }
    if (layoutOnly && typeof want === typeof got) return undefined;
    return this.number(got, want, what);
  }

  private number(got: unknown, want: Json, what: string): string | undefined {
    const value = typeof got === "bigint" ? Number(got) : got;
    if (value === want) return undefined;
    if (typeof value === "number" && typeof want === "number") {
      const tolerance = Number.isInteger(want)
        ? toleranceOf("f32", false)
        : toleranceOf(parseDType(this.c.dtype) ?? "f32", false);
      if (difference(value, want, tolerance) === 0) return undefined;
    }
    return `${what} is ${show(got)} instead of ${show(want)}`;
  }

  private async tensors(
    got: Tensor,
    want: ReturnType<SampleSet["tensor"]>,
    tolerance: Tolerance,
    layoutOnly: boolean,
    gradient: boolean,
  ): Promise<string | undefined> {
    const reason = await compareTensor(got, want, tolerance, layoutOnly);
    if (reason === undefined) return undefined;
    const name = this.c.op;
    const exception = EXCEPTIONS.find(
      (e) => e.op === name && e.dtypes.includes(this.c.dtype) && (e.gradients ?? false) === gradient,
    );
    if (!exception) return reason;
    const again = await compareTensor(got, want, exception, layoutOnly);
    if (again === undefined) this.exceptions.add(name);
    return again;
  }

  /** Sends cos(i) into every output that requires gradients, and compares what arrives at the leaves. */
  private async gradients(result: unknown, leaves: readonly Tensor[]): Promise<string | undefined> {
    const want = ((this.c.grads as { list?: Json[] }).list ?? []) as Json[];
    const flags = flatten(this.c.output);
    const outputs: Tensor[] = [];
    let at = 0;
    for (const t of tensorsOf(result)) {
      const flag = flags[at++];
      if (typeof flag !== "object" || flag === null || !flag["requires_grad"]) continue;
      if (!t.requiresGrad) return "the result does not require gradients, but PyTorch's does";
      outputs.push(t);
    }
    const seeds = outputs.map((t) => {
      const values = Float32Array.from({ length: numelOf(t.shape) }, (_, i) => Math.cos(i));
      return tensor(values, { shape: t.shape, dtype: t.dtype, device: t.device });
    });
    if (want.length !== leaves.length) return `${want.length} gradients for ${leaves.length} leaves`;
    const got =
      outputs.length === 0 ? leaves.map(() => null) : grad(outputs, leaves, seeds, { allowUnused: true });
    for (const [i, expected] of want.entries()) {
      const g = got[i] ?? null;
      const key = (expected as { tensor?: string } | null)?.tensor;
      const stored = key === undefined ? undefined : this.set.tensor(key);
      // No gradient and a gradient of zeros say the same.
      if (g === null) {
        if (stored !== undefined && !allZero(stored)) return `gradient ${i} is missing`;
        continue;
      }
      if (stored === undefined) {
        if ((await g.data()).some((v) => Number(v) !== 0)) return `gradient ${i} is not zero`;
        continue;
      }
      const tolerance = toleranceOf(stored.dtype, true);
      const reason = await this.tensors(g, stored, tolerance, false, true);
      if (reason) return `gradient ${i}: ${reason}`;
    }
    return undefined;
  }
}

const prefixed = (what: string, reason: string | undefined): string | undefined =>
  reason && (what === "the result" ? reason : `${what}: ${reason}`);

const show = (v: unknown): string =>
  v instanceof Tensor ? v.toString() : typeof v === "bigint" ? `${v}n` : (JSON.stringify(v) ?? String(v));

function tensorsOf(v: unknown): Tensor[] {
  if (v instanceof Tensor) return [v];
  return Array.isArray(v) ? v.flatMap(tensorsOf) : [];
}

/** The tensors of an expected output, in order. */
function flatten(v: Json): Json[] {
  if (typeof v !== "object" || v === null) return [];
  const items = v["tuple"] ?? v["list"];
  if (Array.isArray(items)) return items.flatMap((x: Json) => flatten(x));
  return "tensor" in v ? [v] : [];
}
