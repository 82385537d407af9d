// Launches of kernels that find some of their constexprs themselves: by heuristics, by a tuner, by both.
//
// Both are functions of the other arguments, and running them on every launch would cost more than the launch. So
// what they read is noted, and a later launch whose arguments agree in that takes their answer from a table.

import { type DType, DTYPES } from "../compiler/ir/index.js";
import type { ConstexprValue, KernelSource, Specialization } from "../compiler/source.js";
import { isKernelBuffer, type KernelBuffer } from "./buffer.js";
import { constexprKey, executable } from "./compile.js";
import type { Capabilities, Chip, DeviceBuffer, Executable } from "./driver.js";
import { type Grid, hash, Launcher, sameKey } from "./launch.js";
import { unobserved } from "./observe.js";
import { recorder } from "./recording.js";
import { finish, finishNow, canWaitInPlace } from "./timing.js";
import { type Candidate, knownResult, type Search, search, searchesAllowed, showResult } from "./tuner.js";
import type { TuningResult } from "./tuning-store.js";
import { compilerStamp } from "./version.js";

/** What a heuristic sees of a tensor. */
export interface TensorFacts {
  readonly dtype: DType;
  /** The address is a multiple of 16 bytes. */
  readonly aligned: boolean;
  /** Elements from the tensor's first to the end of its memory. */
  readonly elements: number;
}

/** Arguments as heuristics, keys and lists of configurations see them. */
export type ArgumentFacts<A> = {
  readonly [K in keyof A]: A[K] extends KernelBuffer ? TensorFacts : A[K];
};

type Args = Record<string, unknown>;
export type Config = Readonly<Record<string, ConstexprValue>>;
export type Heuristic = (args: never, capabilities: Capabilities) => ConstexprValue;

/** How a kernel is tuned; see `autotune`. */
export interface TuningRule {
  readonly names: readonly string[];
  readonly configs: readonly Config[] | ((args: never, capabilities: Capabilities) => readonly Config[]);
  readonly key: readonly string[] | ((args: never) => readonly ConstexprValue[]);
  readonly prune: ((config: Config, args: never, capabilities: Capabilities) => boolean) | undefined;
  readonly restore: readonly string[];
  readonly budget: number;
  readonly giveUp: number;
}

/** How constexprs are found: the tuner's first, then the heuristics in order. */
export interface Rules {
  readonly tuning: TuningRule | undefined;
  readonly heuristics: readonly (readonly [name: string, rule: Heuristic])[];
}

/** What was decided for arguments of one kind. */
interface Row {
  readonly chip: Chip;
  readonly key: Int32Array;
  /** Values of the watched arguments. */
  readonly watched: readonly unknown[];
  readonly exe: Executable;
  readonly spec: Specialization;
  readonly chosen: Config;
  /** The arguments with what was chosen, for grids that are functions. */
  readonly meta: Args;
}

/** More rows than this are values that never come back: start anew. */
const MOST_ROWS = 4096;

const read = (v: unknown): unknown => (isKernelBuffer(v) ? v.available : v);

export class ChoosingLauncher extends Launcher {
  /** Finds what complete arguments specialise to. */
  private readonly full: Launcher;
  private readonly givenNames: readonly string[];
  /** Arguments whose values something decided on, besides what the launch key holds. */
  private watched: string[] = [];
  private rows = new Map<number, Row[]>();
  private count = 0;
  private lastRow: Row | undefined;

  constructor(
    source: KernelSource,
    private readonly rules: Rules,
  ) {
    const computed = new Set([...(rules.tuning?.names ?? []), ...rules.heuristics.map(([name]) => name)]);
    for (const name of computed)
      if (!source.params.some((p) => p.name === name && p.kind === "constexpr"))
        throw new TypeError(`kernel ${source.name}: ${name} is not one of its constexprs`);
    super(source, computed);
    this.full = new Launcher(source);
    this.givenNames = source.params.map((p) => p.name).filter((n) => !computed.has(n));
  }

