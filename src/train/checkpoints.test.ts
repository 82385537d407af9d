// Checkpoints of real runs: going on bit for bit, broken folders, which ones stay, and processes that are killed.

import { spawnSync } from "node:child_process";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { Command, killLeftovers, temporaryFolder } from "../../test/built.js";
import { checkpointFolder, checkpointSteps, faultOf } from "./checkpoint-folders.js";
import { hostRandom } from "./data/index.js";
import type { TrainEvent } from "./events.js";
import { readMetrics, type StepLine } from "./metrics.js";
import { lossesOf, tiny, trainHere, writeSums } from "./testing/tiny.js";

afterAll(killLeftovers);
const folder = temporaryFolder();
writeSums(folder);
const bytes = (...parts: string[]) => readFileSync(join(folder, ...parts));
const steps = (name: string) => checkpointSteps(join(folder, name));
const notes = (events: readonly TrainEvent[]) => events.flatMap((e) => (e.type === "note" ? [e.text] : []));
const chips = ["wasm", ...(spawnSync("cc", ["--version"]).status === 0 ? ["cpu"] : [])];

/** What a checkpoint holds of weights, optimizer and state. */
const FILES = ["model.safetensors", "optimizer.safetensors", "trainer_state.json"];

describe.each(chips)("going on, on %s", (chip) => {
  it("is bit-equal to never having stopped, in weights, optimizer, state, losses and metrics", async () => {
    const more = {
      chip,
      deterministic: true,
      schedule: "wsd",
      steps: 8,
      skip_spikes: { window: 4 },
      dropout: { residual: 0.1 },
      data: { train: "sums.jsonl", evaluate: "held.jsonl" },
      evaluate_every: 2,
    };
    const whole = await trainHere(folder, `whole-${chip}`, more);
    const name = `part-${chip}`;
    // The schedule is the whole run's: the first half is stopped by removing what came after it.
    await trainHere(folder, name, { ...more, save_every: 4, keep: 9 });
    for (const s of steps(name).filter((s) => s > 4))
      rmSync(checkpointFolder(join(folder, name), s), { recursive: true });
    const rest = await trainHere(folder, name, more, { resume: true });
    expect(lossesOf(rest)).toEqual(lossesOf(whole).slice(4));
    expect(lossesOf(rest)).toHaveLength(4);
    for (const file of FILES)
      expect(bytes(name, "checkpoint-8", file).equals(bytes(`whole-${chip}`, "checkpoint-8", file))).toBe(
        true,
      );
    const lines = (run: string) =>
      readMetrics(join(folder, run, "metrics.jsonl")).map(({ time, ...l }) => {
        const { seconds, memory_bytes, ...same } = l as Partial<StepLine>;
        return same;
      });
    expect(lines(name)).toEqual(lines(`whole-${chip}`));
    expect(lines(name)).toHaveLength(8 + 4);
  });
});

describe("a broken checkpoint", () => {
  const more = { steps: 3, save_every: 1, keep: 3 };
  const damage: [string, (path: string) => void, RegExp][] = [
    ["without its list of files", (p) => rmSync(join(p, "complete.json")), /no readable complete\.json/],
    [
      "cut short",
      (p) => writeFileSync(join(p, "optimizer.safetensors"), "x"),
      /optimizer\.safetensors has 1 bytes instead of \d+/,
    ],
    ["without its weights", (p) => rmSync(join(p, "model.safetensors")), /model\.safetensors is missing/],
    [
      "with a flipped bit",
      (p) => {
        const file = join(p, "model.safetensors");
        const b = readFileSync(file);
        b[b.length - 1]! ^= 1;
        writeFileSync(file, b);
      },
      /model\.safetensors is not what was written/,
    ],
  ];

  it("is passed over with a word, and the one before it taken", async () => {
    const whole = lossesOf(await trainHere(folder, "broken", more));
    expect(steps("broken")).toEqual([3, 2, 1]);
    for (const [name, harm, message] of damage) {
      harm(join(folder, "broken/checkpoint-3"));
      expect(faultOf(join(folder, "broken/checkpoint-3")), name).toMatch(message);
      const events = await trainHere(folder, "broken", more, { resume: true });
      expect(notes(events)).toEqual([expect.stringMatching(message)]);
      expect(notes(events)[0]).toMatch(/checkpoint-3 is broken: .*; going on from the one before$/);
      expect(lossesOf(events)).toEqual(whole.slice(2));
      expect(faultOf(join(folder, "broken/checkpoint-3"))).toBeUndefined();
    }
    for (const s of [1, 2, 3]) rmSync(join(folder, `broken/checkpoint-${s}/config.json`));
    await expect(trainHere(folder, "broken", more, { resume: true })).rejects.toThrow(
      /broken: there is no checkpoint to go on from/,
    );
  });
});

