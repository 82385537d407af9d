// How one question or answer looks, with what can be done to it. It knows nothing of the server.

import { button, make } from "./dom.js";
import { copyText, MarkdownView } from "./markdown.js";
import type { Figures, Turn } from "./state.js";

export interface TurnActions {
  /** Asks the last question again. */
  regenerate(): void;
  /** Puts another text in the last question's place, and asks that. */
  edit(text: string): void;
}

const ENDINGS = {
  stopped: "stopped",
  length: "cut at its token limit",
  broken: "not complete",
} as const;

/** `128 tokens, 31.5 tokens/s, first after 120 ms` */
export function showFigures(f: Figures): string {
  const first = f.firstMs >= 1000 ? `${(f.firstMs / 1000).toFixed(2)} s` : `${Math.round(f.firstMs)} ms`;
  return [
    `${f.tokens} token${f.tokens === 1 ? "" : "s"}`,
    ...(f.perSecond === undefined ? [] : [`${f.perSecond.toFixed(f.perSecond < 100 ? 1 : 0)} tokens/s`]),
    `first after ${first}`,
  ].join(" · ");
}

/** What a model thought before it answered, where it says so, and the answer. */
function splitThought(text: string): { thought: string; isOpen: boolean; rest: string } {
  const start = /^\s*<think>/.exec(text);
  if (!start) return { thought: "", isOpen: false, rest: text };
  const end = text.indexOf("</think>", start[0].length);
  if (end < 0) return { thought: text.slice(start[0].length).trim(), isOpen: true, rest: "" };
  return {
    thought: text.slice(start[0].length, end).trim(),
    isOpen: false,
    rest: text.slice(end + 8).trimStart(),
  };
}

export class TurnView {
  readonly element: HTMLLIElement;
  readonly #body = make("div", { className: "body" });
  readonly #actions = make("div", { className: "actions" });
  readonly #figures = make("span", { className: "figures" });
  readonly #prose = new MarkdownView();
  readonly #thought = make("p", {});
  readonly #thinking: HTMLDetailsElement;
  readonly #thinkingTitle = make("summary", {}, "Thinking");

  constructor(
    readonly turn: Turn,
    readonly actions: TurnActions,
  ) {
    this.#thinking = make(
      "details",
      { className: "thought", hidden: true },
      this.#thinkingTitle,
      this.#thought,
    );
    const speaker = make("h2", { className: "hidden" }, turn.role === "user" ? "You" : "Answer");
    this.element = make("li", { className: `turn ${turn.role}` }, speaker, this.#body, this.#actions);
    if (turn.role === "assistant") this.#body.append(this.#thinking, this.#prose.element);
  }

  /** Draws the turn as it is now. `last`: only there can anything be changed. `busy`: an answer is being written. */
  draw(last: boolean, busy: boolean): void {
    const { turn } = this;
    this.element.classList.toggle("writing", last && busy && turn.role === "assistant");
    if (turn.role === "user") {
      if (!this.element.classList.contains("editing")) this.#body.textContent = turn.content;
      this.#actions.replaceChildren(...(last && !busy ? [button("Edit", () => this.startEditing())] : []));
      return;
    }
    const { thought, isOpen, rest } = splitThought(turn.content);
    this.#thinking.hidden = thought === "";
    this.#thinkingTitle.textContent = isOpen && busy ? "Thinking…" : "Thoughts";
    this.#thought.textContent = thought;
    this.#prose.show(rest);
    if (last && busy) {
      this.#actions.replaceChildren();
      return;
    }
    const said = [
      ...(turn.figures ? [showFigures(turn.figures)] : []),
      ...(turn.ending ? [ENDINGS[turn.ending]] : []),
    ].join(" · ");
    this.#figures.textContent = said;
    const copy = button("Copy", async () => {
      copy.textContent = (await copyText(rest)) ? "Copied" : "Not copied";
      setTimeout(() => {
        copy.textContent = "Copy";
      }, 1600);
    });
    copy.setAttribute("aria-label", "Copy the answer");
    this.#actions.replaceChildren(
      copy,
      ...(last ? [button("Regenerate", () => this.actions.regenerate())] : []),
      this.#figures,
    );
  }

  /** Turns the question into a field. Enter asks, Esc leaves it as it was. */
  startEditing(): void {
    if (this.element.classList.contains("editing")) return;
    this.element.classList.add("editing");
    const field = make("textarea", { value: this.turn.content, rows: 1 });
    field.setAttribute("aria-label", "Edit the message");
    const end = () => {
      this.element.classList.remove("editing");
      this.draw(true, false);
    };
    const save = () => {
      const text = field.value.trim();
      end();
      if (text !== "") this.actions.edit(text);
    };
    field.addEventListener("keydown", (e) => {
      if (e.isComposing) return;
      if (e.key === "Escape") {
        e.stopPropagation();
        end();
        this.#actions.querySelector("button")?.focus();
      } else if (e.key === "Enter" && !e.shiftKey) {
        e.preventDefault();
        save();
      }
    });
    field.addEventListener("input", () => growToText(field));
    this.#body.replaceChildren(field);
    this.#actions.replaceChildren(button("Ask", save, "act small"), button("Cancel", end));
    growToText(field);
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  }
}

/** Makes a field as high as its text, up to the limit of its style. */
export function growToText(field: HTMLTextAreaElement): void {
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
}
