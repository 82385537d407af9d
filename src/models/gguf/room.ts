// Memory of the host that is used again for each piece of a file: fresh memory costs more than what is done in it, since the system
// gives and clears it page by page.

export type Room = { [name: string]: Uint8Array<ArrayBuffer> | undefined };

/** So many bytes, with what was last written there. */
export function roomFor(room: Room, name: string, bytes: number): Uint8Array<ArrayBuffer> {
  const known = room[name];
  const whole = known && known.length >= bytes ? known : new Uint8Array(bytes);
  room[name] = whole;
  return whole.subarray(0, bytes);
}
