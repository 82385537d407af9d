// Folders of checkpoints: how one appears whole or not at all, how a broken one is told from a good one, and which ones
// stay. What is in them stands in `checkpoint.ts`.

import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { join } from "node:path";
import { writeAtomic } from "../models/folder.js";

const NAME = /^checkpoint-(\d+)$/;
const UNFINISHED = /^checkpoint-\d+\.tmp$/;
/** Lists every other file with its size and hash; written last, so a folder without it is unfinished. */
const SEAL = "complete.json";

/** Where the checkpoint of a step stands in a run's output folder. */
export const checkpointFolder = (output: string, step: number): string => join(output, `checkpoint-${step}`);

/** Steps that have a folder, the most first; nothing is said of whether they are good. */
export function checkpointSteps(output: string): number[] {
  if (!fs.existsSync(output) || !fs.statSync(output).isDirectory()) return [];
  return fs
    .readdirSync(output)
    .flatMap((name) => NAME.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => b - a);
}

function sha256(file: string): string {
  const hash = createHash("sha256");
  const fd = fs.openSync(file, "r");
  try {
    const part = new Uint8Array(4 * 2 ** 20);
    for (let n = fs.readSync(fd, part); n > 0; n = fs.readSync(fd, part)) hash.update(part.subarray(0, n));
  } finally {
    fs.closeSync(fd);
  }
  return hash.digest("hex");
}

/** Makes the entries of a folder last through a crash of the machine; where the system has no such call, it does nothing. */
function syncFolder(folder: string): void {
  try {
    const fd = fs.openSync(folder, "r");
    try {
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  } catch {
    // Windows opens no folders.
  }
}

/**
 * Makes a step's folder: `write` fills a temporary one, which is sealed, flushed and renamed. A process that dies
 * meanwhile leaves only the temporary folder, which nobody takes for a checkpoint.
 */
export async function makeCheckpoint(
  output: string,
  step: number,
  write: (folder: string) => Promise<void>,
): Promise<string> {
  const folder = checkpointFolder(output, step);
  const temporary = `${folder}.tmp`;
  fs.rmSync(temporary, { recursive: true, force: true });
  fs.mkdirSync(temporary, { recursive: true });
  await write(temporary);
  const files = fs.readdirSync(temporary).sort();
  const seal = files.map((name) => {
    const path = join(temporary, name);
    return [name, { bytes: fs.statSync(path).size, sha256: sha256(path) }] as const;
  });
  writeAtomic(join(temporary, SEAL), [`${JSON.stringify({ files: Object.fromEntries(seal) }, null, 2)}\n`]);
  syncFolder(temporary);
  // Only a broken folder can stand here: a good one of this step is not written again.
  fs.rmSync(folder, { recursive: true, force: true });
  fs.renameSync(temporary, folder);
  syncFolder(output);
  return folder;
}

/** What is wrong with a checkpoint's folder; undefined for a good one. Reads every file. */
export function faultOf(folder: string): string | undefined {
  let files: Record<string, { bytes: number; sha256: string }>;
  try {
    files = (JSON.parse(fs.readFileSync(join(folder, SEAL), "utf8")) as { files: typeof files }).files;
  } catch {
    return `it has no readable ${SEAL}`;
  }
  if (typeof files !== "object" || files === null || !("trainer_state.json" in files))
    return `${SEAL} does not list its files`;
  for (const [name, { bytes, sha256: hash }] of Object.entries(files)) {
    const path = join(folder, name);
    if (!fs.existsSync(path)) return `${name} is missing`;
    const size = fs.statSync(path).size;
    if (size !== bytes) return `${name} has ${size} bytes instead of ${bytes}`;
    if (sha256(path) !== hash) return `${name} is not what was written (its SHA-256 is another)`;
  }
  return undefined;
}

/**
 * The good checkpoint with the most steps, or undefined.
 * @param say told of every broken one that is passed over
 */
export function latestCheckpoint(output: string, say: (text: string) => void = () => {}): string | undefined {
  for (const step of checkpointSteps(output)) {
    const folder = checkpointFolder(output, step);
    const fault = faultOf(folder);
    if (fault === undefined) return folder;
    say(`${folder} is broken: ${fault}; going on from the one before`);
  }
  return undefined;
}

/** Removes all checkpoints but the newest `keep`, the step `best`, and nothing that is newer than `step`. */
export function removeOld(output: string, step: number, keep: number, best: number | undefined): void {
  const old = checkpointSteps(output)
    .filter((s) => s <= step)
    .slice(keep);
  for (const s of old)
    if (s !== best) fs.rmSync(checkpointFolder(output, s), { recursive: true, force: true });
}

/** Removes what a process that died while saving has left. */
export function removeUnfinished(output: string): void {
  for (const name of fs.readdirSync(output))
    if (UNFINISHED.test(name)) fs.rmSync(join(output, name), { recursive: true, force: true });
}

/** Removes every checkpoint: the run starts anew. */
export function removeAll(output: string): void {
  for (const step of checkpointSteps(output))
    fs.rmSync(checkpointFolder(output, step), { recursive: true, force: true });
}
