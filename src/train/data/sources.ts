// From the configuration's `data` to sequences: files and patterns of names, each with its weight.

import * as fs from "node:fs";
import { dirname, join, sep } from "node:path";
import type { TextTokenizer } from "../../models/tokenizer.js";
import { fileDocuments, fileTexts } from "./documents.js";
import { DataError } from "./lines.js";
import type { Share } from "./order.js";
import { cutDocuments, Joined, packDocuments, type Sequences, wholeDocuments } from "./sequences.js";
import { TokenFile } from "./token-file.js";

/** Files of one kind: a path, or a pattern with `*`, `?` and `**`, and how often they are drawn relative to the others. */
export interface Source {
  readonly path: string;
  readonly weight?: number | undefined;
}

/** One path, or several sources. */
export type Sources = string | readonly (string | Source)[];

export const sourceList = (sources: Sources): Source[] =>
  (typeof sources === "string" ? [sources] : sources).map((s) => (typeof s === "string" ? { path: s } : s));

/** The files that a path or a pattern names, sorted. @throws DataError when there is none */
export function expandPath(path: string): string[] {
  if (!/[*?]/.test(path)) return [path];
  const parts = path.split(/[\\/]/);
  const fixed = parts.findIndex((p) => /[*?]/.test(p));
  const base = parts.slice(0, fixed).join(sep) || (path.startsWith("/") ? "/" : ".");
  const pattern = parts
    .slice(fixed)
    .map((p) =>
      p === "**"
        ? "**"
        : p
            .replace(/[.+^${}()|[\]\\]/g, "\\$&")
            .replace(/\*/g, "[^/]*")
            .replace(/\?/g, "[^/]"),
    )
    .join("/")
    .replaceAll("**/", "(?:.*/)?");
  const wanted = new RegExp(`^${pattern}$`);
  const found: string[] = [];
  const visit = (folder: string, below: string): void => {
    for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
      const name = below === "" ? entry.name : `${below}/${entry.name}`;
      if (entry.isDirectory()) visit(join(folder, entry.name), name);
      else if (wanted.test(name)) found.push(join(base, name));
    }
  };
  if (fs.existsSync(base) && fs.statSync(base).isDirectory()) visit(base, "");
  if (found.length === 0)
    throw new DataError(`${path}: no file has such a name below ${dirname(join(base, "x"))}`);
  return found.sort();
}

export interface ReadOptions {
  /** Tokens that a sequence predicts at most. */
  readonly length: number;
  /** Fill sequences with documents one behind the other. */
  readonly packed?: boolean;
}

/**
 * Reads files as sequences. `.npy`: tokens; `.jsonl`: a document a line; anything else: text.
 * @throws DataError for a missing, damaged or empty file, or an example that is too long
 */
export function readSequences(
  paths: readonly string[],
  tokenizer: TextTokenizer,
  { length, packed = false }: ReadOptions,
): Sequences {
  const isTokens = (p: string): boolean => p.endsWith(".npy");
  const sets: Sequences[] = paths.filter(isTokens).map((p) => new TokenFile(p, length));
  const rest = paths.filter((p) => !isTokens(p));
  if (packed && rest.length > 0) {
    const documents = (function* () {
      for (const p of rest) yield* fileDocuments(p, tokenizer);
    })();
    sets.push(
      packDocuments(
        documents,
        length,
        tokenizer.eosIds[0],
        rest.length === 1 ? rest[0]! : `${rest.length} files`,
      ),
    );
  } else
    for (const p of rest)
      sets.push((p.endsWith(".jsonl") ? wholeDocuments : cutDocuments)(fileDocuments(p, tokenizer), length));
  return sets.length === 1 ? sets[0]! : new Joined(sets);
}

/** All sequences of a run, and the shares of its sources in what is drawn. */
export interface TrainingData {
  readonly sequences: Sequences;
  readonly shares: readonly Share[];
}

/** Reads all sources. Without weights every sequence is drawn equally often. @throws DataError */
export function readSources(sources: Sources, tokenizer: TextTokenizer, options: ReadOptions): TrainingData {
  const list = sourceList(sources);
  const sets = list.map((s) => readSequences(expandPath(s.path), tokenizer, options));
  const sequences = sets.length === 1 ? sets[0]! : new Joined(sets);
  const shares = list.every((s) => s.weight === undefined)
    ? [{ count: sequences.length, weight: 1 }]
    : list.map((s, i) => ({ count: sets[i]!.length, weight: s.weight ?? 1 }));
  return { sequences, shares };
}

/** The texts of all sources, for training a tokenizer. @throws DataError where they hold tokens already */
export function* sourceTexts(sources: Sources): Generator<string> {
  for (const { path } of sourceList(sources))
    for (const file of expandPath(path)) {
      if (file.endsWith(".npy"))
        throw new DataError(`${file}: holds tokens already; a tokenizer is trained on text`);
      yield* fileTexts(file);
    }
}
