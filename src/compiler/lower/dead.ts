// Removes statements whose results nobody reads, and control flow that is left empty: on the forms of both lowerings, which
// differ in their statements and agree in their control flow. What the statements read and write stands in the lowerings' own
// `dead.ts`.

import type { Operand, Reg } from "./simd/form.js";

/** Control flow as both forms have it. */
type Control<S> =
  | { readonly s: "for"; readonly body: readonly S[] }
  | { readonly s: "while"; readonly cond: readonly S[]; readonly body: readonly S[] }
  | {
      readonly s: "if";
      readonly test: Operand;
      readonly then: readonly S[];
      readonly else: readonly S[];
    };

/** What a form's statements read and write. */
export interface Effects<S> {
  /** Calls `fn` for every operand the statement itself reads (not those of nested statements). */
  eachOperand(s: S, fn: (o: Operand) => void): void;
  /** The registers of a statement without effect but its results; undefined for all others. */
  pureResults(s: S): readonly Reg[] | undefined;
  /** A branch of which one side is left, at least. */
  branch(test: Operand, yes: S[], no: S[]): S;
}

/** The lists nested in a statement. */
export function nestedLists<S extends { readonly s: string }>(s: S): readonly (readonly S[])[] {
  const c = s as unknown as Control<S>;
  if (c.s === "for") return [c.body];
  if (c.s === "while") return [c.cond, c.body];
  if (c.s === "if") return [c.then, c.else];
  return [];
}

/** The statements without dead ones. A register is live if a live statement other than its own update reads it. */
export function removeDeadFrom<S extends { readonly s: string }>(
  body: readonly S[],
  { eachOperand, pureResults, branch }: Effects<S>,
): S[] {
  const live = new Set<number>();
  const defs = new Map<number, S[]>();
  const work: Reg[] = [];
  const need = (o: Operand): void => {
    if (typeof o === "object" && !live.has(o.id)) {
      live.add(o.id);
      work.push(o);
    }
  };
  const scan = (list: readonly S[]): void => {
    for (const s of list) {
      const results = pureResults(s);
      if (!results) eachOperand(s, need);
      for (const r of results ?? []) {
        const known = defs.get(r.id);
        if (known) known.push(s);
        else defs.set(r.id, [s]);
      }
      for (const l of nestedLists(s)) scan(l);
    }
  };
  scan(body);
  for (let r = work.pop(); r !== undefined; r = work.pop())
    for (const s of defs.get(r.id) ?? []) eachOperand(s, need);
  const keep = (list: readonly S[]): S[] =>
    list.flatMap((s): S[] => {
      const results = pureResults(s);
      if (results) return results.some((r) => live.has(r.id)) ? [s] : [];
      const c = s as unknown as Control<S>;
      switch (c.s) {
        case "for": {
          const inner = keep(c.body);
          return inner.length ? [{ ...s, body: inner }] : [];
        }
        case "while":
          return [{ ...s, cond: keep(c.cond), body: keep(c.body) }];
        case "if": {
          const [yes, no] = [keep(c.then), keep(c.else)];
          return yes.length || no.length ? [branch(c.test, yes, no)] : [];
        }
        default:
          return [s];
      }
    });
  return keep(body);
}
