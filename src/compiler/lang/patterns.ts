// Destructuring: hands the parts of a value to the names of a pattern.

import type { Pattern } from "acorn";
import type { Context, Scope } from "./context.js";
import { evaluate } from "./expressions.js";
import { describe, Fields, isList, type Val } from "./value.js";

/** Calls `assign` for each target of the pattern, in order. */
export function destructure(
  cx: Context,
  pattern: Pattern,
  value: Val,
  scope: Scope,
  assign: (name: string, value: Val) => void,
): void {
  switch (pattern.type) {
    case "Identifier":
      assign(pattern.name, value);
      return;
    case "AssignmentPattern":
      destructure(
        cx,
        pattern.left,
        value === undefined ? evaluate(cx, pattern.right, scope) : value,
        scope,
        assign,
      );
      return;
    case "ArrayPattern": {
      cx.at(pattern);
      if (!isList(value)) cx.fail(`a list is needed here, not ${describe(value)}`);
      pattern.elements.forEach((p, i) => {
        if (p?.type === "RestElement") destructure(cx, p.argument, value.slice(i), scope, assign);
        else if (p) {
          if (i >= value.length && p.type !== "AssignmentPattern") {
            cx.at(p);
            cx.fail(`the list has ${value.length} elements, but element ${i} is asked for`);
          }
          destructure(cx, p, value[i], scope, assign);
        }
      });
      return;
    }
    case "ObjectPattern":
      for (const p of pattern.properties) {
        cx.at(p);
        if (p.type === "RestElement")
          cx.fail(
            "a rest pattern `...` in an object is not part of the kernel language",
            "Name the members.",
          );
        destructure(
          cx,
          p.value,
          member(cx, value, propertyName(cx, p.key, p.computed, scope)),
          scope,
          assign,
        );
      }
      return;
    default:
      cx.at(pattern);
      cx.fail(
        "only variables can be assigned; elements and members cannot",
        "Make a new list: [a, b]. Memory is written with tl.store.",
      );
  }
}

export function propertyName(
  cx: Context,
  key: { type: string },
  computed: boolean,
  scope: Scope,
): string | number {
  const k = key as import("acorn").Expression | import("acorn").PrivateIdentifier;
  if (k.type === "PrivateIdentifier") return cx.fail("private members are not part of the kernel language");
  if (!computed && k.type === "Identifier") return k.name;
  if (k.type === "Literal") return typeof k.value === "number" ? k.value : String(k.value);
  const v = evaluate(cx, k, scope);
  if (typeof v === "number" || typeof v === "string") return v;
  cx.at(k);
  return cx.fail(
    `the index must be known at compile time, but it is ${describe(v)}`,
    "Lists exist at compile time only. tl.staticRange gives indices that are known; memory is read with tl.load(pointer + index).",
  );
}

/** `value.name` or `value[name]`. */
export function member(cx: Context, value: Val, name: string | number): Val {
  if (value instanceof Fields) return value.get(String(name), cx);
  if (isList(value)) {
    if (name === "length") return value.length;
    if (name === "at" || name === "map")
      cx.fail(`lists have no method ${name} in the kernel language`, "Use list[index] and destructuring.");
    const i = Number(name);
    if (!Number.isInteger(i) || i < 0 || i >= value.length)
      cx.fail(`the list has ${value.length} elements, but element ${name} is asked for`);
    return value[i];
  }
  if (typeof value === "string" && name === "length") return value.length;
  return cx.fail(
    `${describe(value)} has no member ${name}`,
    typeof name === "number" || /^\d+$/.test(name)
      ? "Tiles and pointers are not indexed: tl.load(pointer + index) reads an element."
      : "Everything that can be done with tiles is a function of tl.",
  );
}
