// The settings dialog: reads and writes one Settings object, and tells when it changed.

import { byId, make } from "./dom.js";
import { defaults, SAMPLING, type SamplingName, type Settings } from "./state.js";

export interface SettingsView {
  /** Shows the field for the API key, once the server has asked for one. */
  showKey(): void;
}

export function settingsDialog(
  settings: Settings,
  key: { get(): string; set(key: string): void },
  onChange: () => void,
): SettingsView {
  const dialog = byId<HTMLDialogElement>("settings");
  const system = byId<HTMLTextAreaElement>("system");
  const theme = byId<HTMLSelectElement>("theme");
  const keyField = byId<HTMLInputElement>("key");
  const numbers = new Map<SamplingName, HTMLInputElement>();

  for (const [name, s] of Object.entries(SAMPLING) as [SamplingName, (typeof SAMPLING)[SamplingName]][]) {
    const field = make("input", {
      type: "number",
      id: `setting-${s.field}`,
      min: String(s.min),
      max: s.max === undefined ? "" : String(s.max),
      step: String(s.step),
      placeholder: s.empty,
      inputMode: "decimal",
    });
    field.addEventListener("change", () => {
      // What the field does not take is put right where the reader sees it.
      if (field.value !== "") {
        const within = Math.min(Math.max(Number(field.value), s.min), s.max ?? Number.MAX_SAFE_INTEGER);
        field.value = String(s.step === 1 ? Math.round(within) : within);
      }
      if (field.value === "") delete settings.sampling[name];
      else settings.sampling[name] = Number(field.value);
      onChange();
    });
    numbers.set(name, field);
    byId("sampling").append(make("label", { className: "field row" }, make("span", {}, s.label), field));
  }

  const show = () => {
    system.value = settings.system;
    theme.value = settings.theme;
    keyField.value = key.get();
    for (const [name, field] of numbers) field.value = String(settings.sampling[name] ?? "");
  };
  const applyTheme = () => {
    if (settings.theme === "auto") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = settings.theme;
  };

  system.addEventListener("input", () => {
    settings.system = system.value;
    onChange();
  });
  theme.addEventListener("change", () => {
    settings.theme = theme.value as Settings["theme"];
    applyTheme();
    onChange();
  });
  keyField.addEventListener("change", () => key.set(keyField.value.trim()));
  byId("reset").addEventListener("click", () => {
    const { model } = settings;
    Object.assign(settings, defaults(), { model });
    applyTheme();
    show();
    onChange();
  });
  byId("open-settings").addEventListener("click", () => {
    show();
    dialog.showModal();
  });
  // A click beside the dialog closes it, as Esc does.
  dialog.addEventListener("click", (e) => {
    if (e.target === dialog) dialog.close();
  });
  applyTheme();
  return {
    showKey: () => {
      byId("key-field").hidden = false;
    },
  };
}
