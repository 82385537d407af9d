// Answers held to a form: a JSON schema or a call of a tool as a grammar, and the tokens that it allows next.

import { choice, Grammar, sequence, text } from "./grammar.js";
import { anyObject, JsonSchemaError, schemaPart } from "./schema.js";

export { Grammar, type State } from "./grammar.js";
export { JsonSchemaError } from "./schema.js";
export { TokenTable } from "./tokens.js";

/** How many grammars are kept with all that was found out about their states. */
const KEPT = 32;
const kept = new Map<string, Grammar>();

function keep(key: string, make: () => Grammar): Grammar {
  let grammar = kept.get(key);
  if (grammar) kept.delete(key);
  else grammar = make();
  kept.set(key, grammar);
  if (kept.size > KEPT) kept.delete(kept.keys().next().value!);
  return grammar;
}

/**
 * The grammar of a JSON schema, or of any JSON object without one. The same schema gives the same grammar.
 * @throws JsonSchemaError for a schema that cannot be followed
 */
export const jsonGrammar = (schema?: unknown): Grammar =>
  keep(
    `json ${JSON.stringify(schema)}`,
    () => new Grammar(schema === undefined ? anyObject() : schemaPart(schema)),
  );

/** The marks around a call in the text of models that write them so. */
export const CALL_OPEN = "<tool_call>";
export const CALL_CLOSE = "</tool_call>";

/**
 * The grammar of one call of one of the tools: `<tool_call>{"name": …, "arguments": …}</tool_call>` with a line for each.
 * @throws JsonSchemaError for parameters that cannot be followed, naming the tool
 */
export const callGrammar = (
  tools: readonly {
    readonly function: {
      readonly name: string;
      readonly parameters?: Readonly<Record<string, unknown>> | undefined;
    };
  }[],
): Grammar =>
  keep(`call ${JSON.stringify(tools)}`, () => {
    const calls = tools.map(({ function: f }) => {
      try {
        const given = f.parameters === undefined ? anyObject() : schemaPart(f.parameters);
        return sequence(text(`{"name": ${JSON.stringify(f.name)}, "arguments": `), given, text("}"));
      } catch (e) {
        if (e instanceof JsonSchemaError)
          throw new JsonSchemaError(`${f.name}.parameters${e.path && `.${e.path}`}`, e.reason);
        throw e;
      }
    });
    return new Grammar(sequence(text(`${CALL_OPEN}\n`), choice(...calls), text(`\n${CALL_CLOSE}`)));
  });
