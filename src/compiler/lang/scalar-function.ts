// A scalar function for `pointwise`: `(tl, x, y) => value | [values]`, inlined at a builder.

import { type Builder, type Func, Value } from "../ir/index.js";
import { fitTo, typeOf } from "./coerce.js";
import { contentHash } from "./content-key.js";
import { Context } from "./context.js";
import { runFunction } from "./functions.js";
import { guarded } from "./kernel-source.js";
import { checkPlain, parseFunction, type SourceFunction, textOf } from "./parse.js";
import { tl } from "./tl/index.js";
import { isList, type Val } from "./value.js";

export interface ScalarFunction {
  readonly name: string;
  /** The number of its parameters without `tl`. */
  readonly arity: number;
  /** Changes with the function's text. */
  readonly contentKey: string;
  /**
   * Inlines the body at the builder's place and returns its results. `args` are scalars or tiles of one shape; the
   * function's text is added to `sources`. Throws KernelError at the author's line.
   */
  lower(b: Builder, args: Value[], sources: Func["sources"]): Value[];
}

/**
 * A scalar function of the kernel language. Its first parameter is `tl`, the others are numbers; it returns one
 * number or a list of them. A result that is a literal takes the dtype and shape of the first argument.
 * @example scalarFunction((tl, x, y) => x * tl.sigmoid(y)).arity // 2
 */
export function scalarFunction(
  fn: (...args: never[]) => unknown,
  name = fn.name || "pointwise",
): ScalarFunction {
  checkPlain(textOf(fn), name);
  // Hundreds are declared when the package is imported and few are compiled: nothing is parsed before.
  const origin = new Error();
  let parsed: SourceFunction | undefined;
  const load = (): SourceFunction => (parsed ??= parseFunction(fn, name, origin));
  let key: string | undefined;
  return {
    name,
    get arity() {
      return Math.max(0, load().ast.params.length - 1);
    },
    get contentKey() {
      key ??= contentHash(`vexil scalar function 1\n${name}\n${textOf(fn)}`);
      return key;
    },
    lower(b, args, sources) {
      const source = load();
      const arity = Math.max(0, source.ast.params.length - 1);
      const cx = new Context(name, b, sources);
      const outer = b.loc;
      const results = guarded(cx, () => {
        cx.frame = {
          fn: source,
          source: cx.sourceOf(source),
          caller: undefined,
          parent: undefined,
          top: false,
        };
        cx.at(source.ast);
        if (args.length !== arity) cx.fail(`${name} takes ${arity} numbers, but ${args.length} are given`);
        const result: Val = runFunction(cx, source.ast, [tl, ...args], undefined);
        const like = args[0] ? typeOf(args[0]) : undefined;
        return (isList(result) ? result : [result]).map((v) => {
          if (v instanceof Value) return v;
          const dtype = typeof v === "boolean" ? "bool" : (like?.dtype ?? "f32");
          return fitTo(cx, v, dtype, like?.shape ?? [], `the result of ${name}`);
        });
      });
      b.loc = outer;
      return results;
    },
  };
}
