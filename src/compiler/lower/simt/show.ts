// The form as text, for people.

import type { Form, Operand, Place, Reg, Stmt } from "./form.js";

const show = (o: Operand): string =>
  typeof o === "object" ? `%${o.id}` : typeof o === "bigint" ? `${o}n` : Object.is(o, -0) ? "-0" : String(o);
const typed = (r: Reg): string => `%${r.id}: ${r.type.kind}${r.type.lanes > 1 ? `x${r.type.lanes}` : ""}`;
const where = (mask?: Operand): string => (mask === undefined ? "" : ` where ${show(mask)}`);

/** Prints a form: one statement a line, bodies indented. */
export function showForm(form: Form): string {
  const params = form.params.map(
    (p, i) => `${i}:${p.name}: ${p.kind === "buffer" ? `buffer<${p.mem}>` : p.reg}`,
  );
  const lines = [
    `form ${form.name}(${params.join(", ")}) threads ${form.threads} shared ${form.sharedBytes} registers ${form.registers}`,
  ];
  const place = (p: Place): string => {
    const base = "shared" in p.mem ? `shared+${p.mem.shared}` : (form.params[p.mem.param]?.name ?? "?");
    return `${base}[${show(p.at)}${p.plus ? `${p.plus < 0 ? "" : "+"}${p.plus}` : ""}]`;
  };
  const list = (stmts: readonly Stmt[], pad: string): void => {
    for (const s of stmts) statement(s, pad);
  };
  const nested = (head: string, stmts: readonly Stmt[], pad: string): void => {
    lines.push(pad + head);
    list(stmts, `${pad}  `);
  };
  const statement = (s: Stmt, pad: string): void => {
    switch (s.s) {
      case "op":
        lines.push(
          `${pad}${typed(s.dst)} = ${s.op}${s.index === undefined ? "" : ` #${s.index}`} ${s.args.map(show).join(", ")}`.trimEnd(),
        );
        return;
      case "load":
        lines.push(`${pad}${s.dst.map(typed).join(", ")} = load.${s.kind} ${place(s)}${where(s.mask)}`);
        return;
      case "store":
        lines.push(`${pad}store.${s.kind} ${place(s)} = ${s.values.map(show).join(", ")}${where(s.mask)}`);
        return;
      case "atomic":
        lines.push(
          `${pad}${s.dst ? `${typed(s.dst)} = ` : ""}atomic.${s.op}${s.unsigned ? "U" : ""}.${s.kind} ${place(s)} ${
            s.expected === undefined ? "" : `${show(s.expected)} -> `
          }${show(s.value)}${where(s.mask)}`,
        );
        return;
      case "barrier":
        lines.push(`${pad}barrier ${s.scope}${s.global ? " global" : ""}`);
        return;
      case "shuffle":
        lines.push(`${pad}${typed(s.dst)} = shuffle.${s.how} ${show(s.value)}, ${show(s.by)}`);
        return;
      case "match":
        lines.push(`${pad}${typed(s.dst)} = match.${s.bits} ${show(s.value)}`);
        return;
      case "copyAsync":
        lines.push(`${pad}copyAsync.${s.bytes} ${place(s.to)} = ${place(s.from)}${where(s.mask)}`);
        return;
      case "bulkBarrier":
      case "bulkArrive":
      case "bulkExpect":
      case "bulkWait":
        lines.push(
          `${pad}${s.s} ${place(s.place)}${s.s === "bulkWait" ? ` ${show(s.parity)}` : where(s.mask)}`,
        );
        return;
      case "bulkCopy":
        lines.push(
          `${pad}bulkCopy #${s.map}${s.empty ? ` or #${s.empty.map} if ${show(s.empty.test)}` : ""} ${place(s.to)} = [${s.from.map(show).join(", ")}]${where(s.mask)}`,
        );
        return;
      case "matrix": {
        const side = (x: typeof s.a): string =>
          "at" in x
            ? `shared[${show(x.at as Operand)}]`
            : `(${(x as readonly Operand[]).map(show).join(", ")})`;
        lines.push(
          `${pad}${s.d.map(typed).join(", ")} = matrix #${s.matrix} ${side(s.a)} ${side(s.b)} (${s.c.map(show).join(", ")})`,
        );
        return;
      }
      case "loadMatrix":
        lines.push(
          `${pad}${s.dst.map(typed).join(", ")} = loadMatrix${s.transpose ? " transpose" : ""} ${place(s.place)}`,
        );
        return;
      case "for":
        nested(`for ${typed(s.iv)} = ${show(s.lo)} to ${show(s.hi)} step ${show(s.step)}`, s.body, pad);
        return;
      case "while":
        nested("while", s.cond, pad);
        nested(`test ${show(s.test)}`, s.body, pad);
        return;
      case "if":
        nested(`if ${show(s.test)}`, s.then, pad);
        if (s.else.length) nested("else", s.else, pad);
        return;
      default:
        lines.push(`${pad}${s.s}${"pending" in s ? ` ${s.pending}` : ""}`);
    }
  };
  list(form.body, "  ");
  return `${lines.join("\n")}\n`;
}
