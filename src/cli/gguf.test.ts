// Every command that takes a model, on a GGUF file: dist/node/cli/main.js in a process of its own.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Command, killLeftovers, QWEN3, temporaryFolder, vexil } from "../../test/built.js";

afterAll(killLeftovers);
const folder = temporaryFolder();
const file = join(folder, "small.gguf");
const [first] = (
  JSON.parse(readFileSync(`${QWEN3}/reference.json`, "utf8")) as {
    cases: { prompt: string; greedy_text: string }[];
  }
).cases;
const words = [first!.prompt, "--max-tokens", "24", "--chip", "wasm"];

beforeAll(async () => {
  const { code, stderr } = await vexil(["export", QWEN3, "--gguf", file, "--type", "f32"]);
  expect(stderr).toMatch(/wrote .*small\.gguf: \d+ F32 tensors, [\d,]+ bytes/);
  expect(code).toBe(0);
});

it("generates as from the folder", async () => {
  const run = await vexil(["generate", file, ...words]);
  expect(run).toEqual({ code: 0, signal: null, stdout: `${first!.greedy_text}\n`, stderr: "" });
});

it("loads in the dtype that is asked for", async () => {
  const [half, wrong] = await Promise.all([
    vexil(["generate", file, ...words, "--dtype", "bf16"]),
    vexil(["generate", file, "a", "--dtype", "f8"]),
  ]);
  expect(half).toMatchObject({ code: 0, stderr: "" });
  expect(half.stdout.length).toBeGreaterThan(5);
  expect(wrong.code).toBe(2);
  expect(wrong.stderr).toMatch(/--dtype: .*keep/);
});

it("chats with the file's own template", async () => {
  const talk = ["--max-tokens", "4", "--chip", "wasm"];
  const [a, b] = await Promise.all([
    vexil(["chat", file, ...talk], { input: "Hi there!\n" }),
    vexil(["chat", QWEN3, ...talk], { input: "Hi there!\n" }),
  ]);
  expect(a).toEqual(b);
  expect(a.code).toBe(0);
});

it("serves", async () => {
  const command = new Command(["serve", file, "--port", "0", "--chip", "wasm", "--dtype", "f32"]);
  const [, url] = await command.until(/listening on (http:\/\/127\.0\.0\.1:\d+)/);
  const answer = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "small.gguf", prompt: first!.prompt, max_tokens: 24, temperature: 0 }),
  });
  expect(await answer.json()).toMatchObject({ choices: [{ text: first!.greedy_text }] });
  command.kill("SIGTERM");
  expect(await command.done).toMatchObject({ code: 0 });
});

it("is written again, and quantized", async () => {
  const again = join(folder, "again.gguf");
  const text = join(folder, "text.txt");
  const other = join(folder, "other.txt");
  writeFileSync(text, "Returns a new tensor with the sine of the elements of input.\n".repeat(40));
  writeFileSync(other, "def softmax(x):\n    return x\n".repeat(20));
  const out = join(folder, "small-int4");
  const gptq = ["--bits", "4", "--method", "gptq", "--calibrate", text, "--samples", "2", "--text", other];
  const [copied, made, unfit] = await Promise.all([
    vexil(["export", file, "--gguf", again, "--type", "q8_0"]),
    vexil(["quantize", file, out, ...gptq, "--chip", "wasm", "--dtype", "f16"]),
    vexil(["quantize", file, `${out}-none`, "--method", "gptq"]),
  ]);
  expect(copied).toMatchObject({
    code: 0,
    stderr: expect.stringMatching(/15 Q8_0, 9 F32 tensors/) as string,
  });
  expect((await vexil(["generate", again, "a", "--max-tokens", "2", "--chip", "wasm"])).code).toBe(0);
  expect(made.stderr).toMatch(/layer 2 of 2\nwrote .*: 14 matrices of 4-bit integers/);
  const { perplexity } = JSON.parse(made.stdout) as { perplexity: Record<string, number> };
  expect(Object.keys(perplexity)).toEqual(["before", "rtn", "after"]);
  for (const p of Object.values(perplexity)) expect(p).toBeGreaterThan(1);
  expect((await vexil(["generate", out, "a", "--max-tokens", "2", "--chip", "wasm"])).code).toBe(0);
  expect(unfit).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/needs a text: --calibrate FILE/) as string,
  });
  expect(existsSync(`${out}-none`)).toBe(false);
});

it("is trained, in f32 unless another dtype is asked for, and goes on in the same", async () => {
  writeFileSync(join(folder, "lines.txt"), "Returns a new tensor with the sine of input.\n".repeat(8));
  const config = (name: string) => {
    const path = join(folder, `${name}.yaml`);
    const more = "steps: 1\nbatch_size: 2\nsequence_length: 16\nchip: wasm\nschedule: constant\n";
    writeFileSync(
      path,
      `model: { folder: small.gguf }\ndata: { train: lines.txt }\noutput: ${name}\n${more}`,
    );
    return path;
  };
  const [wide, half] = [config("wide"), config("half")];
  const runs = await Promise.all([vexil(["train", wide]), vexil(["train", half, "--dtype", "bf16"])]);
  for (const run of runs) expect(run).toMatchObject({ code: 0, stdout: "" });
  const dtypeOf = (name: string) =>
    (JSON.parse(readFileSync(join(folder, name, "config.json"), "utf8")) as { dtype: string }).dtype;
  expect([dtypeOf("wide"), dtypeOf("half")]).toEqual(["float32", "bfloat16"]);
  const resume = ["--resume", "--steps", "2"];
  const [wrong, on] = await Promise.all([
    vexil(["train", wide, ...resume, "--dtype", "bf16"]),
    vexil(["train", half, ...resume]),
  ]);
  expect(wrong.stderr).toMatch(
    /^vexil: .*checkpoint-1: the checkpoint was made with dtype f32, the configuration says bf16\n$/,
  );
  expect([wrong.code, on.code]).toEqual([1, 0]);
  expect(dtypeOf("half")).toBe("bfloat16");
});
