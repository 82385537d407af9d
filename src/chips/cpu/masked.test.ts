// Masked loads and stores of every element and width, in single instructions and in portable text.

import { describe, expect, it } from "vitest";
import type { RegKind } from "../../compiler/lower/simd/form.js";
import { verifyForm } from "../../compiler/lower/simd/verify.js";
import { printC } from "./print.js";
import { download, FormBuilder, loadForm, openDriver, testCompiler, upload } from "./testing.js";
import { type Features, PORTABLE } from "./unit.js";

type Kind = "i32" | "i64" | "f32" | "f64";
/** Typed elements of a kind, and back to numbers. */
const array = (kind: Kind, xs: readonly number[]): ArrayBufferView => {
  if (kind === "i64") return BigInt64Array.from(xs, BigInt);
  return kind === "i32"
    ? Int32Array.from(xs)
    : kind === "f32"
      ? Float32Array.from(xs)
      : Float64Array.from(xs);
};
const numbers = (kind: Kind, data: ArrayBuffer): number[] => {
  if (kind === "i64") return Array.from(new BigInt64Array(data), Number);
  const View = { i32: Int32Array, f32: Float32Array, f64: Float64Array }[kind];
  return Array.from(new View(data));
};
const N = 32;

/** y[i] = x[i] where m[i], else `other`, written under m too (`store`) or everywhere. */
function maskedForm(kind: Kind, lanes: number, other: "zero" | "register", store: boolean) {
  const b = new FormBuilder();
  const [x, m, y] = [b.buffer("x", kind), b.buffer("m", "i32"), b.buffer("y", kind)];
  const id = b.op("programId", "i32", 1, [], { index: 0 });
  const at = b.op("mul", "i32", 1, [id, lanes]);
  const mask = b.op("ne", "mask", lanes, [b.load(m, at, "i32", lanes, "i32"), 0]);
  const dst = b.reg(kind as RegKind, lanes);
  const literal = (v: number): number | bigint => (kind === "i64" ? BigInt(v) : v);
  const off = other === "zero" ? literal(0) : b.op("copy", kind, lanes, [literal(7)]);
  b.push({ s: "load", dst, mem: { param: x }, kind, at, mask, other: off });
  b.push({ s: "store", value: dst, type: dst.type, mem: { param: y }, kind, at, ...(store ? { mask } : {}) });
  const form = b.form("masked");
  verifyForm(form);
  return form;
}

describe.each([
  ["this machine's", () => testCompiler().features],
  ["portable", () => PORTABLE],
] as [string, () => Features][])("%s masked accesses", (_, features) => {
  for (const kind of ["i32", "i64", "f32", "f64"] as const)
    for (const lanes of kind.endsWith("64") ? [2, 4] : [4, 8])
      it(`${kind} x ${lanes}`, async () => {
        const driver = openDriver(1);
        const xs = array(
          kind,
          Array.from({ length: N }, (_, i) => i + 1),
        );
        const ms = Int32Array.from({ length: N }, (_, i) => Number((i * 7) % 5 < 2 || i % 8 === 7));
        for (const [other, store] of [
          ["zero", false],
          ["register", false],
          ["zero", true],
        ] as const) {
          const exe = loadForm(driver, maskedForm(kind, lanes, other, store), features());
          const y = upload(driver, array(kind, new Array<number>(N).fill(99)));
          const args = [upload(driver, xs), upload(driver, ms), y];
          driver.launch(exe, N / lanes, 1, 1, args, [0, 0, 0]);
          const got = numbers(kind, await download(driver, y));
          const off = store ? 99 : other === "zero" ? 0 : 7;
          expect(got).toEqual(Array.from(ms, (m, i) => (m ? i + 1 : off)));
        }
        driver.close();
      });
});

it("uses one instruction for an access where there is one", () => {
  const { features } = testCompiler();
  if (!features.x86) return;
  const text = printC(maskedForm("f32", 8, "zero", true), features);
  expect(text).toContain("maskloadps256");
  expect(text).toContain("maskstoreps256");
});
