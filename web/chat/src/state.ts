// What the page remembers: the conversation and the settings, in this browser only. What was stored by another version, or
// by hand, is checked before it is used.

export interface Figures {
  readonly tokens: number;
  /** Milliseconds from the request to the first text. */
  readonly firstMs: number;
  /** Tokens after the first, over the time they took. Undefined for an answer of one token. */
  readonly perSecond?: number | undefined;
}

export interface Turn {
  readonly role: "user" | "assistant";
  content: string;
  figures?: Figures | undefined;
  /** How an answer ended early: by the reader, by its token limit, or by an error. */
  ending?: "stopped" | "length" | "broken" | undefined;
}

/** The settings that are numbers; undefined leaves the choice to the server, and `empty` says what it is. */
export const SAMPLING = {
  temperature: {
    label: "Temperature",
    field: "temperature",
    min: 0,
    max: 2,
    step: 0.05,
    standard: 0.7,
    empty: "1",
  },
  topP: { label: "Top-p", field: "top_p", min: 0.01, max: 1, step: 0.01, standard: 0.95, empty: "1" },
  topK: {
    label: "Top-k",
    field: "top_k",
    min: 0,
    max: undefined,
    step: 1,
    standard: undefined,
    empty: "all",
  },
  maxTokens: {
    label: "Max tokens",
    field: "max_tokens",
    min: 1,
    max: undefined,
    step: 1,
    standard: undefined,
    empty: "no limit",
  },
  seed: {
    label: "Seed",
    field: "seed",
    min: 0,
    max: undefined,
    step: 1,
    standard: undefined,
    empty: "random",
  },
} as const;
export type SamplingName = keyof typeof SAMPLING;

export interface Settings {
  system: string;
  theme: "auto" | "light" | "dark";
  model?: string | undefined;
  sampling: Partial<Record<SamplingName, number>>;
}

const CONVERSATION = "vexil.conversation";
const SETTINGS = "vexil.settings";
const KEY = "vexil.key";

export const defaults = (): Settings => ({
  system: "",
  theme: "auto",
  sampling: Object.fromEntries(
    Object.entries(SAMPLING).flatMap(([name, s]) => (s.standard === undefined ? [] : [[name, s.standard]])),
  ),
});

/** Storage can be full, or forbidden: then the page forgets, and works. */
function read(store: Storage, name: string): unknown {
  try {
    return JSON.parse(store.getItem(name) ?? "null");
  } catch {
    return null;
  }
}
function write(store: Storage, name: string, value: unknown): void {
  try {
    if (value === undefined) store.removeItem(name);
    else store.setItem(name, JSON.stringify(value));
  } catch {
    // Nothing depends on it.
  }
}

const isObject = (x: unknown): x is Record<string, unknown> => typeof x === "object" && x !== null;
const isNumber = (x: unknown): x is number => typeof x === "number" && Number.isFinite(x);

function turnOf(x: unknown): Turn | undefined {
  if (!isObject(x) || typeof x["content"] !== "string") return undefined;
  if (x["role"] === "user") return { role: "user", content: x["content"] };
  if (x["role"] !== "assistant") return undefined;
  const { figures: f, ending } = x;
  return {
    role: "assistant",
    content: x["content"],
    ...(isObject(f) && isNumber(f["tokens"]) && isNumber(f["firstMs"])
      ? {
          figures: {
            tokens: f["tokens"],
            firstMs: f["firstMs"],
            perSecond: isNumber(f["perSecond"]) ? f["perSecond"] : undefined,
          },
        }
      : {}),
    ...(ending === "stopped" || ending === "length" || ending === "broken" ? { ending } : {}),
  };
}

export function loadTurns(): Turn[] {
  const stored = read(localStorage, CONVERSATION);
  if (!Array.isArray(stored)) return [];
  const turns: Turn[] = [];
  for (const x of stored) {
    const turn = turnOf(x);
    // Questions and answers alternate, or it is no conversation.
    if (!turn || turn.role !== (turns.length % 2 === 0 ? "user" : "assistant")) break;
    turns.push(turn);
  }
  return turns;
}
export const saveTurns = (turns: readonly Turn[]): void =>
  write(localStorage, CONVERSATION, turns.length ? turns : undefined);

export function loadSettings(): Settings {
  const settings = defaults();
  const stored = read(localStorage, SETTINGS);
  if (!isObject(stored)) return settings;
  if (typeof stored["system"] === "string") settings.system = stored["system"];
  if (stored["theme"] === "light" || stored["theme"] === "dark") settings.theme = stored["theme"];
  if (typeof stored["model"] === "string") settings.model = stored["model"];
  const { sampling } = stored;
  if (isObject(sampling)) {
    settings.sampling = {};
    for (const name of Object.keys(SAMPLING) as SamplingName[])
      if (isNumber(sampling[name])) settings.sampling[name] = sampling[name];
  }
  return settings;
}
export const saveSettings = (settings: Settings): void => write(localStorage, SETTINGS, settings);

/** The API key lives as long as the tab: what is stored longer is read by more. */
export function loadKey(): string {
  const key = read(sessionStorage, KEY);
  return typeof key === "string" ? key : "";
}
export const saveKey = (key: string): void => write(sessionStorage, KEY, key === "" ? undefined : key);