  override launch<A>(grid: Grid<A>, args: A): void {
    // What is chosen may hang on how much memory lies behind a tensor.
    recorder?.refuse();
    const given = args as Args;
    const chip = this.collect(given);
    if (typeof grid !== "function" && this.empty(chip, grid)) return;
    let row = this.findRow(chip, given);
    if (row === undefined) {
      row = this.decide(chip, grid as Grid<Args>, given);
      if (row === undefined) return;
      // The search may have launched.
      this.collect(given);
    }
    const g = typeof grid === "function" ? grid(this.metaOf(row, given) as A) : grid;
    if (this.empty(chip, g)) return;
    this.enqueue(chip, row.exe, g, row.spec);
  }

  override launchUncached<A>(grid: Grid<A>, args: A): void {
    const given = args as Args;
    const chip = this.collect(given);
    const chosen = this.choose(chip, grid as Grid<Args>, given, new Set());
    if (!chosen) return;
    this.full.launchUncached(grid as Grid<Args>, { ...given, ...chosen });
  }

  override specialize(args: Args): { chip: Chip; spec: Specialization } {
    const chip = this.collect(args);
    const tuning = this.rules.tuning;
    const seen = new Set<string>();
    const config = tuning ? this.settled(chip, args, tuning, seen).config : {};
    return this.full.specialize({ ...args, ...this.withHeuristics(chip, args, config, seen) });
  }

  /** What is chosen for these arguments and why, as lines for people. Launches nothing. */
  explainChoice(args: Args): string {
    const chip = this.collect(args);
    const seen = new Set<string>();
    const lines: string[] = [];
    let config: Config = {};
    if (this.rules.tuning) {
      const found = this.settled(chip, args, this.rules.tuning, seen);
      config = found.config;
      lines.push(
        found.result
          ? showResult(found.result)
          : `not tuned yet for ${found.key || "these arguments"}: ${showConfig(config)} is the first of ${found.count}`,
      );
    }
    const all = this.withHeuristics(chip, args, config, seen);
    for (const [name] of this.rules.heuristics) lines.push(`${name}=${show(all[name]!)} by its heuristic`);
    return lines.join("\n");
  }

  /** Searches the best configuration for these arguments, unless it is known. */
  async tune(grid: Grid<Args>, args: Args): Promise<TuningResult | undefined> {
    const chip = this.collect(args);
    const { tuning } = this.rules;
    if (!tuning) return undefined;
    const seen = new Set<string>();
    const found = this.settled(chip, args, tuning, seen);
    if (found.result) return found.result;
    const s = this.searchOf(chip, grid, args, tuning, found, seen);
    try {
      const result = await finish(chip, search(s));
      this.forgetRows();
      return result;
    } finally {
      s.end();
    }
  }

  private forgetRows(): void {
    this.rows = new Map();
    this.count = 0;
    this.lastRow = undefined;
  }

  private findRow(chip: Chip, args: Args): Row | undefined {
    const last = this.lastRow;
    if (last !== undefined && this.fits(last, chip, args)) return last;
    const rows = this.rows.get(this.hashOf(args));
    if (rows === undefined) return undefined;
    for (let i = 0; i < rows.length; i++)
      if (this.fits(rows[i]!, chip, args)) {
        this.lastRow = rows[i];
        return rows[i];
      }
    return undefined;
  }

  private fits(row: Row, chip: Chip, args: Args): boolean {
    if (row.chip !== chip || !sameKey(row.key, this.key)) return false;
    for (let i = 0; i < this.watched.length; i++)
      if (!Object.is(row.watched[i], read(args[this.watched[i]!]))) return false;
    return true;
  }

  private hashOf(args: Args): number {
    let h = hash(this.key);
    for (let i = 0; i < this.watched.length; i++) {
      const v = read(args[this.watched[i]!]);
      h = (Math.imul(h, 31) + (typeof v === "number" ? v | 0 : 0)) | 0;
    }
    return h >> 1;
  }

