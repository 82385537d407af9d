// Files as memory: one mapping for all parts of a file, its own bytes for everybody, and an end when the last one is freed.

import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openDriver } from "./testing.js";

let dir: string;
let path: string;
const PART = 100_000;
const content = Uint8Array.from({ length: 3 * PART + 5 }, (_, i) => (i * 31 + (i >> 8)) % 251);
const driver = openDriver(1);

beforeAll(() => {
  dir = fs.mkdtempSync(join(tmpdir(), "vexil-maps-"));
  path = join(dir, "part's bytes");
  fs.writeFileSync(path, content);
});
afterAll(() => {
  driver.close();
  fs.rmSync(dir, { recursive: true });
});

const take = (position: number, bytes: number) => driver.mapFile(path, position, bytes)!;
const read = ({ buffer, begin }: ReturnType<typeof take>, bytes: number): Uint8Array =>
  driver.readSync(buffer, begin, bytes);
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
/** Lines of the process's mappings that name the file; where the system shows them. */
const mappings = (): number | undefined =>
  fs.existsSync("/proc/self/maps")
    ? fs.readFileSync("/proc/self/maps", "utf8").split(path).length - 1
    : undefined;
const is = (n: number) => [n, undefined];

it("maps a file once for its parts, wherever they begin, and ends the mapping with the last of them", () => {
  const parts = [2 * PART + 5, 0, PART + 3].map((at) => ({ at, part: take(at, PART - 5) }));
  for (const { at, part } of parts)
    expect(same(read(part, PART - 5), content.slice(at, at + PART - 5))).toBe(true);
  expect(is(1)).toContain(mappings());
  for (const { part } of parts) {
    expect(is(1)).toContain(mappings());
    driver.free(part.buffer);
  }
  expect(is(0)).toContain(mappings());
});

it("gives bytes that somebody has, or had, anew", () => {
  const [first, next] = [take(0, PART), take(PART, PART)];
  driver.write(first.buffer, first.begin, new Uint8Array(PART).fill(255));
  // A part of them again, while the first has them and when it has given them back.
  const second = take(PART - 100, PART);
  expect(same(read(second, PART), content.slice(PART - 100, 2 * PART - 100))).toBe(true);
  driver.free(first.buffer);
  const third = take(50, 1000);
  expect(same(read(third, 1000), content.slice(50, 1050))).toBe(true);
  expect(same(read(next, PART), content.slice(PART, 2 * PART))).toBe(true);
  for (const { buffer } of [next, second, third]) driver.free(buffer);
  expect(is(0)).toContain(mappings());
  expect(same(fs.readFileSync(path), content)).toBe(true);
});

it("tells another file of the same name from the one that it has mapped", () => {
  const old = take(0, PART);
  const turned = content.slice().reverse();
  fs.writeFileSync(`${path}.new`, turned);
  fs.renameSync(`${path}.new`, path);
  const now = take(PART, PART);
  expect(same(read(now, PART), turned.slice(PART, 2 * PART))).toBe(true);
  expect(same(read(old, PART), content.slice(0, PART))).toBe(true);
  for (const { buffer } of [old, now]) driver.free(buffer);
});

it("has no bytes behind a file's end, and none of a file that is not there", () => {
  expect(driver.mapFile(path, 2 * PART, PART + 6)).toBeUndefined();
  expect(driver.mapFile(join(dir, "none"), 0, 10)).toBeUndefined();
});
