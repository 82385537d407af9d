// `vexil train` as users run it: real runs of a very small model on the wasm chip, in processes of their own.

import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { stringify } from "yaml";
import {
  built,
  Command,
  killLeftovers,
  type Outcome,
  QWEN3,
  temporaryFolder,
  vexil,
} from "../../test/built.js";
import { describeError } from "../cli/errors.js";
import { lossesOf, tiny, trainHere, writeSums } from "./testing/tiny.js";

afterAll(killLeftovers);
const folder = temporaryFolder();
writeSums(folder);

/** Writes a configuration whose output folder has its name, and gives its path. */
function config(name: string, more: object = {}): string {
  const file = join(folder, `${name}.yaml`);
  writeFileSync(file, stringify({ ...tiny, output: name, ...more }));
  return file;
}
const train = (name: string, more: object = {}, words: string[] = []) =>
  vexil(["train", config(name, more), ...words]);
/** Trains in this thread; gives the exact losses. */
const run = async (name: string, more: object = {}, resume = false) =>
  lossesOf(await trainHere(folder, name, more, { resume }));
/** The losses by step, as the progress lines have them. */
const losses = (text: string) =>
  new Map([...text.matchAll(/^step (\d+)\/\d+ {2}loss (\S+)/gm)].map((m) => [Number(m[1]), m[2]!]));
const file = (...parts: string[]) => readFileSync(join(folder, ...parts));

function expectFailure({ code, stdout, stderr }: Outcome, message: RegExp): void {
  expect(stderr).toMatch(message);
  expect(stderr).not.toMatch(/^\s+at /m);
  expect(
    stderr
      .trimEnd()
      .split("\n")
      .filter((l) => l.startsWith("vexil: ")),
  ).toHaveLength(1);
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
}

