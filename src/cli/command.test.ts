import { renderUsage } from "citty";
import { describe, expect, it } from "vitest";
import * as z from "zod";
import { type CommandSpec, parseWords, toCitty } from "./command.js";

const spec: CommandSpec<z.ZodRawShape> = {
  name: "serve",
  summary: "Serve a model",
  positionals: [{ name: "model", description: "the model's folder" }],
  flags: z.object({
    port: z.number().int().min(0).max(65535).default(8080).describe("port to listen on"),
    host: z.string().default("127.0.0.1").describe("address to listen on"),
    maxTokens: z.number().int().optional().describe("most tokens"),
    quiet: z.boolean().default(false).describe("say less"),
  }),
  run: async () => {},
};

describe("parseWords", () => {
  it("reads positionals and flags", () => {
    expect(parseWords(spec, ["m", "--port", "99", "--max-tokens=5", "--quiet"])).toEqual({
      positionals: ["m"],
      flags: { port: 99, host: "127.0.0.1", maxTokens: 5, quiet: true },
    });
    expect(parseWords(spec, ["--no-quiet", "--", "--odd"])).toMatchObject({
      positionals: ["--odd"],
      flags: { quiet: false },
    });
  });

  it.each([
    [["m", "--prot", "1"], 'unknown flag --prot, did you mean "port"?'],
    [["m", "--port"], "--port needs a value"],
    [["m", "--port", "abc"], "--port: Invalid input: expected number, received string"],
    [["m", "--port", "70000"], "--port: Too big"],
    [[], "MODEL is missing: the model's folder"],
    [["m", "n"], '"n" is one argument too many'],
    [["m", "-p", "1"], "flags start with two dashes"],
    [["m", "--quiet=maybe"], "--quiet is a switch"],
  ])("refuses %j", (words, message) => {
    expect(() => parseWords(spec, words)).toThrow(message);
  });

  it("has a help text from the schema", async () => {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: terminal colours are what is removed
    const help = (await renderUsage(toCitty(spec))).replace(/\u001b\[\d+m/g, "");
    expect(help).toContain("--port");
    expect(help).toContain("port to listen on");
    expect(help).toContain("8080");
    expect(help).toContain("--max-tokens");
  });
});
