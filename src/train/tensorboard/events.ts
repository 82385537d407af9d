// TensorBoard event files: TFRecord framing around the protobuf message `Event` (tensorflow/core/util/event.proto), as
// far as scalars need it. A field is a key (number * 8 + wire type) and a value; wire types: 0 a varint, 1 eight bytes,
// 2 a length and bytes, 5 four bytes.

import { maskedCrc32c } from "./crc32c.js";

function varint(value: number): number[] {
  const out: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) out.push((value % 128) + 128);
  out.push(value);
  return out;
}
const number = (field: number, value: number): number[] => [field * 8, ...varint(value)];
const bytes = (field: number, value: ArrayLike<number>): number[] => [
  field * 8 + 2,
  ...varint(value.length),
  ...Array.from(value),
];
const text = (field: number, value: string): number[] => bytes(field, new TextEncoder().encode(value));
const double = (field: number, value: number): number[] => {
  const b = new Uint8Array(8);
  new DataView(b.buffer).setFloat64(0, value, true);
  return [field * 8 + 1, ...b];
};
const float = (field: number, value: number): number[] => {
  const b = new Uint8Array(4);
  new DataView(b.buffer).setFloat32(0, value, true);
  return [field * 8 + 5, ...b];
};

/** One record of a file: length, its check, data, their check. */
export function record(data: Uint8Array): Uint8Array {
  const out = new Uint8Array(data.length + 16);
  const view = new DataView(out.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, maskedCrc32c(out.subarray(0, 8)), true);
  out.set(data, 12);
  view.setUint32(12 + data.length, maskedCrc32c(data), true);
  return out;
}

const event = (seconds: number, step: number, content: number[]): Uint8Array =>
  Uint8Array.from([...double(1, seconds), ...number(2, step), ...content]);

/** The first event of every file: the version of the format. */
export const versionEvent = (seconds: number): Uint8Array => event(seconds, 0, text(3, "brain.Event:2"));

/** The run starts (again) at a step: TensorBoard forgets what earlier files say of later steps. */
export const startEvent = (seconds: number, step: number): Uint8Array =>
  event(seconds, step, bytes(7, number(1, 1)));

/** Named numbers of a step. */
export const scalarsEvent = (
  seconds: number,
  step: number,
  scalars: Readonly<Record<string, number>>,
): Uint8Array =>
  event(
    seconds,
    step,
    bytes(
      5,
      Object.entries(scalars).flatMap(([tag, value]) => bytes(1, [...text(1, tag), ...float(2, value)])),
    ),
  );
