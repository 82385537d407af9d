// Answers held to a form: a JSON schema as a grammar, and the tokens that it allows next.

import { anyObject, schemaPart } from "./schema.js";
import { Grammar } from "./grammar.js";

export { Grammar, type State } from "./grammar.js";
export { SchemaError } from "./schema.js";
export { TokenTable } from "./tokens.js";

/** How many grammars are kept with all that was found out about their states. */
const KEPT = 32;
const kept = new Map<string, Grammar>();

/**
 * The grammar of a JSON schema, or of any JSON object without one. The same schema gives the same grammar.
 * @throws SchemaError for a schema that cannot be followed
 */
export function jsonGrammar(schema?: unknown): Grammar {
  const key = JSON.stringify(schema) ?? "";
  let grammar = kept.get(key);
  if (grammar) kept.delete(key);
  else grammar = new Grammar(schema === undefined ? anyObject() : schemaPart(schema));
  kept.set(key, grammar);
  if (kept.size > KEPT) kept.delete(kept.keys().next().value!);
  return grammar;
}