describe("a run", () => {
  it("learns, is saved as a folder that loads, and is repeated bit for bit", async () => {
    const [a, b] = await Promise.all([
      train("first", { data: { train: "sums.jsonl", evaluate: "held.jsonl" } }),
      train("second"),
    ]);
    expect({ code: a.code, stdout: a.stdout }).toEqual({ code: 0, stdout: "" });
    expect(a.stderr).toMatch(/^training [\d,]+ parameters on 64 examples, chip wasm$/m);
    expect(a.stderr).toMatch(/^step 8\/8 {2}loss \S+ {2}lr \S+ {2}norm \S+ {2}\S+ tokens\/s {2}done$/m);
    expect(a.stderr).toMatch(/^exactly right: \d of 2 \(/m);
    expect(a.stderr).toMatch(/^after step 8: held-out loss \d+\.\d{4}, perplexity [\d.]+$/m);
    const seen = [...losses(a.stderr).values()].map(Number);
    expect(seen).toHaveLength(8);
    expect(seen.at(-1)).toBeLessThan(seen[0]! - 0.2);
    expect(losses(b.stderr)).toEqual(losses(a.stderr));
    expect(file("second/model.safetensors").equals(file("first/model.safetensors"))).toBe(true);

    expect(readdirSync(join(folder, "first")).sort()).toEqual([
      "chat_template.jinja",
      "checkpoint-8",
      "config.json",
      "generation_config.json",
      "metrics.jsonl",
      "model.safetensors",
      "report.html",
      "tensorboard",
      "tokenizer.json",
      "tokenizer_config.json",
    ]);
    const text = await vexil(["generate", join(folder, "first"), "1+2=", "--max-tokens", "3"]);
    expect(text).toMatchObject({ code: 0, stderr: "" });
    expect(text.stdout).toMatch(/^[\d+=]{0,3}\n$/);
    const other = await vexil(["generate", join(folder, "first"), "1 + 2"]);
    expect(other.stderr).toBe('vexil: prompt: the tokenizer has no token for " "\n');
  });

  it("goes on from a checkpoint as if nothing had been", async () => {
    const whole = await run("whole", { schedule: "constant" });
    await run("part", { schedule: "constant", save_every: 3, steps: 5 });
    expect(readdirSync(join(folder, "part")).filter((f) => f.startsWith("checkpoint"))).toEqual([
      "checkpoint-5",
    ]);
    // What a crash while saving leaves behind has more steps, but is no checkpoint.
    mkdirSync(join(folder, "part/checkpoint-7.tmp"));
    const rest = await run("part", { schedule: "constant" }, true);
    expect(rest).toEqual(whole.slice(5));
    for (const name of ["model.safetensors", "checkpoint-8/optimizer.safetensors"])
      expect(file("part", name).equals(file("whole", name))).toBe(true);

    const written = statSync(join(folder, "part/checkpoint-8")).ctimeMs;
    expect(await run("part", { schedule: "constant" }, true)).toEqual([]);
    expect(statSync(join(folder, "part/checkpoint-8")).ctimeMs).toBe(written);
  });

  it("stops on Ctrl-C with a checkpoint, from which it goes on", async () => {
    const path = config("stopped", { steps: 100_000, schedule: "constant" });
    const command = new Command(["train", path]);
    await command.until(/^step 3\//m);
    command.kill("SIGINT");
    const { code, stderr } = await command.done;
    expect(code).toBe(0);
    expect(stderr).toMatch(/stopping after this step/);
    const step = Number(/stopped at step (\d+); go on with --resume\n$/.exec(stderr)![1]);
    expect(step).toBeGreaterThanOrEqual(3);
    expect(readdirSync(join(folder, "stopped")).filter((f) => f.startsWith("checkpoint"))).toEqual([
      `checkpoint-${step}`,
    ]);
    expect(existsSync(join(folder, "stopped/model.safetensors"))).toBe(false);
    const rest = await vexil(["train", path, "--resume", "--steps", String(step + 1)]);
    expect([...losses(rest.stderr).keys()]).toEqual([step + 1]);
    expect(existsSync(join(folder, "stopped/model.safetensors"))).toBe(true);
  });

  it("ends at once on a second Ctrl-C", async () => {
    const command = new Command(["train", config("hurry", { steps: 100_000 })]);
    await command.until(/^step 2\//m);
    command.kill("SIGINT");
    await command.until(/press Ctrl-C again/);
    command.kill("SIGINT");
    const { code, signal } = await command.done;
    // The first may have been enough by then.
    expect([130, 0]).toContain(code);
    expect(signal).toBeNull();
  });

  it("goes on from a model folder, on plain text", async () => {
    writeFileSync(
      join(folder, "text.txt"),
      "Returns a new tensor with the sine of the elements of input.\n".repeat(20),
    );
    const seen = await run("tuned", {
      model: { folder: QWEN3 },
      tokenizer: {},
      data: { train: "text.txt" },
      steps: 4,
      batch_size: 4,
      sequence_length: 16,
      learning_rate: 0.003,
    });
    expect(seen.at(-1)).toBeLessThan(seen[0]!);
    const { loadModel } = await built<typeof import("../models/index.js")>("models/index.js");
    const { model, tokenizer } = loadModel(join(folder, "tuned"), { device: "wasm" });
    expect(model.config.hiddenSize).toBe(64);
    expect(tokenizer.encode("Returns")).toEqual([592]);
    model.dispose();
  });
});

describe("what cannot be trained", () => {
  it.each<[string, object, RegExp]>([
    ["an unknown key", { learnin_rate: 1 }, /unknown key "learnin_rate", did you mean "learning_rate"\?/],
    [
      "an unknown key within",
      { data: { train: "x", evalute: "y" } },
      /unknown key "data\.evalute", did you mean "evaluate"\?/,
    ],
    ["a missing data file", { data: { train: "none.jsonl" } }, /none\.jsonl: there is no such file/],
    ["an example too long", { sequence_length: 3 }, /sums\.jsonl:1: \d tokens; sequence_length 3 holds 4/],
    [
      "a vocabulary too small",
      { model: { config: { ...tiny.model.config, vocab_size: 13 } } },
      /the data have token 13, but the model's vocab_size is 13/,
    ],
    [
      "a context too short",
      { model: { config: { ...tiny.model.config, max_position_embeddings: 4 } } },
      /sequences of 6 tokens do not fit the model's max_position_embeddings 4/,
    ],
    [
      "an evaluation too long",
      {
        model: { config: { ...tiny.model.config, max_position_embeddings: 6 } },
        data: { train: "sums.jsonl", evaluate: "held.jsonl" },
      },
      /held\.jsonl:2: 7 tokens; the model's max_position_embeddings is 6/,
    ],
    [
      "characters without a token",
      { tokenizer: { characters: "0123456789+" } },
      /sums\.jsonl:1: the tokenizer has no token for "="/,
    ],
    ["unequal parts", { accumulate: 3 }, /batch_size 16 is not a multiple of accumulate 3/],
    ["no tokenizer", { tokenizer: {} }, /tokenizer: give a folder, characters or train/],
    [
      "a wrong model",
      { model: { config: { ...tiny.model.config, num_attention_heads: 3, num_key_value_heads: 2 } } },
      /model\.config: 3 heads are not a multiple of 2 key-value heads/,
    ],
    ["a missing folder", { model: { folder: "gone" } }, /gone: there is no such folder/],
    ["a wrong chip", { chip: "wsam" }, /no chip is called "wsam"\. Did you mean "wasm"\?/],
    ["an output that is a file", { output: "sums.jsonl" }, /sums\.jsonl/],
  ])("refuses %s", async (name, more, message) => {
    const error: unknown = await run(name.replaceAll(" ", "-"), more).catch((e: unknown) => e);
    const { text, code } = describeError(error);
    expect(text).toMatch(message);
    expect(text).not.toContain("\n");
    expect(code).toBe(1);
    expect(existsSync(join(folder, name.replaceAll(" ", "-"), "checkpoint-1"))).toBe(false);
  });

  it("says it in one line on the command line", async () => {
    expectFailure(
      await vexil(["train", config("typo", { stpes: 1 })]),
      /typo\.yaml: unknown key "stpes", did you mean "steps"\?\n$/,
    );
    expectFailure(
      await vexil(["train", config("lost", { data: { train: "none.jsonl" } })]),
      /none\.jsonl: there is no such file\n$/,
    );
  });

  it("refuses to resume what is not there, or with other data orders", async () => {
    await expect(run("fresh", {}, true)).rejects.toThrow(/fresh: there is no checkpoint to go on from/);
    await run("fixed", { steps: 1 });
    await expect(run("fixed", { steps: 2, seed: 4 }, true)).rejects.toThrow(
      /checkpoint-1: the checkpoint was made with seed 3, the configuration says 4/,
    );
  });
});

describe("quickstart", () => {
  it("fails, and says why, when the model has not learned to add", async () => {
    const run = await vexil(["quickstart", "--steps", "3", "--output", join(folder, "quick")]);
    expect(run.stdout).toMatch(/on 9000 sums; 1000 are held out/);
    expect(run.stdout).toMatch(/^\d+\.\d % of the held-out sums answered exactly right/m);
    expect(run.stderr).toMatch(/less than 95 %: the quickstart has failed\. Try more steps \(-- --steps 6\)/);
    expect(run.code).toBe(1);
  });
});
