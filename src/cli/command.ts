// How a command of `vexil` is declared: positionals and one zod schema for its flags. Parsing, checks and the
// help text are derived from that. It knows no command in particular.

import { type ArgsDef, type CommandDef, defineCommand } from "citty";
import * as z from "zod";
import { didYouMean } from "../compiler/nearest.js";
import { UsageError } from "./errors.js";

export interface Positional {
  readonly name: string;
  readonly description: string;
  readonly required?: boolean;
}

export interface CommandSpec<F extends z.ZodRawShape> {
  readonly name: string;
  readonly summary: string;
  readonly positionals?: readonly Positional[];
  /** Names in camelCase become `--kebab-case`; `.describe()` is the help text. */
  readonly flags: z.ZodObject<F>;
  readonly run: (
    positionals: readonly (string | undefined)[],
    flags: z.infer<z.ZodObject<F>>,
  ) => Promise<void>;
}

const kebab = (name: string) => name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);

/** What is inside optional and default wrappers. */
function unwrap(type: z.ZodType): { inner: z.ZodType; fallback: unknown } {
  let inner = type;
  let fallback: unknown;
  for (;;) {
    if (inner instanceof z.ZodDefault) {
      fallback = inner.def.defaultValue;
      inner = inner.def.innerType as z.ZodType;
    } else if (inner instanceof z.ZodOptional) inner = inner.def.innerType as z.ZodType;
    else return { inner, fallback };
  }
}

const isBoolean = (type: z.ZodType) => unwrap(type).inner instanceof z.ZodBoolean;

/** Splits raw words into positionals and flags by the schema; refuses what the schema does not know. */
export function parseWords<F extends z.ZodRawShape>(
  spec: CommandSpec<F>,
  words: readonly string[],
): { positionals: (string | undefined)[]; flags: z.infer<z.ZodObject<F>> } {
  const shape = spec.flags.shape as unknown as Record<string, z.ZodType>;
  const byFlag = new Map(Object.keys(shape).map((key) => [kebab(key), key]));
  const given: Record<string, unknown> = {};
  const positionals: string[] = [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if (word === "--") {
      positionals.push(...words.slice(i + 1));
      break;
    }
    if (!word.startsWith("--")) {
      if (/^-[A-Za-z]/.test(word))
        throw new UsageError(`vexil ${spec.name}: unknown flag ${word}; flags start with two dashes`);
      positionals.push(word);
      continue;
    }
    const [flag, attached] = splitFlag(word.slice(2));
    const negated = flag.startsWith("no-") && !byFlag.has(flag) ? byFlag.get(flag.slice(3)) : undefined;
    const key = byFlag.get(flag) ?? negated;
    if (key === undefined)
      throw new UsageError(`vexil ${spec.name}: unknown flag --${flag}${didYouMean(flag, byFlag.keys())}`);
    if (isBoolean(shape[key]!)) {
      if (attached !== undefined && !["true", "false"].includes(attached))
        throw new UsageError(`vexil ${spec.name}: --${flag} is a switch and takes no value`);
      given[key] = negated ? false : attached !== "false";
    } else {
      const value = attached ?? words[++i];
      if (value === undefined) throw new UsageError(`vexil ${spec.name}: --${flag} needs a value`);
      given[key] = unwrap(shape[key]!).inner instanceof z.ZodNumber ? toNumber(value) : value;
    }
  }
  const wanted = spec.positionals ?? [];
  const missing = wanted.find((p, i) => p.required !== false && positionals[i] === undefined);
  if (missing)
    throw new UsageError(
      `vexil ${spec.name}: ${missing.name.toUpperCase()} is missing: ${missing.description}`,
    );
  if (positionals.length > wanted.length)
    throw new UsageError(`vexil ${spec.name}: "${positionals[wanted.length]}" is one argument too many`);
  const parsed = spec.flags.safeParse(given);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw new UsageError(`vexil ${spec.name}: --${kebab(String(issue.path[0] ?? ""))}: ${issue.message}`);
  }
  return { positionals, flags: parsed.data };
}

function splitFlag(text: string): [string, string | undefined] {
  const at = text.indexOf("=");
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

/** Text that is no number stays text, so that the schema's message shows what was given. */
const toNumber = (text: string): unknown =>
  text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text;

/** The citty command for a spec: citty gives the command tree and the help. */
export function toCitty<F extends z.ZodRawShape>(spec: CommandSpec<F>): CommandDef {
  const args: ArgsDef = {};
  for (const p of spec.positionals ?? [])
    args[p.name] = { type: "positional", description: p.description, required: p.required !== false };
  for (const [key, type] of Object.entries(spec.flags.shape as unknown as Record<string, z.ZodType>)) {
    const { inner, fallback } = unwrap(type);
    const description = type.description ?? inner.description ?? "";
    const shown = fallback === undefined || fallback === false ? {} : { default: String(fallback) };
    args[kebab(key)] = isBoolean(type)
      ? { type: "boolean", description }
      : { type: "string", description, valueHint: inner instanceof z.ZodNumber ? "N" : "TEXT", ...shown };
  }
  return defineCommand({ meta: { name: spec.name, description: spec.summary }, args });
}
