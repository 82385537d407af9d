// Claims and prints of running kernels: checked and shown by the chips for which reports are lowered, left out by others.

import { afterAll, describe, expect, it, vi } from "vitest";
import { constexpr, i32, ptr } from "../../src/compiler/lang/index.js";
import { kernel } from "../../src/runtime/index.js";
import { chips, closeAll, room } from "./run.js";

afterAll(closeAll);

const checked = kernel(
  { x: ptr, y: ptr, n: i32, N: constexpr },
  ({ x, y, n, N }, tl) => {
    const v = tl.load(x + tl.arange(0, N));
    tl.deviceAssert(v >= 0, "a weight is negative");
    for (let k = 0; k < n; k++) tl.deviceAssert(k < 3);
    tl.devicePrint("sum", tl.sum(v, 0), v > 1);
    tl.store(y + tl.programId(0), tl.sum(v, 0));
  },
  "checked",
);

describe.each(chips)("on $name", ({ run }) => {
  it("what holds changes nothing", async () => {
    const log = vi.spyOn(console, "log").mockImplementation(() => {});
    const got = await run(checked, { x: ["f32", [1, 2, 3, 4]], y: room(2), n: 3, N: 4 }, [2]);
    expect(got["y"]).toEqual([10, 10]);
    // Programs may run in any order.
    const lines = [...log.mock.calls].sort((a, b) => (String(a[0]) < String(b[0]) ? -1 : 1));
    log.mockRestore();
    expect(lines).toEqual(
      [0, 1].map((p) => [`kernel checked (${p}, 0, 0) sum`, 10, [false, true, true, true]]),
    );
  });
});

describe.each(chips)("what does not hold, on $name", ({ run }) => {
  it("names kernel, program, element, message and line", async () => {
    const wrong = run(checked, { x: ["f32", [1, 2, -3, 4]], y: room(1), n: 0, N: 4 });
    await expect(wrong).rejects.toThrow(
      /kernel checked, program \(0, 0, 0\) of \(1, 1, 1\): assert does not hold at element 2: a weight is negative[\s\S]*tl\.deviceAssert\(v >= 0/,
    );
  });
  it("also in a loop, of a scalar", async () => {
    const wrong = run(checked, { x: ["f32", [1, 2, 3, 4]], y: room(1), n: 4, N: 4 });
    await expect(wrong).rejects.toThrow(/assert does not hold\n[\s\S]*tl\.deviceAssert\(k < 3\)/);
  });
});
