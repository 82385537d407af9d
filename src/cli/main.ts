#!/usr/bin/env node
// The `vexil` command: finds the command that was asked for, parses its words, runs it, reports errors.

import { type CommandDef, defineCommand, renderUsage } from "citty";
import type * as z from "zod";
import { nearest } from "../compiler/nearest.js";
import { type CommandSpec, parseWords, toCitty } from "./command.js";
import { describeError, UsageError } from "./errors.js";
import { version } from "./version.js";

/** Each command stands in a file of its own and is loaded when asked for. */
const COMMANDS: Record<string, { summary: string; load: () => Promise<{ spec: unknown }> }> = {
  quickstart: { summary: "train a small model to add, then serve it", load: () => import("./quickstart.js") },
  chips: {
    summary: "show the chips found here, and how to get the others",
    load: () => import("./chips.js"),
  },
  train: { summary: "train a model as a YAML file says", load: () => import("./train.js") },
  "train-tokenizer": {
    summary: "train a byte-level BPE tokenizer on texts",
    load: () => import("./train-tokenizer.js"),
  },
  tokenize: {
    summary: "make a file of tokens of texts, for training",
    load: () => import("./tokenize.js"),
  },
  generate: { summary: "continue a prompt", load: () => import("./generate.js") },
  chat: { summary: "talk with a model", load: () => import("./chat.js") },
  serve: { summary: "serve a model through an OpenAI-compatible HTTP API", load: () => import("./serve.js") },
  bench: { summary: "measure a server under load", load: () => import("./bench.js") },
  export: { summary: "write a model as a GGUF file or a folder", load: () => import("./export.js") },
  pull: { summary: "fetch a model from the Hugging Face hub", load: () => import("./pull.js") },
  quantize: {
    summary: "make 8- or 4-bit integers of a model's matrices",
    load: () => import("./quantize.js"),
  },
  ops: { summary: "list the operators and what supports them", load: () => import("./ops.js") },
  "tune-kernels": {
    summary: "measure block sizes here and write a tuning table",
    load: () => import("./tune-kernels.js"),
  },
  conformance: {
    summary: "check models or operators against reference results",
    load: () => import("./conformance.js"),
  },
};

const root: CommandDef = defineCommand({
  meta: {
    name: "vexil",
    version,
    description: "Write a kernel, an operator, a model or a training run once, and run it on every chip.",
  },
  subCommands: Object.fromEntries(
    Object.entries(COMMANDS).map(([name, c]) => [
      name,
      defineCommand({ meta: { name, description: c.summary } }),
    ]),
  ),
});

async function main(argv: string[]): Promise<void> {
  const [name, ...rest] = argv;
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    console.log(await renderUsage(root));
    return;
  }
  if (name === "--version" || name === "-v") {
    console.log(version);
    return;
  }
  if (!Object.hasOwn(COMMANDS, name)) {
    const meant = nearest(name, Object.keys(COMMANDS));
    throw new UsageError(
      `vexil: there is no command "${name}"${meant ? `, did you mean "${meant}"?` : `; commands: ${Object.keys(COMMANDS).join(", ")}`}`,
    );
  }
  const spec = (await COMMANDS[name]!.load()).spec as CommandSpec<z.ZodRawShape>;
  const words = rest.includes("--") ? rest.slice(0, rest.indexOf("--")) : rest;
  if (words.includes("--help") || words.includes("-h")) {
    console.log(await renderUsage(toCitty(spec), root));
    return;
  }
  const { positionals, flags } = parseWords(spec, rest);
  await spec.run(positionals, flags);
}

// Output into a closed pipe (`vexil ops | head`) is not an error.
process.stdout.on("error", (e: NodeJS.ErrnoException) => {
  if (e.code === "EPIPE") process.exit(0);
  throw e;
});

// When nothing is left to be done, the system takes the memory back; Node would give it back piece by piece.
process.once("beforeExit", () => process.exit());

main(process.argv.slice(2)).catch((error) => {
  const { text, code } = describeError(error);
  console.error(text);
  process.exitCode = code;
});
