// PyTorch on the CPU, in a process of its own that is asked line by line, so that its runs can take turns with ours.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export const install = "apt install python3-torch, or set VEXIL_BENCH_PYTHON to a Python that has torch";

/** @throws when no Python with torch is found */
export async function open(threads) {
  const candidates = [process.env.VEXIL_BENCH_PYTHON, "/usr/bin/python3", "python3"].filter(Boolean);
  for (const python of candidates) {
    const server = spawn(
      python,
      [fileURLToPath(new URL("torch_server.py", import.meta.url)), String(threads)],
      {
        stdio: ["pipe", "pipe", "ignore"],
      },
    );
    server.on("error", () => {});
    server.stdin.on("error", () => {});
    const lines = createInterface({ input: server.stdout })[Symbol.asyncIterator]();
    const first = await lines.next();
    if (first.done) continue;
    /** One line of words there, one number back. */
    const ask = async (...words) => {
      server.stdin.write(`${words.join(" ")}\n`);
      const { value, done } = await lines.next();
      if (done) throw new Error(`PyTorch ended at "${words[0]}"`);
      return Number(value);
    };
    return {
      name: "PyTorch CPU",
      ask,
      version: `torch ${first.value}`,
      /** Seconds that `count` runs of `op` (`add`, `relu`, `mm`) take. */
      seconds: ask,
      close: () => server.stdin.end(),
    };
  }
  throw new Error(`PyTorch is not installed: ${install}`);
}
