// The chat page: holds the conversation, asks the server, and draws what comes.

import { answer, Failure, listModels } from "./client.js";
import { button, byId, make } from "./dom.js";
import { settingsDialog } from "./settings.js";
import {
  type Figures,
  loadKey,
  loadSettings,
  loadTurns,
  saveKey,
  saveSettings,
  saveTurns,
  type Turn,
} from "./state.js";
import { growToText, showFigures, TurnView } from "./turns.js";

const list = byId<HTMLOListElement>("turns");
const input = byId<HTMLTextAreaElement>("input");
const send = byId<HTMLButtonElement>("send");
const models = byId<HTMLSelectElement>("model");
const notice = byId("notice");
const live = byId("live");

const turns = loadTurns();
const settings = loadSettings();
let key = loadKey();
let asText = false;
let views: TurnView[] = [];
/** The answer that is being written; undefined while nobody writes. */
let running: AbortController | undefined;
let countdown: ReturnType<typeof setInterval> | undefined;

const view = settingsDialog(
  settings,
  {
    get: () => key,
    set: (k) => {
      useKey(k);
      void start();
    },
  },
  () => saveSettings(settings),
);

function useKey(k: string): void {
  key = k;
  saveKey(k);
}

function announce(text: string): void {
  byId("announce").textContent = text;
}

// ---- drawing

const isAtEnd = (): boolean =>
  window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 96;
const scrollToEnd = (): void => window.scrollTo({ top: document.documentElement.scrollHeight });

const actions = { regenerate: () => void regenerate(), edit: (text: string) => void editLast(text) };

/** Draws everything anew where the list of turns changed, else what can have changed: the end. */
function draw(): void {
  if (views.length !== turns.length || views.some((v, i) => v.turn !== turns[i])) {
    const known = new Map(views.map((v) => [v.turn, v]));
    views = turns.map((t) => known.get(t) ?? new TurnView(t, actions));
    list.replaceChildren(...views.map((v) => v.element));
    drawRange(0);
  } else drawRange(Math.max(0, views.length - 2));
  byId("empty").hidden = turns.length > 0;
  byId("new").hidden = turns.length === 0;
  send.textContent = running ? "Stop" : "Send";
  send.classList.toggle("stop", running !== undefined);
  document.body.classList.toggle("busy", running !== undefined);
}

function drawRange(from: number): void {
  const lastUser = turns.findLastIndex((t) => t.role === "user");
  for (let i = from; i < views.length; i++) {
    const isLast = turns[i]!.role === "user" ? i === lastUser : i === turns.length - 1;
    views[i]!.draw(isLast, running !== undefined);
  }
}

// ---- notices

function clearNotice(): void {
  clearInterval(countdown);
  notice.hidden = true;
  notice.replaceChildren();
}

function showNotice(...parts: (Node | string)[]): void {
  clearNotice();
  notice.append(...parts);
  notice.hidden = false;
  scrollToEnd();
}

/** Says what went wrong, with what can be done about it. */
function showFailure(error: unknown, again: () => void): void {
  if (!(error instanceof Failure)) {
    showNotice(make("p", {}, `The page failed: ${(error as Error).message}`));
    return;
  }
  if (error.kind === "key") {
    view.showKey();
    const field = make("input", { type: "password", autocomplete: "off", placeholder: "API key" });
    field.setAttribute("aria-label", "API key");
    const form = make(
      "form",
      { className: "key" },
      field,
      make("button", { type: "submit", className: "act small" }, "Use"),
    );
    form.addEventListener("submit", (e) => {
      e.preventDefault();
      useKey(field.value.trim());
      clearNotice();
      again();
    });
    showNotice(make("p", {}, error.message), form);
    field.focus();
    return;
  }
  const retry = button("Try again", () => {
    clearNotice();
    input.focus();
    again();
  });
  if (error.kind === "refused") showNotice(make("p", {}, error.message));
  else showNotice(make("p", {}, error.message), retry);
  let left = error.retryAfter ?? 0;
  if (left > 0) {
    const tick = () => {
      retry.disabled = left > 0;
      retry.textContent = left > 0 ? `Try again in ${left} s` : "Try again";
      if (left-- <= 0) clearInterval(countdown);
    };
    tick();
    countdown = setInterval(tick, 1000);
  }
}

// ---- asking

