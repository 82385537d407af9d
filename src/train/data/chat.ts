// Conversations as the model's own chat template renders them, and which parts of the text are the assistant's.

import { type ChatMessage, TextTokenizer, TokenizerError } from "../../models/tokenizer.js";
import type { Part } from "./documents.js";
import { DataError } from "./lines.js";

/** Characters for private use that stand where `{% generation %}` begins and ends. */
const [BEGIN, END] = ["\ue0f0", "\ue0f1"] as const;
const TAG = /(^|\n)?([ \t]*)\{%(-?)\s*(end)?generation\s*(-?)%\}(\n?)/g;

/**
 * A template whose generation blocks print marks. A statement's own line leaves nothing behind (Jinja's `lstrip_blocks` and
 * `trim_blocks`, which chat templates are written for); an expression's would, so that is taken away here.
 */
function marked(template: string): string {
  return template.replace(
    TAG,
    (
      _all,
      line: string | undefined,
      spaces: string,
      before: string,
      end: string | undefined,
      after: string,
    ) => `${line === undefined ? spaces : line}{{${before} "${end ? END : BEGIN}" ${after}}}`,
  );
}

/** Tokenizers whose template prints marks, made once. */
const markers = new WeakMap<TextTokenizer, TextTokenizer | null>();

function markerOf(tokenizer: TextTokenizer): TextTokenizer | null {
  let marker = markers.get(tokenizer);
  if (marker === undefined) {
    const template = tokenizer.templateText ?? "";
    marker = /\{%-?\s*generation\s*-?%\}/.test(template)
      ? new TextTokenizer({ ...tokenizer.files, chatTemplate: marked(template) })
      : null;
    markers.set(tokenizer, marker);
  }
  return marker;
}

/**
 * The text of a conversation in parts: the assistant's turns are learned. Where the template has `{% generation %}` blocks
 * they say what that is; else it is found by rendering the conversation up to each turn.
 * @throws DataError with the place, where the template refuses the messages or rewrites earlier ones
 */
export function renderChat(
  tokenizer: TextTokenizer,
  messages: readonly ChatMessage[],
  where: string,
  tools?: readonly object[],
): Part[] {
  const render = (t: TextTokenizer, part: readonly ChatMessage[], addGenerationPrompt: boolean): string => {
    try {
      return t.chat(part, { addGenerationPrompt, tools });
    } catch (e) {
      throw e instanceof TokenizerError ? new DataError(`${where}: ${e.message}`) : e;
    }
  };
  const marker = markerOf(tokenizer);
  if (marker) {
    const pieces = render(marker, messages, false).split(new RegExp(`[${BEGIN}${END}]`));
    return nonEmpty(pieces.map((text, i) => ({ text, learned: i % 2 === 1 })));
  }
  const whole = render(tokenizer, messages, false);
  const parts: Part[] = [];
  let at = 0;
  const upTo = (text: string, learned: boolean): void => {
    if (!whole.startsWith(text) || text.length < at)
      throw new DataError(
        `${where}: the chat template renders earlier turns differently when others follow, so the assistant's cannot be told apart; give a template with {% generation %} blocks as tokenizer.chat_template`,
      );
    parts.push({ text: text.slice(at), learned });
    at = text.length;
  };
  messages.forEach((m, i) => {
    if (m.role !== "assistant") return;
    upTo(i === 0 ? "" : render(tokenizer, messages.slice(0, i), true), false);
    upTo(render(tokenizer, messages.slice(0, i + 1), false), true);
  });
  parts.push({ text: whole.slice(at), learned: false });
  return nonEmpty(parts);
}

const nonEmpty = (parts: readonly Part[]): Part[] => parts.filter((p) => p.text !== "");
