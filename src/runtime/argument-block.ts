// The arguments of a launch in memory that native code reads: slots of 8 bytes. Writing one makes no garbage. What stands in
// which slot is the driver's business.

/** A scalar's form in a slot; narrower integers and masks are `i32`. */
export type ScalarKind = "i32" | "i64" | "f32" | "f64";

/** What a parameter is, as a small number that a launch can switch on. */
export const [BUFFER, I32, I64, F32, F64] = [0, 1, 2, 3, 4] as const;
const CODE: Readonly<Record<ScalarKind | "mask", number>> = {
  i32: I32,
  mask: I32,
  i64: I64,
  f32: F32,
  f64: F64,
};

/** The code of a scalar's register kind. */
export const scalarCode = (kind: ScalarKind | "mask"): number => CODE[kind];

export class ArgumentBlock {
  readonly words: Uint32Array;
  private readonly ints: Int32Array;
  private readonly bigs: BigInt64Array;
  private readonly floats: Float32Array;
  private readonly doubles: Float64Array;

  constructor(private readonly memory: ArrayBuffer) {
    this.words = new Uint32Array(memory);
    this.ints = new Int32Array(memory);
    this.bigs = new BigInt64Array(memory);
    this.floats = new Float32Array(memory);
    this.doubles = new Float64Array(memory);
  }

  /** A part of the memory. */
  bytes(at: number, length: number): Uint8Array {
    return new Uint8Array(this.memory, at, length);
  }

  /** A whole number of at most 53 bits, an address mostly. Typed arrays take the low 32 bits of what they are given. */
  putWhole(slot: number, value: number): void {
    this.words[slot * 2] = value;
    this.words[slot * 2 + 1] = Math.floor(value / 4294967296);
  }

  putScalar(slot: number, code: number, value: number | bigint): void {
    switch (code) {
      case I32:
        this.ints[slot * 2] = Number(value);
        break;
      case I64:
        this.bigs[slot] = BigInt(value);
        break;
      case F32:
        this.floats[slot * 2] = Number(value);
        break;
      case F64:
        this.doubles[slot] = Number(value);
        break;
    }
  }
}
