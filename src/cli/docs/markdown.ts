// docs/operators.md as text.

import { builtinChips } from "../../chips/index.js";
import { type OperatorInfo, promotionTable, TENSOR_DTYPES } from "../../tensor/index.js";
import { type OperatorRow, operatorRow } from "./matrix.js";

const GRADIENT: Readonly<Record<OperatorRow["gradient"], string>> = {
  declared: "yes",
  composite: "yes, by its parts",
  none: "-",
  missing: "no",
};

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string[] => [
  `| ${head.join(" | ")} |`,
  `|${head.map(() => "---").join("|")}|`,
  ...rows.map((r) => `| ${r.map((c) => c.replaceAll("|", "\\|")).join(" | ")} |`),
];

export function operatorsMarkdown(infos: Iterable<OperatorInfo>): string {
  const rows = [...infos].map(operatorRow).sort((a, b) => (a.name < b.name ? -1 : 1));
  const notes = new Map<string, number>();
  const noteOf = (text: string): number => {
    const at = notes.get(text) ?? notes.size + 1;
    notes.set(text, at);
    return at;
  };
  const cell = (r: OperatorRow, d: (typeof TENSOR_DTYPES)[number]): string => {
    if (r.dtypes === null) return "";
    const answer = r.dtypes[d];
    return answer === true ? "x" : `[${noteOf(answer)}](#n${noteOf(answer)})`;
  };
  const body = rows.map((r) => [
    `\`${r.name}\``,
    r.stage,
    GRADIENT[r.gradient],
    ...TENSOR_DTYPES.map((d) => cell(r, d)),
    r.implementations.slice(1).join(", "),
    r.summary || (r.opinfo.length > 0 ? `torch: \`${r.opinfo[0]}\`` : ""),
  ]);
  const unknown = rows.filter((r) => r.dtypes === null).length;
  const missing = rows.filter((r) => r.gradient === "missing");
  return [
    "# Operators",
    "",
    "Generated from the operator table by `npm run docs`; do not edit. `npx vexil ops --json` gives the same as data.",
    "",
    `${rows.length} operators. A cell of a dtype is x where the operator takes it, else the number of the reason. It was found by calling the operator with one of PyTorch's samples converted to that dtype; ${unknown} operators have no such sample and leave the cells empty.`,
    "",
    "Every operator is made of kernels of the language, so a chip runs all of them in the dtypes that it has:",
    "",
    ...table(
      ["chip", "dtypes", "declined by name"],
      builtinChips.map(({ name, optional = [] }) => [
        name,
        "all",
        optional.length > 0 ? `${optional.join(", ")}, where the device lacks it` : "-",
      ]),
    ),
    "",
    "## Table",
    "",
    ...table(
      ["operator", "stage", "gradient", ...TENSOR_DTYPES, "also implemented by", "what it does"],
      body,
    ),
    "",
    "## Why not",
    "",
    ...[...notes].map(([text, n]) => `<a id="n${n}"></a>${n}. ${text}\n`),
    ...(missing.length > 0
      ? [
          `Without a derivative: ${missing.map((r) => `\`${r.name}\``).join(", ")}. A backward pass through one fails and names it.`,
          "",
        ]
      : []),
    "## Type promotion",
    "",
    "The dtype that two tensors of these dtypes meet in; - where they do not.",
    "",
    ...table(
      ["", ...TENSOR_DTYPES],
      promotionTable().map((row, i) => [`**${TENSOR_DTYPES[i]}**`, ...row.map((d) => d ?? "-")]),
    ),
    "",
  ].join("\n");
}