  /** Decides and keeps the answer; `undefined` for a grid without programs. */
  private decide(chip: Chip, grid: Grid<Args>, args: Args): Row | undefined {
    const seen = new Set<string>();
    const key = this.key.slice();
    const chosen = this.choose(chip, grid, args, seen);
    if (chosen === undefined) return undefined;
    const complete = { ...args, ...chosen };
    const { spec } = this.full.specialize(complete);
    const fresh = [...seen].filter((n) => !this.watched.includes(n));
    if (fresh.length || this.count >= MOST_ROWS) {
      this.watched = [...this.watched, ...fresh];
      this.forgetRows();
    }
    this.key.set(key);
    const row: Row = {
      chip,
      key,
      watched: this.watched.map((n) => read(args[n])),
      exe: executable(this.source, spec, chip),
      spec,
      chosen,
      meta: complete,
    };
    const at = this.hashOf(args);
    const rows = this.rows.get(at);
    if (rows) rows.push(row);
    else this.rows.set(at, [row]);
    this.count++;
    this.lastRow = row;
    return row;
  }

  private metaOf(row: Row, args: Args): Args {
    const { givenNames } = this;
    for (let i = 0; i < givenNames.length; i++) row.meta[givenNames[i]!] = args[givenNames[i]!];
    return row.meta;
  }

  /** The chosen constexprs; notes in `seen` which arguments decided. `undefined` for a grid without programs. */
  private choose(chip: Chip, grid: Grid<Args>, args: Args, seen: Set<string>): Config | undefined {
    const { tuning } = this.rules;
    let config: Config = {};
    if (tuning) {
      const found = this.settled(chip, args, tuning, seen);
      config = found.config;
      if (!found.result && found.count > 1 && searchesAllowed() && canWaitInPlace(chip)) {
        const complete = { ...args, ...this.withHeuristics(chip, args, config, seen) };
        if (this.empty(chip, typeof grid === "function" ? grid(complete) : grid)) return undefined;
        const s = this.searchOf(chip, grid, args, tuning, found, seen);
        try {
          const result = unobserved(() => finishNow(chip, search(s)));
          config = found.configs[result.best]!;
        } finally {
          s.end();
        }
      }
    }
    const chosen = this.withHeuristics(chip, args, config, seen);
    if (typeof grid === "function" && this.empty(chip, grid({ ...args, ...chosen }))) return undefined;
    return chosen;
  }

  private withHeuristics(chip: Chip, args: Args, config: Config, seen: Set<string>): Config {
    if (this.rules.heuristics.length === 0) return config;
    const chosen: Record<string, ConstexprValue> = { ...config };
    const facts = this.factsOf(args, seen, chosen);
    for (const [name, rule] of this.rules.heuristics) {
      const v = rule(facts as never, chip.capabilities);
      if (v === undefined || v === null)
        throw this.error(`the heuristic of ${name} gave ${v}; it must give a constexpr's value`);
      chosen[name] = v;
      Object.defineProperty(facts, name, { value: v, enumerable: true });
    }
    return chosen;
  }

  /** The arguments for heuristics and keys; reading one that the launch key does not hold is noted. */
  private factsOf(args: Args, seen: Set<string>, more: Config): Args {
    const facts: Args = { ...more };
    for (const slot of this.slots) {
      const v = args[slot.name];
      if (slot.kind === "computed") continue;
      if (slot.kind === "constexpr") facts[slot.name] = v;
      else
        Object.defineProperty(facts, slot.name, {
          enumerable: true,
          get: () => {
            if (!isKernelBuffer(v)) {
              seen.add(slot.name);
              return v;
            }
            const aligned = (v.offset * DTYPES[v.dtype].bytes) % 16 === 0;
            const tensor = { dtype: v.dtype, aligned };
            return Object.defineProperty(tensor, "elements", {
              enumerable: true,
              get: () => {
                seen.add(slot.name);
                return v.available;
              },
            });
          },
        });
    }
    return facts;
  }

