// The form as text, for people.

import type { Form, Mem, Operand, Reg, RegType, Rows, Stmt } from "./form.js";

const showReg = (r: Reg): string => `%${r.id}`;
const show = (o: Operand): string =>
  typeof o === "object" ? showReg(o) : typeof o === "bigint" ? `${o}n` : Object.is(o, -0) ? "-0" : String(o);
const showType = (t: RegType): string => (t.lanes === 1 ? t.kind : `${t.kind}x${t.lanes}`);
const masked = (mask?: Operand, other?: Operand): string =>
  `${mask === undefined ? "" : ` where ${show(mask)}`}${other === undefined ? "" : ` else ${show(other)}`}`;
const typed = (r: Reg): string => `${showReg(r)}: ${showType(r.type)}`;

/** Prints a form: one statement a line, bodies indented. */
export function showForm(form: Form): string {
  const params = form.params.map(
    (p, i) => `${i}:${p.name}: ${p.kind === "buffer" ? `buffer<${p.mem}>` : p.reg}`,
  );
  const lines = [`form ${form.name}(${params.join(", ")}) frame ${form.frameBytes}`];
  const mem = (m: Mem): string =>
    "param" in m ? (form.params[m.param]?.name ?? `param${m.param}`) : `frame+${m.frame}`;
  const list = (stmts: readonly Stmt[], pad: string): void => {
    for (const s of stmts) statement(s, pad);
  };
  const statement = (s: Stmt, pad: string): void => {
    switch (s.s) {
      case "op": {
        const extra = `${s.index === undefined ? "" : ` #${s.index}`}${s.lane === undefined ? "" : ` lane ${s.lane}`}${s.pick === undefined ? "" : ` [${s.pick}]`}`;
        lines.push(
          `${pad}${typed(s.dst)} = ${[s.op + extra, s.args.map(show).join(", ")].join(" ").trimEnd()}`,
        );
        return;
      }
      case "load":
        lines.push(
          `${pad}${typed(s.dst)} = load${s.packed ? ".packed" : ""}.${s.kind} ${mem(s.mem)}[${show(s.at)}]${masked(s.mask, s.other)}`,
        );
        return;
      case "store":
        lines.push(
          `${pad}store.${s.kind} ${mem(s.mem)}[${show(s.at)}] = ${show(s.value)}: ${showType(s.type)}${masked(s.mask)}${s.stream ? " streaming" : ""}`,
        );
        return;
      case "prefetch":
        lines.push(`${pad}prefetch.${s.kind} ${mem(s.mem)}[${show(s.at)}]`);
        return;
      case "atomic": {
        const expected = s.expected === undefined ? "" : `${show(s.expected)} -> `;
        const sign = s.unsigned ? "U" : "";
        lines.push(
          `${pad}${typed(s.dst)} = atomic.${s.op}${sign}.${s.kind} ${mem(s.mem)}[${show(s.at)}] ${expected}${show(s.value)}`,
        );
        return;
      }
      case "tiles": {
        const at = (x: Rows): string => `${mem(x.mem)}[${show(x.at)} by ${x.stride}]`;
        lines.push(
          `${pad}tiles.${s.op} ${at(s.sums)}: ${s.rows}x${s.columns} += ${at(s.left)} @ ${at(s.right)} over ${s.words}`,
        );
        return;
      }
      case "for":
        lines.push(`${pad}for ${typed(s.iv)} = ${show(s.lo)} to ${show(s.hi)} step ${show(s.step)}`);
        list(s.body, `${pad}  `);
        return;
      case "while":
        lines.push(`${pad}while`);
        list(s.cond, `${pad}  `);
        lines.push(`${pad}test ${show(s.test)}`);
        list(s.body, `${pad}  `);
        return;
      case "if":
        lines.push(`${pad}if ${show(s.test)}`);
        list(s.then, `${pad}  `);
        if (s.else.length) {
          lines.push(`${pad}else`);
          list(s.else, `${pad}  `);
        }
    }
  };
  list(form.body, "  ");
  return `${lines.join("\n")}\n`;
}
