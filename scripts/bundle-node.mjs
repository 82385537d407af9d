// What Node loads through the package's entries: one script of all modules and of the small packages that they use, which the
// engine can load with the code that it made before (`src/runtime/code-cache.ts`), and for each entry a module that exports
// what the script has. Node takes a millisecond or more for each of several hundred modules. Bundlers of pages take dist/'s modules.

import { createHash } from "node:crypto";
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import vm from "node:vm";
import { build, transform } from "esbuild";

/** What somebody loads by name: the package's entries, its command, its workers. */
const ENTRIES = ["index", "nn/index", "models/index", "train/index", "serve/index", "compiler/index", "runtime/index", "cli/main", "train/worker", "serve/worker"]; // biome-ignore format: a list
/** Those that run when they are loaded, and export nothing. */
const RUNNING = /^cli\/main$|\/worker$/;
/** Modules that look for files beside themselves. */
const PLACED = /[/\\]dist[/\\](?:runtime[/\\]version|serve[/\\](?:worker-engine|page)|train[/\\]run)\.js$/;
/** Packages that stay packages: native code, and what only a server needs. */
const EXTERNAL = ["koffi", "hono", "hono/*", "@hono/*", "prom-client", "@jridgewell/*"];

const SCRIPT = "program.cjs";

/** Writes dist/node/. */
export async function bundleForNode(root, stamp) {
  const folder = join(root, "dist/node");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "compiler.stamp"), stamp);
  // The main entry's module opens a chip, and waits for it, which scripts cannot.
  const source = (entry) => (entry === "index" ? "./dist/all.js" : `./dist/${entry}.js`);
  const loads = ENTRIES.map((e) => `${JSON.stringify(e)}: () => require(${JSON.stringify(source(e))})`);
  const common = { absWorkingDir: root, bundle: true, platform: "node", target: "node20", legalComments: "none", minifyWhitespace: true, lineLimit: 160, logLevel: "warning", write: false, metafile: true }; // biome-ignore format: settings
  const { outputFiles, metafile } = await build({
    ...common,
    stdin: { contents: `module.exports = { ${loads.join(", ")} };`, resolveDir: root, loader: "js" },
    format: "cjs",
    external: EXTERNAL,
    define: { "import.meta.url": "moduleUrl" },
    plugins: [placed(root), whole, small],
  });
  const code = fillLate(outputFiles[0].text);
  const text = `(function(require,moduleUrl){"use strict";const module={exports:{}};${code}\nreturn module.exports})`;
  // So that a byte is a character.
  if (/[^\0-\x7f]/.test(text)) throw new Error(`${SCRIPT} has other characters than ASCII`);
  writeFileSync(join(folder, SCRIPT), text);
  writeFileSync(join(folder, "LICENSES.txt"), licenses(root, metafile));

  const hash = createHash("sha256").update(text).digest("hex").slice(0, 32);
  // The command's modules are scripts of Node's older kind, whose loader has done its work when the newer one begins. Both
  // kinds of one process share what the script has.
  for (const [format, name, here] of [
    ["esm", "load.js", "import.meta.url"],
    ["cjs", "load.cjs", "pathToFileURL(__filename)"],
  ]) {
    const loader = `
    import { createRequire } from "node:module";
    import { fileURLToPath, pathToFileURL } from "node:url";
    import { runScript } from "./dist/runtime/code-cache.js";
    const url = new URL("./${SCRIPT}", ${here}).href;
    const path = fileURLToPath(url);
    const shared = Symbol.for("${hash} " + url);
    export function load(entry) {
      globalThis[shared] ??= runScript({ path, url, stamp: "${hash}", program: [entry, ...process.argv.slice(1, entry === "cli/main" ? 3 : 2)] })(createRequire(url), url);
      return globalThis[shared][entry]();
    }`;
    const stdin = { contents: loader, resolveDir: root, loader: "js" };
    const loaded = await build({ ...common, stdin, format });
    writeFileSync(join(folder, name), loaded.outputFiles[0].text);
  }

  const entries = vm.runInThisContext(text)(createRequire(join(folder, SCRIPT)), pathToFileURL(join(folder, SCRIPT)).href); // biome-ignore format: one call
  for (const entry of ENTRIES) {
    mkdirSync(dirname(join(folder, entry)), { recursive: true });
    writeFileSync(join(folder, `${entry}.js`), moduleOf(entry, entries));
  }
  writeFileSync(join(folder, "cli/package.json"), '{ "type": "commonjs" }\n');
  chmodSync(join(folder, "cli/main.js"), 0o755);
}