describe("checkpoints that stay", () => {
  it("are the newest and the best; a new run does not tread on an earlier one's unasked", async () => {
    await trainHere(folder, "kept", { steps: 6, save_every: 1, keep: 2 });
    expect(steps("kept")).toEqual([6, 5]);
    mkdirSync(join(folder, "kept/checkpoint-9.tmp"));
    await expect(trainHere(folder, "kept")).rejects.toThrow(
      /kept: an earlier run's checkpoint of step 6 is there; --resume goes on from it, --overwrite starts anew/,
    );
    expect(steps("kept")).toEqual([6, 5]);
    await trainHere(folder, "kept", { steps: 2 }, { overwrite: true });
    expect(readdirSync(join(folder, "kept")).filter((f) => f.startsWith("checkpoint"))).toEqual([
      "checkpoint-2",
    ]);
    expect(readMetrics(join(folder, "kept/metrics.jsonl")).map((l) => l.step)).toEqual([1, 2]);
  });
});

describe("kill -9", () => {
  it("at any moment, in a save too, leaves a run that goes on to the same weights", async () => {
    const more = { steps: 24, save_every: 1, deterministic: true, chip: "wasm" };
    const path = join(folder, "killed.yaml");
    writeFileSync(path, stringify({ ...tiny, ...more, output: "killed" }));
    const output = join(folder, "killed");
    const random = hostRandom(Date.now());
    const ended: number[] = [];
    for (let round = 0; round < 4; round++) {
      const command = new Command(["train", path, ...(steps("killed").length > 0 ? ["--resume"] : [])]);
      await command.until(/^saved .*checkpoint-\d+$/m);
      // Every other time while a folder is being written, else whenever it is.
      if (round % 2 === 0) while (!readdirSync(output).some((f) => f.endsWith(".tmp"))) await sleep(0);
      else await sleep(random() * 40);
      command.kill("SIGKILL");
      const { signal, code } = await command.done;
      ended.push(signal === "SIGKILL" ? 9 : code!);
      for (const s of steps("killed")) expect(faultOf(checkpointFolder(output, s))).toBeUndefined();
      expect(steps("killed").length).toBeGreaterThan(0);
    }
    expect(ended.filter((e) => e === 9).length).toBeGreaterThanOrEqual(2);
    // What a machine that lost power may leave of a line.
    appendFileSync(join(output, "metrics.jsonl"), '{"step":');
    const last = await trainHere(folder, "killed", more, { resume: true });
    expect(notes(last)).toEqual([]);
    await trainHere(folder, "unharmed", more);
    for (const file of FILES)
      expect(bytes("killed/checkpoint-24", file).equals(bytes("unharmed/checkpoint-24", file))).toBe(true);
    expect(readMetrics(join(output, "metrics.jsonl")).map((l) => l.step)).toEqual(
      Array.from({ length: 24 }, (_, i) => i + 1),
    );
    expect(existsSync(join(output, "report.html"))).toBe(true);
  }, 60_000);
});
