// Which chips there are, which of them are open, and which one is used when nobody says.
// It knows no chip by name: `chips/` and other packages register theirs.

import { nearest } from "../compiler/nearest.js";
import { type Chip, type ChipEntry, chipKind } from "./driver.js";
import { env, isNode, warn } from "./platform.js";
import { loadTuning } from "./tuning-table.js";

const entries = new Map<string, ChipEntry>();
const opening = new Map<string, Promise<Chip>>();
const open = new Map<string, Chip>();
let chosen: Chip | undefined;
let choosing: Promise<Chip> | undefined;

/** A chip that is not known, not available or not loaded. */
export class ChipError extends Error {
  override name = "ChipError";
}

/**
 * Announces a chip. Chips are preferred in the order of their registration; a second one of the same name
 * replaces the first as long as that is not open.
 */
export function registerChip(entry: ChipEntry): void {
  if (opening.has(entry.name)) throw new ChipError(`the chip ${entry.name} is open and cannot be replaced`);
  entries.set(entry.name, entry);
}

/** All registered chips, in order of preference. */
export const listChips = (): ChipEntry[] => [...entries.values()];

function unknown(name: string, from: string): ChipError {
  const names = [...entries.keys()];
  const near = nearest(name, names);
  const hint = near ? ` Did you mean "${near}"?` : "";
  return new ChipError(
    `${from}no chip is called "${name}".${hint} There are: ${names.join(", ") || "none"}.`,
  );
}

function find(name: string, from = ""): ChipEntry {
  const entry = entries.get(name);
  if (entry) return entry;
  const base = entries.get(chipKind(name));
  if (!base) throw unknown(name, from);
  if (!base.openDevice)
    throw new ChipError(`${from}the chip ${base.name} has one device: there is no ${name}`);
  return base;
}

/**
 * Opens a chip, once: later calls give the same one. `NAME:1` is the second device of a chip that has several; each has
 * memory and a stream of its own, and tensors move between them with `to`.
 * Throws {@link ChipError} for an unknown name, and with the chip's hint when it is not available.
 *
 * @example const chip = await loadChip("wasm");
 */
export function loadChip(name: string): Promise<Chip> {
  let promise = opening.get(name);
  if (!promise) {
    promise = openChip(name);
    opening.set(name, promise);
    promise.catch(() => opening.delete(name));
  }
  return promise;
}

async function openChip(name: string): Promise<Chip> {
  const entry = find(name);
  const probe = await entry.probe();
  if (!probe.available) throw new ChipError(unavailable(name, probe));
  const index = deviceOf(name, entry);
  const device = index === undefined ? await entry.open() : await openDevice(name, entry, index);
  const chip = device ?? (await loadChip(entry.name));
  if (device) await loadTuning(chip);
  open.set(name, chip);
  return chip;
}

/** The number of a device in a name like `gpu:1`; undefined in a chip's own name. */
const deviceOf = (name: string, entry: ChipEntry): number | undefined =>
  name === entry.name ? undefined : Number(name.slice(entry.name.length + 1));

/** Undefined: it is the device that has the chip's own name. */
async function openDevice(name: string, entry: ChipEntry, index: number): Promise<Chip | undefined> {
  try {
    return await entry.openDevice!(index);
  } catch (e) {
    throw new ChipError(`the chip ${name}: ${(e as Error).message}`, { cause: e });
  }
}

const unavailable = (name: string, probe: { found: string; hint?: string }): string =>
  `the chip ${name} is not available: ${probe.found}${probe.hint ? `. ${probe.hint}` : ""}`;

/** An open chip, without waiting. Throws {@link ChipError} that says how to open it. */
export function loadedChip(name: string): Chip {
  const chip = open.get(name);
  if (chip) return chip;
  find(name);
  throw new ChipError(`the chip ${name} is not loaded: \`await loadChip("${name}")\` first`);
}

/** The chip that is used when none is named. Throws {@link ChipError} before one was chosen. */
export function defaultChip(): Chip {
  if (chosen) return chosen;
  throw new ChipError('no chip is loaded yet: `await autoload()`, or `await setDefaultChip("NAME")`');
}

/** Whether a chip is the one that is used when none is named, or the only way there is. */
export const isDefaultChip = (chip: Chip): boolean => chosen === undefined || chosen === chip;

/** Opens a chip and makes it the default. */
export async function setDefaultChip(name: string): Promise<void> {
  chosen = await loadChip(name);
}

/**
 * Chooses the default chip, unless there is one: the one that `VEXIL_CHIP` names, else the first available.
 * A chip that is missing something is passed over with one line on stderr. Throws {@link ChipError} when
 * `VEXIL_CHIP` names no chip or one that is not available, or when none is available at all.
 */
export function autoload(): Promise<Chip> {
  if (chosen) return Promise.resolve(chosen);
  choosing ??= choose().finally(() => {
    choosing = undefined;
  });
  return choosing;
}

async function choose(): Promise<Chip> {
  const wanted = env("VEXIL_CHIP");
  if (wanted) {
    find(wanted, "VEXIL_CHIP: ");
    chosen = await loadChip(wanted);
    return chosen;
  }
  const missing: string[] = [];
  for (const entry of entries.values()) {
    try {
      const chip = await loadChip(entry.name);
      // In a browser nobody can install what is missing.
      if (missing.length && isNode) warn(`vexil: ${missing.join("; ")}. Using ${chip.name}.`);
      chosen ??= chip;
      return chosen;
    } catch (e) {
      missing.push(e instanceof Error ? e.message.replace(/\.$/, "") : String(e));
    }
  }
  throw new ChipError(`no chip is available: ${missing.join("; ") || "none is registered"}`);
}

/** The open chips. */
export const openChips = (): Chip[] => [...new Set(open.values())];

/** Closes every open chip: their memory and workers are gone, tensors on them are unusable. */
export function closeChips(): void {
  for (const chip of openChips()) chip.driver.close();
  open.clear();
  opening.clear();
  chosen = undefined;
}
