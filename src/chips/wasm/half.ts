// Half precision to and from f32 in integer and float operations: WebAssembly has no instruction for it.

import type { RegType } from "../../compiler/lower/simd/form.js";
import type { Arg, Tools } from "./emit-ops.js";

/** Half bits to f32: the exponent is corrected by a multiplication, which makes subnormals right too. */
export function f16ToF32(dst: RegType, half: Arg, { op, literal, held }: Tools): void {
  const bits: RegType = { kind: "i32", lanes: dst.lanes };
  const mask: RegType = { kind: "mask", lanes: dst.lanes };
  const int = (v: number): Arg => literal(v, bits);
  held(half, (h) =>
    held(op("and", bits, [h, int(0x7fff)]), (magnitude) => {
      const shifted = op("bitcast", dst, [op("shl", bits, [magnitude, int(13)])]);
      const finite = op("bitcast", bits, [op("mul", dst, [shifted, literal(2 ** 112, dst)])]);
      const special = op("select", bits, [
        op("gtS", mask, [magnitude, int(0x7bff)]),
        int(0x7f800000),
        int(0),
      ]);
      const sign = op("shl", bits, [op("and", bits, [h, int(0x8000)]), int(16)]);
      op("bitcast", dst, [op("or", bits, [op("or", bits, [finite, special]), sign])]).push();
    }),
  );
}

/** f32 to half bits, to nearest, ties to even. */
export function f32ToF16(dst: RegType, value: Arg, { op, literal, held }: Tools): void {
  const float: RegType = { kind: "f32", lanes: dst.lanes };
  const mask: RegType = { kind: "mask", lanes: dst.lanes };
  const int = (v: number): Arg => literal(v, dst);
  held(op("bitcast", dst, [value]), (bits) =>
    held(op("and", dst, [bits, int(0x7fffffff)]), (magnitude) => {
      // Rebias the exponent by 15 - 127, add just under half a unit, and one more if the kept part is odd.
      const odd = op("and", dst, [op("shrU", dst, [magnitude, int(13)]), int(1)]);
      const rounded = op("add", dst, [op("add", dst, [magnitude, int(0xc8000fff | 0)]), odd]);
      const normal = op("shrU", dst, [rounded, int(13)]);
      // Adding 0.5 lets the float unit round to multiples of 2^-24, the step of subnormal halves.
      const sum = op("add", float, [op("bitcast", float, [magnitude]), literal(0.5, float)]);
      const small = op("sub", dst, [op("bitcast", dst, [sum]), int(0x3f000000)]);
      const finite = op("select", dst, [op("ltS", mask, [magnitude, int(0x38800000)]), small, normal]);
      const special = op("select", dst, [
        op("gtS", mask, [magnitude, int(0x7f800000)]),
        int(0x7e00),
        int(0x7c00),
      ]);
      const result = op("select", dst, [op("geS", mask, [magnitude, int(0x47800000)]), special, finite]);
      const sign = op("and", dst, [op("shrU", dst, [bits, int(16)]), int(0x8000)]);
      op("or", dst, [result, sign]).push();
    }),
  );
}
