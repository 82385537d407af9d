// The `vexil` command as users run it: dist/node/cli/main.js in a process of its own.

import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { renderUsage } from "citty";
import { afterAll, describe, expect, it } from "vitest";
import { builtinChips } from "../chips/index.js";
import type * as z from "zod";
import { built, Command, killLeftovers, QWEN3, temporaryFolder, vexil } from "../../test/built.js";
import { type CommandSpec, toCitty } from "./command.js";
import { describeError } from "./errors.js";

afterAll(killLeftovers);
const folder = temporaryFolder();
const { cases } = JSON.parse(readFileSync(`${QWEN3}/reference.json`, "utf8")) as {
  cases: { prompt: string; greedy_text: string }[];
};
const hasCompiler = ["cc", "gcc", "clang"].some((c) => spawnSync(c, ["--version"]).status === 0);
/** An environment in which no C compiler is found. */
const NO_COMPILER = { PATH: "", CC: undefined, VEXIL_CC: undefined };

/** Errors for users are one line without a stack. */
function expectOneLine(stderr: string): void {
  expect(stderr.trimEnd().split("\n")).toHaveLength(1);
  expect(stderr).not.toMatch(/^\s+at /m);
}

/** A copy of the fixture that a test may damage. */
function damaged(name: string, damage: (folder: string) => void): string {
  const copy = join(folder, name);
  mkdirSync(copy);
  cpSync(QWEN3, copy, { recursive: true, filter: (f) => !f.includes("reference") });
  damage(copy);
  return copy;
}

describe("words", () => {
  const COMMANDS = [
    "quickstart",
    "chips",
    "train",
    "generate",
    "chat",
    "serve",
    "bench",
    "ops",
    "conformance",
  ];

  it("lists its commands, and a command's flags", async () => {
    const help = await vexil(["--help"]);
    expect(help).toMatchObject({ code: 0, stderr: "" });
    for (const name of COMMANDS) expect(help.stdout).toContain(name);
    const serve = await vexil(["serve", "--help"]);
    expect(serve).toMatchObject({ code: 0, stderr: "" });
    expect(serve.stdout).toMatch(/vexil serve.*--port.*port to listen on.*8080/s);
  });

  it.each(COMMANDS)("describes %s and each of its flags", async (name) => {
    const { spec } = await built<{ spec: CommandSpec<z.ZodRawShape> }>(`cli/${name}.js`);
    expect(spec.name).toBe(name);
    const help = await renderUsage(toCitty(spec));
    for (const [key, type] of Object.entries(spec.flags.shape)) {
      const { description } = type as z.ZodType;
      expect(description, key).toBeTruthy();
      expect(help).toContain(description);
    }
  });

  it.each([
    [["chpis"], 'there is no command "chpis", did you mean "chips"?'],
    [["serve", QWEN3, "--prot", "1"], 'vexil serve: unknown flag --prot, did you mean "port"?'],
  ])("refuses %j", async (words, message) => {
    const { code, stdout, stderr } = await vexil(words);
    expect(stderr).toBe(
      `${message.startsWith("vexil") ? "" : "vexil: "}${message}\nRun the command with --help to see what it takes.\n`,
    );
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  });

  it("writes into a closed pipe without complaint", async () => {
    const command = new Command(["ops"]);
    command.child.stdout!.destroy();
    expect(await command.done).toMatchObject({ stderr: "" });
  });
});

