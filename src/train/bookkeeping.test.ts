import { describe, expect, it } from "vitest";
import { Best } from "./best.js";
import { SpikeGuard } from "./spikes.js";

describe("SpikeGuard", () => {
  const settings = { factor: 2, window: 4 };
  const filled = () => {
    const guard = new SpikeGuard(settings);
    for (const loss of [4, 3, 2, 1]) expect(guard.judge(loss, 1)).toBeUndefined();
    return guard;
  };

  it("judges by the median of the last steps that were no spikes, once there are enough", () => {
    const early = new SpikeGuard(settings);
    for (const loss of [1, 1, 1, 100]) expect(early.judge(loss, 1)).toBeUndefined();
    // The median of 4, 3, 2, 1 is 2.5: 5 is twice that, and no more.
    expect(filled().judge(5, 1)).toBeUndefined();
    const guard = filled();
    expect(guard.judge(5.01, 1)).toBe("the loss 5.010 is 2.00 times the recent median");
    expect(guard.judge(2, 2.5)).toBe("the gradients' norm 2.500 is 2.50 times the recent median");
    expect([guard.inARow, guard.skipped]).toEqual([2, 2]);
    expect(guard.judge(2, 1)).toBeUndefined();
    expect([guard.inARow, guard.skipped]).toEqual([0, 2]);
    expect(guard.state.losses).toEqual([3, 2, 1, 2]);
  });

  it("goes on from its state as if nothing had been, with a smaller window too", () => {
    const guard = filled();
    guard.judge(50, 1);
    const again = new SpikeGuard(settings, JSON.parse(JSON.stringify(guard.state)));
    expect(again.state).toEqual(guard.state);
    for (const loss of [2, 9, 3, 5.1]) expect(again.judge(loss, 1)).toBe(guard.judge(loss, 1));
    expect(again.state).toEqual(guard.state);
    expect(new SpikeGuard({ factor: 2, window: 2 }, guard.state).state.losses).toHaveLength(2);
  });
});

describe("Best", () => {
  it("counts evaluations that are not lower by min_delta", () => {
    const best = new Best({ patience: 2, min_delta: 0.1 });
    expect(best.exhausted).toBe(false);
    // A little lower is the lowest, whose checkpoint stays, but no reason to go on.
    expect([best.see(1, 2), best.see(2, 1.95), best.see(3, 1.5), best.see(4, 1.45), best.exhausted]).toEqual([
      true,
      true,
      true,
      true,
      false,
    ]);
    expect(best.see(5, Number.NaN)).toBe(false);
    expect(best.exhausted).toBe(true);
    expect(best.state).toEqual({ step: 4, loss: 1.45, mark: 1.5, waited: 2 });
    expect(new Best({ patience: 2, min_delta: 0.1 }, best.state).exhausted).toBe(true);
  });

  it("counts small steps from where it last stood, not from the step before", () => {
    const best = new Best({ patience: 3, min_delta: 0.1 }, { step: 1, loss: 2, waited: 0 });
    expect([best.see(2, 1.95), best.see(3, 1.9), best.exhausted, best.see(4, 1.85)]).toEqual([
      true,
      true,
      false,
      true,
    ]);
    expect(best.state).toEqual({ step: 4, loss: 1.85, mark: 1.85, waited: 0 });
  });

  it("never ends a run without patience", () => {
    const best = new Best(undefined);
    for (let i = 0; i < 100; i++) best.see(i, 1);
    expect(best.exhausted).toBe(false);
    expect(best.state).toMatchObject({ step: 0, loss: 1 });
  });
});
