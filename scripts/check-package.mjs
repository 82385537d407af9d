// Packs the package and uses it as a stranger would: installs it into an empty project, imports it in Node,
// runs its command, bundles a page with Vite (minified) and runs DESIGN's softmax kernel from that bundle in a
// real Chromium, with one thread and, when the page is cross-origin isolated, with all.

import { spawn, spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const work = mkdtempSync(join(tmpdir(), "vexil-package-"));
process.on("exit", () => rmSync(work, { recursive: true, force: true }));

function run(command, args, options = {}) {
  const r = spawnSync(command, args, { cwd: work, encoding: "utf8", ...options });
  if (r.status !== 0) {
    console.error(`${command} ${args.join(" ")} failed with ${r.status}\n${r.stdout}\n${r.stderr}`);
    process.exit(1);
  }
  return r.stdout;
}

const step = (text) => console.log(`- ${text}`);

step("npm pack");
const packed = JSON.parse(
  run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", work], { cwd: root }),
)[0];
const stray = packed.files
  .map((f) => f.path)
  .filter(
    (p) =>
      !/^(dist\/|tuning\/|package\.json$|README\.md$|LICENSE$)/.test(p) || /\.test\.|\/testing\//.test(p),
  );
if (stray.length) throw new Error(`files that do not belong into the package: ${stray.join(", ")}`);
console.log(`  ${packed.filename}: ${packed.files.length} files, ${(packed.size / 1024).toFixed(0)} KiB`);

step("install into an empty project");
writeFileSync(
  join(work, "package.json"),
  JSON.stringify({ name: "stranger", private: true, type: "module" }),
);
run("npm", ["install", "--no-audit", "--no-fund", `./${packed.filename}`]);

step("import in Node");
const program = readFileSync(join(root, "test/package/softmax.js"), "utf8");
writeFileSync(join(work, "softmax.js"), program);
writeFileSync(
  join(work, "node.mjs"),
  `import { checkSoftmax } from "./softmax.js";
for (const chip of ["wasm", "interpreter"]) console.log("  " + (await checkSoftmax(chip)));`,
);
process.stdout.write(run("node", ["node.mjs"]));
for (const sub of Object.keys(
  packed.files && JSON.parse(readFileSync(join(root, "package.json"), "utf8")).exports,
))
  if (sub !== "./package.json")
    run("node", ["--input-type=module", "-e", `await import(${JSON.stringify(sub.replace(".", "vexil"))})`]);

step("npx vexil chips");
process.stdout.write(run("npx", ["--no-install", "vexil", "chips"]).replace(/^/gm, "  "));

step("vexil serve shows its page");
const command = join(work, "node_modules/vexil/dist/node/cli/main.js");
const fixture = join(root, "test/fixtures/models/qwen3");
const serving = spawn(process.execPath, [command, "serve", fixture, "--port", "0", "--chip", "wasm"], {
  cwd: work,
  stdio: ["ignore", "ignore", "pipe"],
});
try {
  const address = await new Promise((found, lost) => {
    let said = "";
    serving.stderr.setEncoding("utf8").on("data", (text) => {
      said += text;
      const match = /listening on (http:\S+)/.exec(said);
      if (match) found(match[1]);
    });
    serving.on("close", () => lost(new Error(`the server ended: ${said}`)));
  });
  const index = await fetch(address);
  const paths = [...(await index.text()).matchAll(/(?:src|href)="(\/[^"]+)"/g)].map((m) => m[1]);
  const sizes = await Promise.all(
    paths.map(async (path) => {
      const response = await fetch(address + path);
      if (!response.ok) throw new Error(`${path}: status ${response.status}`);
      return (await response.arrayBuffer()).byteLength;
    }),
  );
  if (!index.headers.get("content-security-policy") || sizes.length < 3)
    throw new Error("the page is not complete");
  console.log(`  ${sizes.length} files, ${(sizes.reduce((a, b) => a + b, 0) / 1024).toFixed(0)} KiB`);
} finally {
  serving.kill("SIGINT");
}

step("type-check a program that uses it");
writeFileSync(
  join(work, "types.ts"),
  `import { tensor, kernel, ptr, i32, constexpr } from "vexil";
const double = kernel({ x: ptr, n: i32, BLOCK: constexpr }, ({ x, n, BLOCK }, tl) => {
  const at = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
  tl.store(x + at, tl.load(x + at, at < n) * 2, at < n);
});
const t = tensor([1, 2, 3]);
double.launch([1], { x: t, n: 3, BLOCK: 4 });
const values: ArrayLike<number | bigint> = await t.data();
console.log(values.length);
`,
);
writeFileSync(
  join(work, "tsconfig.json"),
  JSON.stringify({
    compilerOptions: {
      noEmit: true,
      strict: true,
      module: "nodenext",
      target: "es2022",
      lib: ["es2022", "dom", "esnext.disposable"],
      types: [],
    },
    files: ["types.ts"],
  }),
);
run(process.execPath, [createRequire(import.meta.url).resolve("typescript/bin/tsc"), "-p", "."]);

step("a chip from another package");
const toy = join(work, "node_modules/vexil-toy-chip");
for (const part of ["package.json", "tsconfig.json", "src"])
  cpSync(join(root, "examples/toy-chip", part), join(toy, part), { recursive: true });
run(process.execPath, [createRequire(import.meta.url).resolve("typescript/bin/tsc"), "-p", toy]);
const vexil = ["--import", "vexil-toy-chip/register", command];
const sample = join(root, "test/fixtures/opinfo/sample");
const verdict = run("node", [...vexil, "conformance", "opinfo", sample, "--chip", "toy", "--sample", "1"]);
console.log(`  ${verdict.trimEnd().split("\n").at(-1)}`);

step("bundle with Vite");
const page = join(work, "page");
mkdirSync(page);
cpSync(join(work, "softmax.js"), join(page, "softmax.js"));
writeFileSync(
  join(page, "index.html"),
  '<!doctype html><pre id="out">running</pre><script type="module" src="./main.js"></script>',
);
writeFileSync(
  join(page, "main.js"),
  `import { checkSoftmax } from "./softmax.js";
const out = document.getElementById("out");
try { out.textContent = "ok " + (await checkSoftmax("wasm")) + ", isolated " + crossOriginIsolated; }
catch (e) { out.textContent = "failed " + e.stack; }`,
);
const vite = join(dirname(createRequire(import.meta.url).resolve("vite/package.json")), "bin/vite.js");
run(process.execPath, [vite, "build", page, "--outDir", join(work, "site"), "--logLevel", "warn"]);
const assets = readdirSync(join(work, "site/assets"));
console.log(
  `  ${assets.length} files, ${(assets.reduce((n, f) => n + readFileSync(join(work, "site/assets", f)).length, 0) / 1024).toFixed(0)} KiB`,
);

const chromium = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((p) =>
  existsSync(p),
);
if (!chromium) {
  console.log("- skipped: the page in Chromium (no Chromium on this machine)");
  process.exit(0);
}
step("run the bundle in Chromium");
const { chromium: browser } = await import("playwright-core");
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm" };
for (const isolated of [false, true]) {
  const server = createServer((request, response) => {
    const file = join(work, "site", request.url === "/" ? "index.html" : request.url.split("?")[0]);
    if (!existsSync(file)) return response.writeHead(404).end();
    response.setHeader("content-type", TYPES[extname(file)] ?? "application/octet-stream");
    if (isolated) {
      response.setHeader("cross-origin-opener-policy", "same-origin");
      response.setHeader("cross-origin-embedder-policy", "require-corp");
    }
    response.end(readFileSync(file));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const context = await browser.launchPersistentContext(mkdtempSync(join(work, "profile-")), {
    executablePath: chromium,
    headless: true,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  try {
    const tab = await context.newPage();
    tab.on("pageerror", (e) => console.error("  page error:", e.message));
    await tab.goto(`http://127.0.0.1:${server.address().port}/`);
    await tab.waitForFunction(() => document.getElementById("out").textContent !== "running", undefined, {
      timeout: 30_000,
    });
    const text = await tab.textContent("#out");
    console.log(`  ${text}`);
    if (!text.startsWith("ok ") || !text.includes(`isolated ${isolated}`)) process.exitCode = 1;
  } finally {
    await context.close();
    server.close();
  }
}
