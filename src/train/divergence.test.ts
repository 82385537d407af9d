// Runs that go wrong: what is no number is found and named, spikes are left out, and a run that gets no better ends.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { temporaryFolder } from "../../test/built.js";
import { faultOf } from "./checkpoint-folders.js";
import type { TrainEvent } from "./events.js";
import { readMetrics, type StepLine } from "./metrics.js";
import { lossesOf, trainHere, writeSums } from "./testing/tiny.js";

const folder = temporaryFolder();
writeSums(folder);
const lines = (name: string) => readMetrics(join(folder, name, "metrics.jsonl")) as StepLine[];
const notes = (events: readonly TrainEvent[]) => events.flatMap((e) => (e.type === "note" ? [e.text] : []));

describe("a loss that is no number", () => {
  it("ends the run with the step, the tensor and the last good checkpoint, which is untouched", async () => {
    const more = { learning_rate: 1e18, clip_grad_norm: undefined, schedule: "constant", warmup_steps: 0 };
    await trainHere(folder, "wild", { steps: 1, save_every: 1 });
    const weights = readFileSync(join(folder, "wild/checkpoint-1/model.safetensors"));
    const run = trainHere(folder, "wild", { ...more, steps: 20 }, { resume: true });
    await expect(run).rejects.toMatchObject({ name: "TrainingError" });
    const { message } = (await run.catch((e: unknown) => e)) as Error;
    expect(message).toMatch(
      /^the (loss|gradients' norm) became (NaN|Infinity) at step \d+; (first not finite: the result \[[\d,]*\] of `[\w:]+`( in model\.[\w.]+)?, (forward|backward) pass|the parameter \S+ is not finite since the last update)\. Try a smaller learning_rate, or clip_grad_norm; the last good checkpoint is \/.*\/wild\/checkpoint-1$/,
    );
    expect(readdirSync(join(folder, "wild")).filter((f) => f.startsWith("checkpoint"))).toEqual([
      "checkpoint-1",
    ]);
    expect(faultOf(join(folder, "wild/checkpoint-1"))).toBeUndefined();
    expect(readFileSync(join(folder, "wild/checkpoint-1/model.safetensors")).equals(weights)).toBe(true);
    for (const l of lines("wild")) expect(Number.isFinite(l.loss)).toBe(true);
  });

  it("says so where there is no checkpoint yet", async () => {
    const run = trainHere(folder, "lost", { learning_rate: 1e30, clip_grad_norm: undefined, steps: 20 });
    await expect(run).rejects.toThrow(/there is no checkpoint yet \(save_every makes them\)$/);
    expect(readdirSync(join(folder, "lost")).sort()).toEqual(["metrics.jsonl", "report.html", "tensorboard"]);
  });
});

describe("early stopping", () => {
  it("ends after so many evaluations that are no better, and names the best, which stays", async () => {
    const settings = {
      steps: 60,
      // Nothing but noise is learned from here on.
      learning_rate: 0.3,
      schedule: "constant",
      data: { train: "sums.jsonl", evaluate: "held.jsonl" },
      evaluate_every: 2,
      early_stopping: { patience: 3, min_delta: 0.001 },
    };
    const events = await trainHere(folder, "enough", settings);
    const seen = events.flatMap((e) =>
      e.type === "evaluated" ? [[e.step, e.evaluation.loss] as const] : [],
    );
    const end = events.at(-1) as Extract<TrainEvent, { type: "end" }>;
    expect(end.reason).toBe("no better");
    expect(end.step).toBeLessThan(60);
    const best = seen.reduce((a, b) => (b[1] < a[1] ? b : a));
    expect(end.best).toEqual({
      step: best[0],
      loss: best[1],
      folder: join(folder, `enough/checkpoint-${best[0]}`),
    });
    // Lower by less than min_delta is the best, too, but no reason to go on.
    const mark = seen.reduce((a, b) => (b[1] < a[1] - 0.001 ? b : a));
    expect(end.step).toBe(mark[0] + 6);
    expect(seen.map(([s]) => s)).toEqual(seen.map((_, i) => 2 * (i + 1)));
    expect(
      readdirSync(join(folder, "enough"))
        .filter((f) => f.startsWith("checkpoint"))
        .sort(),
    ).toEqual([`checkpoint-${best[0]}`, `checkpoint-${end.step}`].sort());
    expect(faultOf(end.best!.folder)).toBeUndefined();
    // Going on with it, there is nothing to wait for.
    const again = await trainHere(folder, "enough", settings, { resume: true });
    expect(lossesOf(again)).toEqual([]);
    expect(again.at(-1)).toEqual(end);
  });
});

describe("spikes", () => {
  it("change nothing and are counted; too many in a row end the run", async () => {
    const usual = { steps: 12, skip_spikes: { factor: 1.05, window: 4, most_in_a_row: 100 } };
    // A factor this small makes spikes of ordinary steps.
    const events = await trainHere(folder, "spiky", usual);
    const skipped = lines("spiky").filter((l) => l.skipped !== undefined);
    expect(skipped.length).toBeGreaterThan(0);
    expect(skipped.length).toBeLessThan(8);
    expect(notes(events)).toHaveLength(skipped.length);
    expect(notes(events)[0]).toMatch(
      /^step \d+ is skipped, its weights stay: the (loss|gradients' norm) \S+ is \d\.\d+ times the recent median$/,
    );
    const state = JSON.parse(readFileSync(join(folder, "spiky/checkpoint-12/trainer_state.json"), "utf8"));
    expect(state).toMatchObject({
      step: 12,
      updates: 12 - skipped.length,
      spikes: { skipped: skipped.length },
    });

    await expect(
      trainHere(folder, "hopeless", {
        ...usual,
        steps: 60,
        save_every: 5,
        learning_rate: 0.3,
        skip_spikes: { factor: 1.0001, window: 4, most_in_a_row: 2 },
      }),
    ).rejects.toThrow(
      /^2 steps in a row were spikes, up to step \d+: .* skip_spikes\.factor 1\.0001 is too small; /,
    );
  });
});