describe("chips", () => {
  it("shows what was found and what is used", async () => {
    const { code, stdout } = await vexil(["chips"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\+ wasm .*\(default\)$/m);
    expect(stdout).toMatch(/^\+ interpreter /m);
    const json = JSON.parse((await vexil(["chips", "--json"])).stdout) as {
      default: string;
      chips: { name: string; available: boolean; found: string; hint?: string }[];
    };
    expect(json.default).toBe("wasm");
    expect(json.chips.map((c) => c.name)).toEqual(builtinChips.map((c) => c.name));
  });

  it("names the nearest chip for a wrong VEXIL_CHIP or --chip", async () => {
    const wrong = await vexil(["chips"], { env: { VEXIL_CHIP: "wsam" } });
    expect(wrong.code).toBe(1);
    expect(wrong.stderr).toMatch(/VEXIL_CHIP: no chip is called "wsam"\. Did you mean "wasm"\?/);
    expectOneLine(wrong.stderr);
  });

  it("says how to get a compiler, and uses wasm without one", async () => {
    const asked = await vexil(["generate", QWEN3, "a"], { env: { ...NO_COMPILER, VEXIL_CHIP: "cpu" } });
    expect(asked.code).toBe(1);
    expect(asked.stderr).toMatch(/the chip cpu is not available: no C compiler in PATH\. .*install/);
    expectOneLine(asked.stderr);
    const list = await vexil(["chips"], { env: { ...NO_COMPILER, VEXIL_CHIP: undefined } });
    expect(list.stdout).toMatch(/^- cpu .*no C compiler/m);
    expect(list.stdout).toMatch(/to get it: .*install/);
    const auto = await vexil(["generate", QWEN3, "a", "--max-tokens", "3"], {
      env: { ...NO_COMPILER, VEXIL_CHIP: undefined },
    });
    expect(auto).toMatchObject({ code: 0, stdout: "i int int\n" });
    expect(auto.stderr).toMatch(/no C compiler.*Using wasm\.$/m);
    expectOneLine(auto.stderr);
  });
});

it("ops lists the operator table", async () => {
  const { stdout } = await vexil(["ops"]);
  expect(stdout).toMatch(/^add\.Tensor\(/m);
  expect(stdout).toMatch(/^\d+ operators, on every chip/m);
  const rows = JSON.parse((await vexil(["ops", "--json"])).stdout) as { name: string; schema: string }[];
  expect(stdout).toContain(`\n${rows.length} operators, `);
  for (const r of rows) expect(r.schema).toMatch(/->/);
});

describe("generate", () => {
  it.each([["wasm", 3], ["interpreter", 0], ...(hasCompiler ? [["cpu", 1] as const] : [])] as const)(
    "continues as the reference does on %s",
    async (chip, i) => {
      const { prompt, greedy_text } = cases[i]!;
      const run = await vexil(["generate", QWEN3, prompt, "--max-tokens", "24", "--chip", chip]);
      expect(run).toEqual({ code: 0, signal: null, stdout: `${greedy_text}\n`, stderr: "" });
    },
  );

  it("streams, and Ctrl-C ends it", async () => {
    const command = new Command(["generate", QWEN3, "a", "--temperature", "1", "--seed", "3"]);
    await command.until(/\S/);
    command.kill("SIGINT");
    const { code, stderr } = await command.done;
    expect({ code, stderr }).toEqual({ code: 130, stderr: "" });
  });

  it("repeats with a seed", async () => {
    const words = ["generate", QWEN3, "def", "--temperature", "1.2", "--seed", "5", "--max-tokens", "8"];
    const [a, b] = await Promise.all([vexil(words), vexil(words)]);
    expect(a.stdout).toBe(b.stdout);
    expect(a.stdout.length).toBeGreaterThan(3);
  });

  it("refuses a prompt that does not fit", async () => {
    const long = await vexil(["generate", QWEN3, "word ".repeat(300)]);
    expect(long).toMatchObject({ code: 1, stdout: "" });
    expect(long.stderr).toMatch(/^vexil: the prompt has \d+ tokens, but the context holds 256/);
    expectOneLine(long.stderr);
    expect((await vexil(["generate", QWEN3, ""])).stderr).toMatch(
      /^vexil: prompt: there are no tokens in it\n$/,
    );
  });

  it("shows what the compiler made", async () => {
    const { code, stdout, stderr } = await vexil(["generate", QWEN3, "a", "--max-tokens", "1"], {
      env: { VEXIL_DEBUG: "ir,code" },
    });
    expect({ code, stdout }).toEqual({ code: 0, stdout: "i\n" });
    expect(stderr).toMatch(/func .*rms_norm/);
    expect(stderr).toContain("(module");
  });
});

describe("chat", () => {
  it("answers each line of its input", async () => {
    const words = ["chat", QWEN3, "--max-tokens", "4"];
    const two = await vexil(words, { input: "Hi there!\nAnd you?\n" });
    expect(two).toMatchObject({ code: 0, stderr: "" });
    const answers = two.stdout.split("\n");
    expect(answers).toHaveLength(3);
    const one = await vexil([...words, "--system", "You are brief."], { input: "Hi there!\n\nnever read\n" });
    expect(one.stdout.split("\n")).toHaveLength(2);
    expect((await vexil(words, { input: "Hi there!" })).stdout).toBe(`${answers[0]}\n`);
  });

  it("goes on after a message that does not fit", async () => {
    const { code, stdout, stderr } = await vexil(["chat", QWEN3, "--max-tokens", "2"], {
      input: `${"word ".repeat(300)}\nHi\n`,
    });
    expect(code).toBe(0);
    expect(stderr).toMatch(/the context holds 256/);
    expect(stdout.split("\n")).toHaveLength(3);
  });

  it("says when there is no template", async () => {
    const plain = damaged("plain", (f) => rmSync(join(f, "chat_template.jinja")));
    const { code, stderr } = await vexil(["chat", plain], { input: "Hi\n" });
    expect(code).not.toBe(0);
    expect(stderr).toContain(`the model has no chat template; use: vexil generate ${plain} PROMPT`);
  });
});

describe("serve", () => {
  it("serves until it is told to stop", async () => {
    const command = new Command(["serve", QWEN3, "--port", "0"]);
    const [, url] = await command.until(/listening on (http:\/\/127\.0\.0\.1:\d+)/);
    expect(await (await fetch(`${url}/health`)).json()).toMatchObject({ status: "ok", chip: "wasm" });
    const busy = await vexil(["serve", QWEN3, "--port", new URL(url!).port]);
    expect(busy.code).toBe(1);
    expect(busy.stderr).toBe(
      `vexil: port ${new URL(url!).port} on 127.0.0.1 is in use: stop what uses it, or choose another with --port\n`,
    );
    command.kill("SIGTERM");
    expect(await command.done).toMatchObject({ code: 0, signal: null, stdout: "" });
    expect(command.stderr).toMatch(/qwen3: [\d,]+ parameters, chip wasm, context 256\n/);
    expect(command.stderr).toMatch(/stopping\n$/);
  });

  it("ends at once when it is stopped while it starts", async () => {
    const command = new Command(["serve", QWEN3, "--port", "0"]);
    setTimeout(() => command.kill("SIGINT"), 150);
    const { signal, code } = await command.done;
    expect(signal === "SIGINT" || code === 0).toBe(true);
  });

  const DAMAGED: [string, () => string, RegExp][] = [
    ["a missing folder", () => join(folder, "nowhere"), /nowhere: there is no such folder/],
    ["a file", () => join(QWEN3, "config.json"), /config\.json: not a folder/],
    [
      "truncated weights",
      () => damaged("short", (f) => truncateSync(join(f, "model.safetensors"), 300_000)),
      /short\/model\.safetensors: /,
    ],
    [
      "a lying header",
      () => damaged("lying", (f) => writeFileSync(join(f, "model.safetensors"), Buffer.alloc(64, 255))),
      /lying\/model\.safetensors: /,
    ],
    [
      "broken JSON",
      () => damaged("broken", (f) => writeFileSync(join(f, "config.json"), '{"model_type": ')),
      /broken\/config\.json: not valid JSON/,
    ],
    [
      "JSON that lies about shapes",
      () =>
        damaged("wide", (f) => {
          const config = JSON.parse(readFileSync(join(f, "config.json"), "utf8")) as object;
          writeFileSync(join(f, "config.json"), JSON.stringify({ ...config, hidden_size: 128 }));
        }),
      /wide\/model\.safetensors: tensor "model\.embed_tokens\.weight" is \[640,64\], but config\.json asks for \[640,128\]/,
    ],
    [
      "another family",
      () => damaged("other", (f) => writeFileSync(join(f, "config.json"), '{"model_type": "llama9"}')),
      /other\/config\.json: the model family "llama9" is not supported \(supported: llama, .*qwen3/,
    ],
    [
      "a tokenizer that is none",
      () => damaged("words", (f) => writeFileSync(join(f, "tokenizer.json"), "[]")),
      /words: tokenizer\.json has no "model"/,
    ],
    [
      "no tokenizer",
      () => damaged("mute", (f) => rmSync(join(f, "tokenizer.json"))),
      /mute\/tokenizer\.json: there is no such file/,
    ],
  ];

  it.each(DAMAGED)("refuses %s in one line", async (_name, make, message) => {
    const { loadEngine } = await built<typeof import("../serve/index.js")>("serve/index.js");
    const error: unknown = await loadEngine({ model: make(), chip: "wasm" }).then(
      () => "loaded",
      (e: unknown) => e,
    );
    const { text, code } = describeError(error);
    expect(text).toMatch(message);
    expectOneLine(text);
    expect(code).toBe(1);
  });

  it("shows such errors from its worker as they are", async () => {
    const model = damaged("cut", (f) => truncateSync(join(f, "model.safetensors"), 300_000));
    const { code, stdout, stderr } = await vexil(["serve", model, "--port", "0"]);
    expect(stderr).toMatch(/^vexil: .*cut\/model\.safetensors: /);
    expectOneLine(stderr);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  });
});
