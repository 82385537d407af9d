// Runs Forms in tests, and has them checked by another tool.

import type { Form } from "../../../compiler/lower/simd/form.js";
import { printForm } from "../print.js";

export { FormBuilder } from "./builder.js";

/** A buffer's bytes (changed in place), or a scalar argument. */
export type TestArg = Uint8Array | number | bigint;

/** Where the first buffer starts; the argument block is below. */
const BUFFERS = 65536;

/** Prints, validates and runs a Form over a grid; buffers get their new contents. Returns the module's bytes. */
export function runForm(
  form: Form,
  args: readonly TestArg[],
  grid: readonly [number, number, number] = [1, 1, 1],
  relaxed = false,
): Uint8Array {
  const limits = { min: 1, max: 1024, shared: true };
  const { bytes } = printForm(form, { relaxed, memory: limits });
  const memory = new WebAssembly.Memory({ initial: 64, maximum: 1024, shared: true });
  const view = new DataView(memory.buffer);
  grid.forEach((n, i) => {
    view.setInt32(8 * i, n, true);
  });
  let at = BUFFERS;
  const places = args.map((a, i) => {
    const slot = 8 * (3 + i);
    const param = form.params[i]!;
    if (a instanceof Uint8Array) {
      const place = at;
      new Uint8Array(memory.buffer).set(a, place);
      view.setInt32(slot, place, true);
      at += Math.ceil((a.length + 64) / 64) * 64;
      return place;
    }
    const reg = param.kind === "scalar" ? param.reg : "i32";
    if (reg === "i64") view.setBigInt64(slot, BigInt(a), true);
    else if (reg === "f32") view.setFloat32(slot, Number(a), true);
    else if (reg === "f64") view.setFloat64(slot, Number(a), true);
    else view.setInt32(slot, Number(a), true);
    return 0;
  });
  const module = new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>);
  const instance = new WebAssembly.Instance(module, { env: { memory } });
  (instance.exports["run"] as (...a: number[]) => void)(0, at, 0, grid[0] * grid[1] * grid[2]);
  args.forEach((a, i) => {
    if (a instanceof Uint8Array) a.set(new Uint8Array(memory.buffer, places[i]!, a.length));
  });
  return bytes;
}

type Wabt = {
  readWasm(bytes: Uint8Array, features: object): { validate(features: object): void; destroy(): void };
  parseWat(
    name: string,
    text: string,
    features: object,
  ): { toBinary(o: object): { buffer: Uint8Array }; destroy(): void };
};
const FEATURES = {
  simd: true,
  threads: true,
  relaxed_simd: true,
  sat_float_to_int: true,
  sign_extension: true,
  mutable_globals: true,
};

let wabtModule: Promise<Wabt> | undefined;
async function wabt(): Promise<Wabt> {
  wabtModule ??= import("wabt").then((m) => (m.default as unknown as () => Promise<Wabt>)());
  return wabtModule;
}

/** Has somebody else's tool check a module; throws what it finds. */
export async function checkWithWabt(bytes: Uint8Array): Promise<void> {
  const module = (await wabt()).readWasm(bytes, FEATURES);
  try {
    module.validate(FEATURES);
  } finally {
    module.destroy();
  }
}

/** Assembles text with somebody else's tool. */
export async function assembleWithWabt(text: string): Promise<Uint8Array> {
  const module = (await wabt()).parseWat("test.wat", text, FEATURES);
  try {
    return module.toBinary({}).buffer;
  } finally {
    module.destroy();
  }
}
