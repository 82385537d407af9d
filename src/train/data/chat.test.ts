// Conversations: what of them is learned, by the template's own marks or by rendering prefixes.

import { describe, expect, it } from "vitest";
import { type ChatMessage, TextTokenizer } from "../../models/tokenizer.js";
import { trainBpe } from "../tokenizer/bpe.js";
import { lineDocument } from "./documents.js";

const files = trainBpe(["user assistant system hello there fine"], {
  vocabSize: 300,
  specialTokens: ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
}).files;
const withTemplate = (chatTemplate: string) => new TextTokenizer({ ...files, chatTemplate });

const chat: ChatMessage[] = [
  { role: "system", content: "be kind" },
  { role: "user", content: "hello" },
  { role: "assistant", content: "hello there" },
  { role: "user", content: "how?" },
  { role: "assistant", content: "fine" },
];
const PLAIN =
  "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
const MARKED = `{% for m in messages %}
{% if m['role'] == 'assistant' %}
<|im_start|>assistant
{% generation %}
{{ m['content'] }}<|im_end|>
{%- endgeneration %}

{% else %}
<|im_start|>{{ m['role'] }}
{{ m['content'] }}<|im_end|>
{% endif %}
{% endfor %}`;

/** The whole text, and the learned tokens' text. */
function parts(
  tokenizer: TextTokenizer,
  messages: readonly ChatMessage[],
  more: object = {},
): [string, string[]] {
  const { tokens, learned } = lineDocument({ value: { messages, ...more }, where: "c.jsonl:1" }, tokenizer);
  const runs: number[][] = [];
  learned.forEach((l, i) => {
    if (l && !learned[i - 1]) runs.push([]);
    if (l) runs.at(-1)!.push(tokens[i]!);
  });
  const text = (ids: readonly number[]) => tokenizer.decode(ids, { specialTokens: true });
  return [text(tokens), runs.map(text)];
}

describe("what is learned of a conversation", () => {
  it("is the assistant's turns with their ends, found by rendering prefixes", () => {
    const [whole, learned] = parts(withTemplate(PLAIN), chat);
    expect(whole).toBe(withTemplate(PLAIN).chat(chat, { addGenerationPrompt: false }));
    expect(learned).toEqual(["hello there<|im_end|>\n", "fine<|im_end|>\n"]);
  });

  it("is what stands in {% generation %} blocks, where the template has them", () => {
    const [whole, learned] = parts(withTemplate(MARKED), chat);
    expect(learned).toEqual(["hello there<|im_end|>", "fine<|im_end|>"]);
    expect(whole).toContain(
      "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\nhello there<|im_end|>\n<|im_start|>user",
    );
    expect(whole).not.toMatch(/[\ue000-\uf8ff]/);
  });

  it("is tokenized as the prompt and the answer are when the model is used", () => {
    const tokenizer = withTemplate(PLAIN);
    const { tokens, learned } = lineDocument({ value: { messages: chat.slice(1, 3) }, where: "" }, tokenizer);
    const prompt = tokenizer.encode(tokenizer.chat(chat.slice(1, 2)), { specialTokens: false });
    expect(tokens.slice(0, prompt.length)).toEqual(prompt);
    expect(learned.indexOf(1)).toBe(prompt.length);
  });

  it("hands tools to the template", () => {
    const template = `{% if tools %}tools: {{ tools | length }} {% endif %}${PLAIN}`;
    expect(parts(withTemplate(template), chat, { tools: [{ name: "a" }] })[0]).toMatch(/^tools: 1 /);
  });
});

it.each<[string, unknown, string, RegExp]>([
  ["no messages", [], PLAIN, /c\.jsonl:7: "messages" must be a list of \{role, content\}/],
  ["content that is no text", [{ role: "user", content: 1 }], PLAIN, /c\.jsonl:7: "messages" must be/],
  ["nobody to learn from", chat.slice(0, 2), PLAIN, /c\.jsonl:7: no message is the assistant's/],
  [
    "a template that rewrites earlier turns",
    chat,
    "{% for m in messages %}{{ m['role'] }}{% if loop.last %}!{% endif %}: {{ m['content'] }}\n{% endfor %}",
    /c\.jsonl:7: the chat template renders earlier turns differently .* \{% generation %\}/,
  ],
  [
    "a template that refuses",
    chat,
    "{{ raise_exception('no system turns') }}",
    /c\.jsonl:7: the chat template refused/,
  ],
])("says where %s stands", (_name, messages, template, message) => {
  expect(() => lineDocument({ value: { messages }, where: "c.jsonl:7" }, withTemplate(template))).toThrow(
    message,
  );
});
