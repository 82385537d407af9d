import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PagePool } from "./page-pool.js";
import { Scheduler, Sequence } from "./scheduler.js";

const PAGE = 4;
const text = (n: number, from = 0): number[] => Array.from({ length: n }, (_, i) => (from + i * 7) % 11);

/** Runs steps until nobody has anything to do; every sequence makes `wanted` tokens. Returns each step's [index, count]. */
function run(
  scheduler: Scheduler,
  list: readonly Sequence[],
  wanted: readonly number[],
): [number, number][][] {
  const prompts = list.map((s) => s.tokens.length);
  const steps: [number, number][][] = [];
  for (let step = 0; scheduler.running.length + scheduler.waiting.length > 0; step++) {
    if (step > 2000) throw new Error("no end");
    const work = scheduler.plan();
    expect(work.length).toBeGreaterThan(0);
    const used = new Map<number, number>();
    for (const { sequence: s, count } of work) {
      expect(count).toBeGreaterThan(0);
      expect(s.pages.length * PAGE).toBeGreaterThanOrEqual(s.done + count);
      // What is written now belongs to nobody else.
      for (const page of s.pages.slice(Math.floor(s.done / PAGE))) used.set(page, (used.get(page) ?? 0) + 1);
    }
    for (const n of used.values()) expect(n).toBe(1);
    steps.push(work.map((w) => [list.indexOf(w.sequence), w.count]));
    scheduler.finish(work);
    for (const { sequence: s } of work) {
      if (s.done < s.tokens.length) continue;
      s.tokens.push((s.tokens.length * 5) % 11);
      const i = list.indexOf(s);
      if (s.tokens.length - prompts[i]! === wanted[i]) scheduler.remove(s);
    }
  }
  return steps;
}

describe("scheduler", () => {
  it("gives everybody who answers a token a step, and prompts a chunk between them", () => {
    const scheduler = new Scheduler(new PagePool(64, PAGE), { maxSequences: 4, chunk: 8 });
    const [a, b] = [new Sequence(text(3)), new Sequence(text(20, 1))];
    scheduler.add(a);
    scheduler.add(b);
    expect(run(scheduler, [a, b], [4, 2])).toEqual([
      [[0, 3]],
      [
        [0, 1],
        [1, 8],
      ],
      [
        [0, 1],
        [1, 8],
      ],
      [
        [0, 1],
        [1, 4],
      ],
      [[1, 1]],
    ]);
    expect(scheduler.pool.free).toBe(64);
  });

  it("finds the beginning of a prompt that came before, while it runs and afterwards", () => {
    const scheduler = new Scheduler(new PagePool(16, PAGE), { maxSequences: 4, chunk: 32 });
    const first = new Sequence(text(10));
    scheduler.add(first);
    scheduler.finish(scheduler.plan());
    first.tokens.push(1);
    const second = new Sequence([...text(9), 99]);
    scheduler.add(second);
    const [, work] = scheduler.plan();
    expect([work!.sequence === second, work!.count, second.reused]).toEqual([true, 2, 8]);
    expect(second.pages.slice(0, 2)).toEqual(first.pages.slice(0, 2));
    scheduler.finish([work!]);
    scheduler.remove(first);
    scheduler.remove(second);
    expect(scheduler.pool.free).toBe(16);
    const third = new Sequence(text(8));
    scheduler.add(third);
    scheduler.plan();
    // The last token always runs: its logits are wanted.
    expect(third.reused).toBe(4);
  });

  it("begins again what had to give way, and loses nothing", () => {
    const scheduler = new Scheduler(new PagePool(6, PAGE), { maxSequences: 4, chunk: 8 });
    const list = [0, 1, 2].map((i) => new Sequence(text(6, i)));
    for (const s of list) scheduler.add(s);
    run(scheduler, list, [14, 14, 14]);
    expect(scheduler.preempted).toBeGreaterThan(0);
    for (const s of list) expect(s.tokens.length).toBe(20);
    expect(scheduler.pool.free).toBe(6);
  });

  it("runs a sequence once in a step in which it gave way and came in again", () => {
    const scheduler = new Scheduler(new PagePool(16, PAGE), { maxSequences: 3, chunk: 8 });
    const prompts = [[4, 2], [27, 0], [21, 0], [24, 2], [12, 0], [1, 0]] as const; // biome-ignore format: a list
    const list = prompts.map(([n, from]) => new Sequence(text(n, from)));
    for (const s of list) scheduler.add(s);
    const steps = run(scheduler, list, [1, 7, 9, 3, 2, 1]);
    for (const step of steps) expect(new Set(step.map(([i]) => i)).size).toBe(step.length);
    expect(scheduler.preempted).toBeGreaterThan(0);
  });

  it("ends every load that fits, and gives back every page", () => {
    const request = fc.record({ prompt: fc.integer({ min: 1, max: 30 }), from: fc.integer({ min: 0, max: 3 }), make: fc.integer({ min: 1, max: 12 }) }); // biome-ignore format: a line
    fc.assert(
      fc.property(
        fc.array(request, { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 11, max: 40 }),
        fc.integer({ min: 1, max: 6 }),
        (requests, pages, maxSequences) => {
          const scheduler = new Scheduler(new PagePool(pages, PAGE), { maxSequences, chunk: 8 });
          const list = requests.map((r) => new Sequence(text(r.prompt, r.from)));
          for (const s of list) scheduler.add(s);
          run(
            scheduler,
            list,
            requests.map((r) => r.make),
          );
          expect(scheduler.pool.free).toBe(pages);
          for (const [i, s] of list.entries())
            expect(s.tokens.length).toBe(requests[i]!.prompt + requests[i]!.make);
        },
      ),
      { numRuns: 200 },
    );
  });
});
