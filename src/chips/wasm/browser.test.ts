// The driver in a real browser, from a bundled and minified page: with threads when cross-origin isolated, alone
// otherwise, on the main thread and in a worker. Runs where a Chromium is installed.

import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { chromium } from "playwright-core";
import { describe, expect, it } from "vitest";

const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((f) =>
  existsSync(f),
);
const here = fileURLToPath(new URL(".", import.meta.url));

const SCRIPT = `
import { WasmDriver } from ${JSON.stringify(join(here, "driver.ts"))};
import { compileForm } from ${JSON.stringify(join(here, "artifact.ts"))};
import { FormBuilder } from ${JSON.stringify(join(here, "testing/builder.ts"))};
import { canShare, hasRelaxedSimd, hostThreads } from ${JSON.stringify(join(here, "host.ts"))};

async function compute() {
  const shared = canShare();
  const threads = shared ? Math.max(2, hostThreads()) : 1;
  const d = new WasmDriver({ threads, shared });
  const b = new FormBuilder();
  b.frameBytes = 64;
  const [out, cell] = [b.buffer("f32"), b.buffer("i32")];
  const pid = b.op("i32", 1, "programId", [], { index: 0 });
  // Counts programs in the frame: each thread has its own.
  b.loop(0, 20000, 1, () => b.store(b.op("i32", 1, "add", [b.load("i32", 1, { frame: 0 }, "i32", 0), 1]), { frame: 0 }, "i32", 0));
  b.store(b.load("i32", 1, { frame: 0 }, "i32", 0), cell, "i32", pid);
  const v = b.op("f32", 4, "convertS", [b.op("i32", 4, "splat", [pid])]);
  b.store(b.op("f32", 4, "fma", [v, 2, 1]), out, "f32", b.op("i32", 1, "mul", [pid, 4]));
  const exe = d.load(compileForm(b.form("page"), { relaxed: hasRelaxedSimd(), shared }));
  const n = 64;
  const [result, cells] = [d.alloc(16 * n), d.alloc(4 * n)];
  let parallel = false;
  let last = 0;
  for (let i = 0; i < 300 && !(parallel && i > 10); i++) {
    exe.programTime = 1e9;
    d.launch(exe, n, 1, 1, [result, cells], [0, 0]);
    const max = Math.max(...new Int32Array(d.readSync(cells, 0, 4 * n).buffer));
    parallel ||= i > 0 && max - last < n * 20000;
    last = max;
    if (!shared) break;
    await new Promise((f) => setTimeout(f, 5));
  }
  const sum = new Float32Array(d.readSync(result, 0, 16 * n).buffer).reduce((a, x) => a + x, 0);
  d.close();
  return { shared, parallel, sum };
}
if (typeof document === "undefined") onmessage = async () => postMessage(await compute());
else {
  window.compute = compute;
  window.inWorker = () => new Promise((done) => {
    const w = new Worker("/page.js", { type: "module" });
    w.onmessage = (e) => done(e.data);
    w.postMessage(0);
  });
}
`;

describe.runIf(CHROMIUM)("in Chromium", () => {
  for (const isolated of [true, false])
    it(`computes ${isolated ? "on all cores when isolated" : "on one thread when not isolated"}`, async () => {
      const folder = mkdtempSync(join(tmpdir(), "vexil-page-"));
      const entry = join(folder, "page.ts");
      writeFileSync(entry, SCRIPT);
      const out = await build({
        entryPoints: [entry],
        bundle: true,
        minify: true,
        format: "esm",
        write: false,
      });
      const script = out.outputFiles[0]!.text;
      const server = createServer((request, response) => {
        const js = request.url === "/page.js";
        response.setHeader("content-type", js ? "text/javascript" : "text/html");
        if (isolated) {
          response.setHeader("cross-origin-opener-policy", "same-origin");
          response.setHeader("cross-origin-embedder-policy", "require-corp");
        }
        response.end(js ? script : '<!doctype html><script type="module" src="/page.js"></script>');
      });
      await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
      const browser = await chromium.launch({ executablePath: CHROMIUM!, args: ["--no-sandbox"] });
      try {
        const page = await browser.newPage();
        await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
        for (const place of ["compute", "inWorker"]) {
          await page.waitForFunction(`window.${place}`);
          const r = await page.evaluate(`window.${place}()`);
          expect(r).toEqual({ shared: isolated, parallel: isolated, sum: 4 * (64 * 63 + 64) });
        }
      } finally {
        await browser.close();
        server.close();
        rmSync(folder, { recursive: true, force: true });
      }
    });
});
