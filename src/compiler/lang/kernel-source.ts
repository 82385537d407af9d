// A kernel of the language as a source of IR: declared parameters, a content key, and `build`.

import { buffer, Func, IrTypeError, scalar, type Type, verify } from "../ir/index.js";
import type { ConstexprValue, KernelSource, ParamFacts, ParamSpec, Specialization } from "../source.js";
import { CompileError } from "../target.js";
import { contentHash, showConstant } from "./content-key.js";
import { Context } from "./context.js";
import { helperFunction, runFunction } from "./functions.js";
import { showPlace } from "./errors.js";
import { locate } from "./locate.js";
import type { ConstantMarker, HelperMarker, Marker } from "./markers.js";
import { parseFunction, type SourceFunction, textOf } from "./parse.js";
import { tl, tlWith, unknown } from "./tl/index.js";
import { type Callable, Fields, Pointer, type Val } from "./value.js";

/** Part of every content key: raise it when the same text builds other IR. */
const LANGUAGE_VERSION = 1;

/**
 * A kernel of the language. `params` declares what the body's first parameter holds, in the order of the launch's
 * arguments; `fn` is the body, read by its own text. The name defaults to the function's.
 *
 * Throws CompileError where a parameter is no marker; mistakes in the body are found by `build`.
 */
export function kernelSource(
  params: Record<string, Marker>,
  fn: (...args: never[]) => unknown,
  name?: string,
): KernelSource {
  return new LanguageSource(params, fn, name ?? (fn.name || "kernel"), new Error());
}

class LanguageSource implements KernelSource {
  readonly params: readonly ParamSpec[];
  private key: string | undefined;
  private parsed: SourceFunction | undefined;
  private readonly statics = new Map<string, Val>();

  constructor(
    private readonly markers: Readonly<Record<string, Marker>>,
    private readonly fn: (...args: never[]) => unknown,
    readonly name: string,
    private readonly origin: { readonly stack?: string },
  ) {
    if (typeof fn !== "function") throw new CompileError(`kernel ${name}: the body must be a function`);
    const specs: ParamSpec[] = [];
    for (const [param, m] of Object.entries(markers)) {
      const spec = specOf(param, m);
      if (spec) specs.push(spec);
      else if (m?.kind === "helper") this.statics.set(param, helperOf(param, m));
      else if (m?.kind === "constant") this.statics.set(param, constantOf(m.value));
      else
        throw new CompileError(
          `kernel ${name}: the parameter ${param} is declared as ${typeof m === "function" ? "a plain function" : showConstant(m)}. ` +
            "Declare it as ptr, dim, constexpr, a dtype such as i32, helper((tl, …) => …) or constant(value).",
        );
    }
    this.params = specs;
  }

  get contentKey(): string {
    this.key ??= contentHash(
      [
        `vexil kernel language ${LANGUAGE_VERSION}`,
        this.name,
        textOf(this.fn),
        ...Object.entries(this.markers).map(([n, m]) => `${n}: ${markerContent(m)}`),
      ].join("\n"),
    );
    return this.key;
  }

  definition(): string | undefined {
    this.parsed ??= parseFunction(this.fn, this.name, this.origin);
    return showPlace(locate(this.parsed, 0));
  }

  build(spec: Specialization): Func {
    this.parsed ??= parseFunction(this.fn, this.name, this.origin);
    if (spec.params.length !== this.params.length)
      throw new CompileError(
        `kernel ${this.name} has ${this.params.length} parameters, but facts of ${spec.params.length} are given`,
      );
    const given = this.params.map((p, i) => ({ p, facts: spec.params[i]! }));
    const runtime = given.filter(({ p }) => p.kind !== "constexpr");
    const func = new Func(
      this.name,
      runtime.map(({ p, facts }) => ({ name: p.name, type: typeOf(this.name, p, facts) })),
    );
    func.paramFacts = runtime.map(({ p, facts }) => ({ divisibility: divisibility(p, facts) }));
    const cx = new Context(this.name, func.body, func.sources);
    const members = new Map<string, Val>(this.statics);
    for (const { p, facts } of given) members.set(p.name, memberValue(cx, func, p, facts));
    return guarded(cx, () => {
      const source = this.parsed!;
      cx.frame = { fn: source, source: cx.sourceOf(source), caller: undefined, parent: undefined, top: true };
      cx.at(source.ast);
      const names = Object.keys(this.markers);
      const args = new Fields(
        "the parameters",
        (n) => (members.has(n) ? members.get(n) : unknown(n, names, cx, "the kernel", "parameter")),
        () => names,
      );
      runFunction(cx, source.ast, [args, tl], undefined);
      verify(func);
      return func;
    });
  }
}

/** Runs `fn` and gives errors of the IR's type rules the author's line. */
export function guarded<T>(cx: Context, fn: () => T): T {
  try {
    return fn();
  } catch (e) {
    if (e instanceof IrTypeError) return cx.fail(e.message);
    if (e instanceof RangeError && /call stack/i.test(e.message))
      return cx.fail("the kernel is nested too deeply to be read");
    throw e;
  }
}

function specOf(name: string, m: Marker | undefined): ParamSpec | undefined {
  switch (m?.kind) {
    case "ptr":
    case "dim":
    case "constexpr":
      return { name, kind: m.kind };
    case "scalar":
      return { name, kind: "scalar", dtype: m.dtype };
    default:
      return undefined;
  }
}

/** What a constant or constexpr is in the body. */
export const constantOf = (v: ConstexprValue): Val => (Array.isArray(v) ? [...v] : (v as Val));

/** A helper with what it declared. */
export function helperOf(name: string, m: HelperMarker): Callable {
  const extra = new Map<string, Val>();
  for (const [n, u] of Object.entries(m.uses))
    extra.set(n, u.kind === "helper" ? helperOf(n, u) : constantOf((u as ConstantMarker).value));
  let parsed: SourceFunction | undefined;
  return helperFunction(name, () => (parsed ??= parseFunction(m.fn, name, m.origin)), tlWith(extra));
}

function markerContent(m: Marker): string {
  switch (m.kind) {
    case "helper":
      return `helper ${textOf(m.fn)} ${Object.entries(m.uses)
        .map(([n, u]) => `${n}: ${markerContent(u)}`)
        .join("\n")}`;
    case "constant":
      return `constant ${showConstant(m.value)}`;
    case "scalar":
      return m.dtype;
    default:
      return m.kind;
  }
}

function typeOf(kernel: string, p: ParamSpec, facts: ParamFacts): Type {
  if (p.kind !== facts.kind)
    throw new CompileError(
      `kernel ${kernel}: the parameter ${p.name} is a ${p.kind}, but facts of a ${facts.kind} are given`,
    );
  if (facts.kind === "ptr") return buffer(facts.dtype);
  return scalar(p.kind === "scalar" ? p.dtype : "i32");
}

function divisibility(p: ParamSpec, facts: ParamFacts): number {
  if (facts.kind === "ptr") return facts.aligned ? 16 : 1;
  return facts.kind === "dim" && facts.divisibleBy16 && p.kind === "dim" ? 16 : 1;
}

function memberValue(cx: Context, func: Func, p: ParamSpec, facts: ParamFacts): Val {
  if (facts.kind === "constexpr") return constantOf(facts.value);
  const arg = func.body.args[func.paramNames.indexOf(p.name)]!;
  if (facts.kind === "ptr") return new Pointer(p.name, arg, 0);
  if (facts.kind === "dim" && facts.isOne) return cx.b.constant(1, "i32");
  return arg;
}
