// Captured graphs on every chip: replays see new inputs, keep their memory to themselves, and refuse what cannot be recorded.

import { describe, expect, it } from "vitest";
import {
  CaptureError,
  capture,
  type Chip,
  loadChip,
  matmul,
  memoryStats,
  scope,
  softmax,
  type Tensor,
  tensor,
} from "../src/index.js";
import { testedChips } from "./chips.js";

for (const { name, title, missing } of testedChips)
  describe.skipIf(missing !== undefined)(`captured graphs on ${title}`, () => {
    const on = { device: name, dtype: "f32" } as const;
    const open = (): Promise<Chip> => loadChip(name);

    it("repeats a step on new inputs", async () => {
      const chip = await open();
      const x = tensor(
        [
          [1, 2],
          [3, 4],
        ],
        on,
      );
      const w = tensor(
        [
          [1, 0],
          [0, 2],
        ],
        on,
      );
      const step = (): ReturnType<typeof matmul> => matmul(x, w).add(1);
      scope(step);
      const graph = capture(step, { chip });
      graph.replay();
      expect([...(await graph.result.data())]).toEqual([2, 5, 4, 9]);
      x.copy_(
        tensor(
          [
            [0, 1],
            [5, 6],
          ],
          on,
        ),
      );
      graph.replay();
      expect([...(await graph.result.data())]).toEqual([1, 3, 6, 13]);
      graph.dispose();
      expect([...(await graph.result.data())]).toEqual([1, 3, 6, 13]);
      expect(() => graph.replay()).toThrow(/disposed/);
    });

    it("takes the memory of the graphs before it", async () => {
      const chip = await open();
      const x = tensor(new Float32Array(5000), { ...on, shape: [5000] });
      const step = (): Tensor => x.add(1).mul(2).sum();
      scope(step).dispose();
      const once = (): number => {
        const graph = capture(step, { chip });
        graph.replay();
        graph.dispose();
        graph.result.dispose();
        return memoryStats(chip).reserved;
      };
      const first = once();
      expect([once(), once(), once()]).toEqual([first, first, first]);
    });

    it("does nothing while it records, and accumulates when it is replayed", async () => {
      const chip = await open();
      const total = tensor([0, 0], on);
      const x = tensor([1, 2], on);
      const step = (): void => void total.copy_(total.add(x));
      scope(step);
      const graph = capture(step, { chip });
      expect([...(await total.data())]).toEqual([1, 2]);
      for (let i = 0; i < 3; i++) graph.replay();
      expect([...(await total.data())]).toEqual([4, 8]);
      graph.dispose();
    });

    it("shares its memory with nobody until it is disposed", async () => {
      const chip = await open();
      const x = tensor(
        Array.from({ length: 1000 }, (_, i) => i / 1000),
        on,
      );
      const step = (): ReturnType<typeof softmax> => softmax(x.mul(2).add(1), 0).mul(3);
      scope(step);
      const graph = capture(step, { chip });
      graph.replay();
      const want = await graph.result.data();
      // What others allocate now would be the graph's temporaries, had they been given back.
      const others = Array.from({ length: 8 }, (_, i) => x.mul(0).add(i));
      graph.replay();
      for (const [i, other] of others.entries())
        expect((await other.data()).every((v) => v === i)).toBe(true);
      expect(await graph.result.data()).toEqual(want);
      const before = memoryStats(chip).reserved;
      graph.dispose();
      graph.result.dispose();
      const again = scope(step);
      expect(memoryStats(chip).reserved).toBeLessThanOrEqual(before);
      expect(await again.data()).toEqual(want);
    });

    it("refuses to read, to write host data and to wait", async () => {
      const chip = await open();
      const x = tensor([1, 2], on);
      x.add(1);
      expect(() => capture(() => tensor([1], on), { chip })).toThrow(/captured/);
      expect(() => capture(() => x.add(1).data(), { chip })).toThrow(CaptureError);
      expect(() =>
        capture(
          () => {
            capture(() => x.add(1), { chip });
          },
          { chip },
        ),
      ).toThrow(/already capturing/);
      // All is as before.
      expect([...(await x.add(1).data())]).toEqual([2, 3]);
    });
  });
