import { expect, it } from "vitest";
import { OwnedBuffers } from "../../runtime/owned-buffers.js";
import { LaunchOrder } from "./order.js";

it("knows what a launch may read before those in front of it have ended", () => {
  const buffers = new OwnedBuffers("test");
  const [weights, x, y] = [1, 2, 3].map((handle) => buffers.add(16, handle));
  const order = new LaunchOrder();
  // Memory that nobody wrote is nobody's.
  expect(order.isNew([weights!])).toBe(false);
  order.wrote(weights!);
  order.wrote(x!);
  expect(order.isNew([weights!])).toBe(true);
  // A launch that overlaps none: what was written before has ended, what it writes has not.
  order.waits();
  order.wrote(y!);
  expect(order.isNew([weights!, x!])).toBe(false);
  expect(order.isNew([weights!, y!])).toBe(true);
  order.wrote(weights!);
  expect(order.isNew([weights!])).toBe(true);
  order.waits();
  expect(order.isNew([weights!, x!, y!])).toBe(false);
  // A graph writes what it was captured with.
  order.lost();
  expect(order.isNew([x!])).toBe(true);
  order.waits();
  expect(order.isNew([x!])).toBe(false);
});
