// For tests that run from dist/, as users do: its modules (whose workers are there), and the `vexil` command as a
// child process. `global-setup.ts` builds dist/ for files that import this one.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll } from "vitest";

export const root = join(import.meta.dirname, "..");
export const QWEN3 = join(root, "test/fixtures/models/qwen3");

/** A module of dist/, typed by its source: `await built<typeof import("./index.js")>("serve/index.js")`. */
export const built = <T>(path: string): Promise<T> =>
  import(/* @vite-ignore */ pathToFileURL(join(root, "dist", path)).href) as Promise<T>;

/** A folder that is removed after the file's tests. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "vexil-test-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd?: string;
  /** Added to the environment; undefined removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** What stands on stdin, which then ends. */
  readonly input?: string;
}

const running = new Set<ChildProcess>();

/** A running `vexil`. */
export class Command {
  readonly child: ChildProcess;
  stdout = "";
  stderr = "";
  readonly done: Promise<Outcome>;
  readonly #watchers = new Set<() => void>();

  constructor(words: readonly string[], options: RunOptions = {}) {
    this.child = spawn(process.execPath, [join(root, "dist/node/cli/main.js"), ...words], {
      cwd: options.cwd ?? root,
      env: { ...process.env, NO_COLOR: "1", VEXIL_CHIP: "wasm", VEXIL_DEBUG: undefined, ...options.env },
      stdio: "pipe",
    });
    running.add(this.child);
    const collect = (name: "stdout" | "stderr") =>
      this.child[name]!.setEncoding("utf8").on("data", (text: string) => {
        this[name] += text;
        for (const look of [...this.#watchers]) look();
      });
    collect("stdout");
    collect("stderr");
    this.child.stdin!.on("error", () => {});
    this.child.stdin!.end(options.input ?? "");
    this.done = new Promise((resolve, reject) => {
      this.child.on("error", reject);
      this.child.on("close", (code, signal) => {
        running.delete(this.child);
        resolve({ code, signal, stdout: this.stdout, stderr: this.stderr });
        for (const look of [...this.#watchers]) look();
      });
    });
  }

  /** Waits until the output matches; fails when the command ends without. */
  until(pattern: RegExp): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const match = pattern.exec(this.stdout) ?? pattern.exec(this.stderr);
        if (!match && running.has(this.child)) return;
        this.#watchers.delete(look);
        if (match) resolve(match);
        else reject(new Error(`the command ended without ${pattern}:\n${this.stdout}\n${this.stderr}`));
      };
      this.#watchers.add(look);
      look();
    });
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }
}

/** Runs `vexil` to its end. On the wasm chip unless `env` says otherwise. */
export const vexil = (words: readonly string[], options?: RunOptions): Promise<Outcome> =>
  new Command(words, options).done;

/** For `afterAll`: ends what is still running, and fails if there was anything. */
export function killLeftovers(): void {
  const left = [...running];
  for (const child of left) child.kill("SIGKILL");
  if (left.length)
    throw new Error(`still running: ${left.map((c) => c.spawnargs.slice(2).join(" ")).join("; ")}`);
}
