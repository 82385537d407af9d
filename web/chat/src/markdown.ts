// Markdown into the DOM. Tags in a text are shown, not obeyed; what the parser makes goes through DOMPurify as well. A text that
// grows is drawn block by block: blocks that did not change keep their nodes, and with them a selection or the focus.

import DOMPurify from "dompurify";
import { Marked, type Token, type TokensList } from "marked";
import { button, make } from "./dom.js";

const asText = (text: string): string => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    html: ({ text }) => asText(text),
    // The page loads nothing from elsewhere: a picture is a link to it.
    image: ({ href, text }) => `<a href="${asText(href)}">${asText(text || href)}</a>`,
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
  },
});

const TAGS =
  "a blockquote br code del em h1 h2 h3 h4 h5 h6 hr li ol p pre strong table tbody td th thead tr ul".split(
    " ",
  );

function blockOf(token: Token, links: TokensList["links"]): HTMLElement {
  const tokens = Object.assign([token], { links });
  const html = marked.parser(tokens);
  const block = make("div", { className: "block" });
  block.append(
    DOMPurify.sanitize(html, {
      ALLOWED_TAGS: TAGS,
      ALLOWED_ATTR: ["href", "title", "class", "start", "align"],
      RETURN_DOM_FRAGMENT: true,
    }),
  );
  for (const a of block.querySelectorAll("a")) {
    a.target = "_blank";
    a.rel = "noopener noreferrer";
  }
  for (const table of block.querySelectorAll("table")) {
    const frame = make("div", { className: "wide", tabIndex: 0 });
    table.replaceWith(frame);
    frame.append(table);
  }
  for (const pre of block.querySelectorAll("pre")) dress(pre);
  return block;
}

/** Puts a head over a code block: its language, and a button that copies it. */
function dress(pre: HTMLPreElement): void {
  const language = /language-(\S+)/.exec(pre.firstElementChild?.className ?? "")?.[1] ?? "";
  const copy = button("Copy", async () => {
    copy.textContent = (await copyText(pre.textContent ?? "")) ? "Copied" : "Not copied";
    setTimeout(() => {
      copy.textContent = "Copy";
    }, 1600);
  });
  copy.setAttribute("aria-label", language === "" ? "Copy the code" : `Copy the ${language} code`);
  const head = make("div", { className: "code-head" }, make("span", {}, language), copy);
  const frame = make("div", { className: "code" }, head);
  pre.replaceWith(frame);
  pre.tabIndex = 0;
  frame.append(pre);
}

/** Whether the text is in the clipboard now. Pages that did not come over TLS or loopback only have the old way. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = make("textarea", { value: text, className: "hidden" });
    const focused = document.activeElement;
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    if (focused instanceof HTMLElement) focused.focus();
    return copied;
  }
}

/** An element that shows a growing Markdown text. */
export class MarkdownView {
  readonly element = make("div", { className: "prose" });
  #drawn: string[] = [];
  #links = "";

  show(text: string): void {
    const tokens = marked.lexer(text);
    const shown = tokens.filter((t) => t.type !== "space" && t.type !== "def");
    // A definition at the end changes links at the beginning.
    const links = JSON.stringify(tokens.links);
    const drawn = links === this.#links ? this.#drawn : [];
    this.#links = links;
    const blocks = this.element.children;
    let same = 0;
    while (same < shown.length && same < drawn.length && drawn[same] === shown[same]!.raw) same++;
    while (blocks.length > same) blocks[blocks.length - 1]!.remove();
    this.element.append(...shown.slice(same).map((t) => blockOf(t, tokens.links)));
    this.#drawn = shown.map((t) => t.raw);
  }
}