  /** The configurations for these arguments, and the answer if there is one. */
  private settled(chip: Chip, args: Args, rule: TuningRule, seen: Set<string>): Settled {
    const facts = this.factsOf(args, seen, {});
    const all =
      typeof rule.configs === "function" ? rule.configs(facts as never, chip.capabilities) : rule.configs;
    const { prune } = rule;
    const configs = prune ? all.filter((c) => prune(c, facts as never, chip.capabilities)) : all;
    if (configs.length === 0)
      throw this.error("its tuner has no configuration left for these arguments: see `configs` and `prune`");
    for (const c of configs)
      for (const name of rule.names)
        if (c[name] === undefined)
          throw this.error(`the configuration ${showConfig(c)} does not set ${name}`);
    const values =
      typeof rule.key === "function"
        ? rule.key(facts as never).map((v, i) => [i, v] as const)
        : rule.key.map((name) => {
            if (isKernelBuffer(args[name]))
              throw this.error(
                `the tuning key names ${name}, a tensor: its dtype counts anyway; name numbers`,
              );
            return [name, facts[name] as ConstexprValue] as const;
          });
    const key = values
      .map(([name, v]) => (typeof name === "number" ? show(v) : `${name}=${show(v)}`))
      .join(" ");
    const dtypes = this.slots
      .map((slot) => args[slot.name])
      .filter(isKernelBuffer)
      .map((t) => t.dtype);
    const id = JSON.stringify([
      compilerStamp(),
      chip.target.name,
      chip.target.fingerprint,
      chip.description,
      this.source.name,
      this.source.contentKey,
      configs.map((c) => Object.entries(c).map(([n, v]) => [n, constexprKey(v)])),
      values.map(([, v]) => constexprKey(v)),
      dtypes,
      this.slots
        .filter((s) => s.kind === "constexpr")
        .map((s) => constexprKey(args[s.name] as ConstexprValue)),
    ]);
    const result = configs.length > 1 ? knownResult(id, configs.length) : undefined;
    return {
      id,
      key: [key, dtypes.join(" ")].filter(Boolean).join(", "),
      configs,
      count: configs.length,
      result,
      config: configs[result?.best ?? 0]!,
    };
  }

  private searchOf(
    chip: Chip,
    grid: Grid<Args>,
    args: Args,
    rule: TuningRule,
    found: Settled,
    seen: Set<string>,
  ): Search & { end(): void } {
    const kept = rule.restore.map((name) => {
      const v = args[name];
      if (!isKernelBuffer(v)) throw this.error(`restore names ${name}, which is not a tensor`);
      const copy = chip.driver.alloc(v.buffer.bytes);
      chip.driver.copy(copy, 0, v.buffer, 0, v.buffer.bytes);
      return [v.buffer, copy] as const;
    });
    const restore = (): void => {
      for (const [buffer, copy] of kept) chip.driver.copy(buffer, 0, copy, 0, buffer.bytes);
    };
    const candidates = found.configs.map((config): Candidate => {
      const run = (): void => {
        const chosen = this.withHeuristics(chip, args, config, seen);
        this.full.launch(grid, { ...args, ...chosen });
      };
      return { text: showConfig(config), run, ...(kept.length ? { between: restore } : {}) };
    });
    const end = (): void => {
      restore();
      for (const [, copy] of kept) chip.driver.free(copy as DeviceBuffer);
    };
    const { id, key } = found;
    return {
      id,
      kernel: this.source.name,
      key,
      chip,
      candidates,
      budget: rule.budget,
      giveUp: rule.giveUp,
      end,
    };
  }
}

interface Settled {
  readonly id: string;
  readonly key: string;
  readonly configs: readonly Config[];
  readonly count: number;
  readonly result: TuningResult | undefined;
  /** The answer's, else the first. */
  readonly config: Config;
}

const show = (v: ConstexprValue): string => (Array.isArray(v) ? `[${v.join(",")}]` : String(v));
const showConfig = (c: Config): string =>
  Object.entries(c)
    .map(([name, v]) => `${name}=${show(v)}`)
    .join(" ") || "(nothing)";
