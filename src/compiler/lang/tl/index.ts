// `tl`: all functions that a kernel can call, from one table.

import { DTYPES, type DType } from "../../ir/index.js";
import type { Context } from "../context.js";
import { libraryFunction } from "../functions.js";
import { library, type LibraryOf } from "../stdlib/index.js";
import { Callable, Fields, type Val } from "../value.js";
import { arrangements } from "./arrange.js";
import { casts } from "./cast.js";
import { combinations } from "./combine.js";
import { compileTime } from "./compile-time.js";
import { creation } from "./creation.js";
import { descriptors } from "./descriptor.js";
import type { TlFunction, TlOf } from "./define.js";
import { products } from "./dot.js";
import { hints } from "./hint.js";
import { math } from "./math.js";
import { memory } from "./memory.js";
import { reductions } from "./reduce.js";
import { shapes } from "./shape.js";
import { orders } from "./sort.js";

const table: Readonly<Record<string, TlFunction<unknown>>> = {
  ...creation,
  ...memory,
  ...math,
  ...casts,
  ...reductions,
  ...products,
  ...shapes,
  ...arrangements,
  ...combinations,
  ...descriptors,
  ...orders,
  ...compileTime,
  ...hints,
};

type Dtypes = { readonly [D in DType]: D };
/** The functions of the kernel language, as a kernel sees them. A tile is a `number`, a mask a `boolean`. */
export interface Tl
  extends TlOf<typeof creation>,
    TlOf<typeof memory>,
    TlOf<typeof math>,
    TlOf<typeof casts>,
    TlOf<typeof reductions>,
    TlOf<typeof products>,
    TlOf<typeof shapes>,
    TlOf<typeof arrangements>,
    TlOf<typeof combinations>,
    TlOf<typeof descriptors>,
    TlOf<typeof orders>,
    TlOf<typeof compileTime>,
    TlOf<typeof hints>,
    LibraryOf<typeof library>,
    Dtypes {}

const members = new Map<string, Val>();
const names = (): string[] => [...Object.keys(table), ...Object.keys(library), ...Object.keys(DTYPES)];

function memberOf(name: string, cx: Context): Val {
  let v = members.get(name);
  if (v !== undefined) return v;
  const entry = Object.hasOwn(table, name) ? table[name] : undefined;
  if (entry) v = callable(`tl.${name}`, entry);
  else if (Object.hasOwn(library, name))
    v = libraryFunction(
      `tl.${name}`,
      library[name as keyof typeof library] as (...args: never[]) => unknown,
      tl,
    );
  else if (Object.hasOwn(DTYPES, name)) v = name;
  else return unknown(name, names(), cx);
  members.set(name, v);
  return v;
}

function callable(name: string, entry: TlFunction<unknown>): Callable {
  const { params, least } = entry;
  const most = params.at(-1)?.startsWith("...") ? Number.POSITIVE_INFINITY : params.length;
  return new Callable(name, (cx, args) => {
    if (args.length < least || args.length > most)
      cx.fail(
        `${name} takes ${most === least ? least : most === Number.POSITIVE_INFINITY ? `at least ${least}` : `${least} to ${most}`} argument${most === 1 ? "" : "s"}, but ${args.length} ${args.length === 1 ? "is" : "are"} given`,
        `It is ${name}(${params.join(", ")}).`,
      );
    return entry.lower(cx, args);
  });
}

/** `tl` without additions. */
export const tl: Fields = new Fields("tl", memberOf, names);

/** `tl` with the helpers and constants that a helper declared. */
export function tlWith(extra: ReadonlyMap<string, Val>): Fields {
  if (extra.size === 0) return tl;
  return new Fields(
    "tl",
    (name, cx) => (extra.has(name) ? extra.get(name) : memberOf(name, cx)),
    () => [...extra.keys(), ...names()],
  );
}

/** The error for a member that is not there, with the nearest name. */
export function unknown(
  name: string,
  known: readonly string[],
  cx: Context,
  what = "tl",
  noun = "function",
): never {
  const plain = (s: string) => s.toLowerCase().replaceAll("_", "");
  const exact = known.find((n) => plain(n) === plain(name));
  const near =
    exact ?? known.map((n) => [distance(plain(n), plain(name)), n] as const).sort((a, b) => a[0] - b[0])[0];
  const best =
    typeof near === "string" ? near : near && near[0] <= Math.max(2, name.length / 3) ? near[1] : undefined;
  return cx.fail(
    `${what} has no ${noun} ${name}`,
    best
      ? `Did you mean ${noun === "function" ? `${what}.` : ""}${best}?`
      : `It has ${known.slice(0, 60).join(", ")}.`,
  );
}

/** The number of letters to change, add or drop. */
export function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length]!;
}
