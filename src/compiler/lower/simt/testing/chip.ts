// A chip for tests: the interpreter's memory, and launches that evaluate the lowered form. Kernels of operators run on it
// as on a GPU, and every access is checked.

import { InterpreterDriver } from "../../../../chips/interpreter/driver.js";
import type { Capabilities, Chip, DeviceBuffer, Executable } from "../../../../runtime/driver.js";
import type { TuningTable } from "../../../../runtime/tuning-table.js";
import type { Artifact } from "../../../target.js";
import type { Form } from "../form.js";
import { lowerSimt } from "../lower.js";
import type { SimtShape } from "../shape.js";
import { evaluateForm } from "./evaluate.js";

class LoadedForm implements Executable {
  constructor(
    readonly form: Form,
    readonly name = form.name,
  ) {}
}

class EvaluatorDriver extends InterpreterDriver {
  constructor(private readonly shape: SimtShape) {
    super();
  }

  override load(artifact: Artifact): Executable {
    return new LoadedForm(lowerSimt(artifact.func!, this.shape));
  }

  override launch(
    exe: Executable,
    gridX: number,
    gridY: number,
    gridZ: number,
    values: readonly (DeviceBuffer | number | bigint)[],
    offsets: readonly number[],
  ): void {
    const { form } = exe as LoadedForm;
    const args = values.map((v) =>
      typeof v === "object" ? new Uint8Array((v as unknown as { data: ArrayBuffer }).data) : v,
    );
    evaluateForm(form, args, [gridX, gridY, gridZ], offsets, this.shape.matrices);
  }
}

/** A chip that evaluates forms for `shape`. */
export function evaluatorChip(
  name: string,
  shape: SimtShape,
  options: {
    readonly nativeMath?: readonly string[];
    readonly capabilities?: Partial<Capabilities>;
    readonly tuning?: TuningTable;
  } = {},
): Chip {
  return {
    ...(options.tuning ? { tuning: options.tuning } : {}),
    name,
    target: {
      name,
      fingerprint: JSON.stringify(shape),
      ...(options.nativeMath ? { nativeMath: options.nativeMath } : {}),
      compile: (func) => ({ bytes: new Uint8Array(), meta: {}, func }),
    },
    driver: new EvaluatorDriver(shape),
    description: "evaluates the GPU form",
    capabilities: {
      syncRead: true,
      f64: true,
      i64: true,
      threads: 1,
      elementsPerProgram: 256,
      dotBlock: [16, 16, 16],
      maxBufferBytes: 2 ** 31,
      maxGrid: [2147483647, 65535, 65535],
      ...options.capabilities,
    },
  };
}