/** The module of an entry. */
function moduleOf(entry, entries) {
  if (entry === "cli/main") return `#!/usr/bin/env node\nrequire("../load.cjs").load("cli/main");\n`;
  const load = `import { load } from "${"../".repeat(entry.split("/").length - 1) || "./"}load.js";\n`;
  const call = `load(${JSON.stringify(entry)})`;
  if (RUNNING.test(entry)) return `${load}${call};\n`;
  const names = Object.keys(entries[entry]());
  const open = entry === "index" ? "await autoload();\n" : "";
  return `${load}export const {${names.join(",")}} = ${call};\n${open}`;
}

/** Fills each entry's object of exports when the entry is asked for: they have hundreds, and a program asks for one entry. */
function fillLate(code) {
  for (const [asked, name] of code.matchAll(/__toCommonJS\((\w+)\)/g)) {
    const filling = new RegExp(`__export\\(${name},\\{[^{}]*\\}\\)`).exec(code)?.[0];
    const mentions = code.match(new RegExp(`\\b${name}\\b`, "g")).length;
    // Declared, filled and asked for, each once.
    if (!filling || mentions > 3) continue;
    code = code
      .replace(`${filling};`, () => "")
      .replace(asked, () => `(Object.keys(${name}).length||${filling},${name})`);
  }
  return code;
}

/** Gives modules the address of the folder that they would stand in. */
const placed = (root) => ({
  name: "import.meta.url as if the module stood in a folder of its own",
  setup: ({ onLoad }) =>
    onLoad({ filter: PLACED }, ({ path }) => {
      const place = relative(join(root, "dist"), path).replaceAll("\\", "/");
      const text = readFileSync(path, "utf8");
      return { contents: text.replaceAll("import.meta.url", `new URL("./${place}", import.meta.url).href`) };
    }),
});

/** Own modules are imported for what they register, too. */
const whole = {
  name: "own modules stay whole",
  setup: ({ onResolve }) =>
    onResolve({ filter: /^\.\.?\// }, ({ path, resolveDir }) =>
      resolveDir.includes("node_modules") ? undefined : { path: join(resolveDir, path), sideEffects: true },
    ),
};

/** Reading the script takes a part of each start: the code of packages is made short, and zod says in English what is wrong. */
const small = {
  name: "packages are small",
  setup: ({ onLoad }) => {
    onLoad({ filter: /[/\\]zod[/\\]v4[/\\]locales[/\\]index\.js$/ }, () => ({ contents: "export {};" }));
    onLoad({ filter: /[/\\]node_modules[/\\].*\.[cm]?js$/ }, async ({ path }) => ({
      contents: (await transform(readFileSync(path, "utf8"), { minify: true, target: "node20" })).code,
    }));
  },
};

/** The licences of the packages whose modules stand in the script. */
function licenses(root, { inputs }) {
  const names = new Set(
    Object.keys(inputs).flatMap((path) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? []),
  );
  const texts = [...names].sort().map((name) => {
    const folder = join(root, "node_modules", name);
    const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const files = readdirSync(folder).filter((f) => /^licen[cs]e/i.test(f));
    if (!files.length) throw new Error(`${name} has no licence file`);
    return `${name} ${version} (${license})\n\n${files.map((f) => readFileSync(join(folder, f), "utf8")).join("\n")}`;
  });
  return `${SCRIPT} holds code of these packages.\n\n${texts.join(`\n${"-".repeat(80)}\n\n`)}`;
}
