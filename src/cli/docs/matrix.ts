// The support matrix: operators x dtypes x chips, from the table, from what was probed, and from what chips can do.

import { builtinChips } from "../../chips/index.js";
import type { OperatorInfo } from "../../tensor/index.js";
import { TENSOR_DTYPES, type TensorDType } from "../../tensor/index.js";
import { REASONS, SUPPORT } from "./support-table.js";

export interface OperatorRow {
  readonly name: string;
  readonly schema: string;
  readonly gradient: OperatorInfo["gradient"];
  readonly stage: string;
  readonly summary: string;
  /** PyTorch's samples that it is tested with. */
  readonly opinfo: readonly string[];
  /** Which implementations it has. */
  readonly implementations: readonly string[];
  /** `true` where it runs, else why not; null where there was nothing to try it with. */
  readonly dtypes: Readonly<Record<TensorDType, true | string>> | null;
  /** The dtypes that each chip may decline, by the capability that is missing. */
  readonly chips: Readonly<Record<string, Readonly<Partial<Record<TensorDType, string>>>>>;
}

/** The dtypes that a capability brings. */
const BRINGS: Readonly<Record<string, TensorDType>> = { f64: "f64", i64: "i64" };

export function operatorRow(op: OperatorInfo): OperatorRow {
  const code = SUPPORT[op.name];
  const dtypes =
    code === undefined || code === ""
      ? null
      : (Object.fromEntries(
          TENSOR_DTYPES.map((d, i) => {
            const answer = code.split(" ")[i]!;
            return [d, answer === "." ? true : REASONS[Number(answer)]!];
          }),
        ) as Record<TensorDType, true | string>);
  return {
    name: op.name,
    schema: op.schema.text,
    gradient: op.gradient,
    stage: op.stage,
    summary: op.summary,
    opinfo: [...new Set(op.opinfo.map((e) => (e.variant ? `${e.op}.${e.variant}` : e.op)))],
    implementations: ["vexil", ...op.implementations.map((x) => x.name)],
    dtypes,
    chips: Object.fromEntries(
      builtinChips.map(({ name, optional = [] }) => [
        name,
        Object.fromEntries(optional.map((c) => [BRINGS[c], `declined where the device lacks ${c}`])),
      ]),
    ),
  };
}