/** Asks for an answer to the conversation, which ends with a question. */
async function run(): Promise<void> {
  if (running) return;
  clearNotice();
  const control = new AbortController();
  running = control;
  const turn: Turn = { role: "assistant", content: "" };
  const question = [...turns];
  turns.push(turn);
  draw();
  scrollToEnd();
  announce("The answer begins");
  const startedAt = performance.now();
  let firstAt: number | undefined;
  let lastAt = startedAt;
  let pieces = 0;
  let counted: number | undefined;
  let isDue = false;
  const figures = (): Figures | undefined => {
    if (firstAt === undefined) return undefined;
    const tokens = counted ?? pieces;
    const seconds = (lastAt - firstAt) / 1000;
    return {
      tokens,
      firstMs: firstAt - startedAt,
      perSecond: tokens > 1 && seconds > 0 ? (tokens - 1) / seconds : undefined,
    };
  };
  // At most once a frame, however fast the text comes.
  const drawSoon = () => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      if (running !== control) return;
      const follow = isAtEnd();
      views.at(-1)?.draw(true, true);
      const f = figures();
      live.textContent = f ? showFigures(f) : "";
      if (follow) scrollToEnd();
    });
  };
  let failure: unknown;
  try {
    const asked = { turns: question, settings, model: models.value || undefined, key, asText };
    for await (const piece of answer({ ...asked, signal: control.signal })) {
      if (piece.type === "text") {
        lastAt = performance.now();
        firstAt ??= lastAt;
        pieces++;
        turn.content += piece.text;
        drawSoon();
      } else if (piece.type === "usage") counted = piece.tokens;
      else if (piece.reason === "length") turn.ending = "length";
    }
  } catch (e) {
    if (control.signal.aborted) turn.ending = "stopped";
    else {
      failure = e;
      turn.ending = "broken";
    }
  }
  running = undefined;
  live.textContent = "";
  if (!turns.includes(turn)) {
    // The reader began a new conversation meanwhile.
    draw();
    return;
  }
  turn.figures = figures();
  // Without a word of an answer there is no answer.
  if (turn.content === "" && turn.ending !== "length" && turn.ending !== undefined) turns.pop();
  const follow = isAtEnd();
  saveTurns(turns);
  draw();
  if (follow) scrollToEnd();
  if (failure instanceof Failure && failure.code === "no_chat_template" && !asText) {
    asText = true;
    await run();
    showNotice(make("p", {}, "This model has no chat template, so it continues your text."));
  } else if (failure !== undefined) {
    announce("");
    showFailure(failure, () => void regenerate());
  } else if (turn.ending === "stopped") announce("Stopped");
  else announce(`Answer: ${views.at(-1)?.element.querySelector(".prose")?.textContent ?? ""}`);
}

/** Takes the last answer away, if there is one, and asks its question again. */
async function regenerate(): Promise<void> {
  if (running) return;
  if (turns.at(-1)?.role === "assistant") turns.pop();
  if (turns.length === 0) return;
  input.focus();
  await run();
}

async function editLast(text: string): Promise<void> {
  const at = turns.findLastIndex((t) => t.role === "user");
  if (running || at < 0) return;
  turns.splice(at);
  await ask(text);
}

async function ask(text: string): Promise<void> {
  // A question that got no answer gives way to the next one.
  if (turns.at(-1)?.role === "user") turns.pop();
  turns.push({ role: "user", content: text });
  saveTurns(turns);
  input.focus();
  await run();
}

// ---- the reader's side

byId("composer").addEventListener("submit", (e) => {
  e.preventDefault();
  if (running) {
    running.abort();
    return;
  }
  const text = input.value.trim();
  if (text === "") return;
  input.value = "";
  growToText(input);
  void ask(text);
});
input.addEventListener("input", () => growToText(input));
input.addEventListener("keydown", (e) => {
  if (e.isComposing) return;
  if (e.key === "Enter" && !e.shiftKey) {
    e.preventDefault();
    if (!running) byId<HTMLFormElement>("composer").requestSubmit();
  } else if (e.key === "ArrowUp" && input.value === "" && !running) {
    const last = views.findLast((v) => v.turn.role === "user");
    if (!last) return;
    e.preventDefault();
    last.startEditing();
  }
});
document.addEventListener("keydown", (e) => {
  if (e.key !== "Escape" || !running || byId<HTMLDialogElement>("settings").open) return;
  running.abort();
  input.focus();
});
byId("new").addEventListener("click", () => {
  running?.abort();
  turns.length = 0;
  saveTurns(turns);
  clearNotice();
  draw();
  input.focus();
});
models.addEventListener("change", () => {
  settings.model = models.value;
  asText = false;
  saveSettings(settings);
});

/** Asks the server for its models, which also shows whether it is there and wants a key. */
async function start(): Promise<void> {
  clearNotice();
  try {
    const names = await listModels(key);
    models.replaceChildren(...names.map((n) => make("option", { value: n }, n)));
    if (settings.model !== undefined && names.includes(settings.model)) models.value = settings.model;
    models.disabled = names.length < 2;
    byId("empty-model").textContent = models.value || "the model";
    document.title = models.value ? `${models.value} · Vexil` : "Vexil";
    if (key !== "") view.showKey();
    input.focus();
  } catch (e) {
    showFailure(e, () => void start());
  }
}

draw();
scrollToEnd();
void start();
