// Compiles src/ to dist/ with the TypeScript compiler; incremental, so a second build takes a moment. Then writes down a
// hash of what compiles kernels, by which caches on disk tell one build from another, and puts what Node loads through
// the package's entries together into few files: Node takes about a millisecond for each of some two hundred modules.
// Bundlers of pages take the modules as they are. Last comes the chat page of `vexil serve`, from web/chat.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { build as buildPage } from "vite";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
// Without its output the incremental state would say that nothing is to be done.
if (!existsSync(join(root, "dist/index.js"))) rmSync(join(root, "dist"), { recursive: true, force: true });
const { status } = spawnSync(process.execPath, [tsc, "-p", "tsconfig.build.json"], {
  cwd: root,
  stdio: "inherit",
});
if (status !== 0) process.exit(status ?? 1);

const hash = createHash("sha256");
for (const folder of ["compiler", "chips"])
  for (const name of readdirSync(join(root, "dist", folder), { recursive: true }).sort())
    if (name.endsWith(".js"))
      hash.update(`${folder}/${name}\0`).update(readFileSync(join(root, "dist", folder, name)));
const stamp = `${hash.digest("hex").slice(0, 16)}\n`;
writeFileSync(join(root, "dist/compiler.stamp"), stamp);

/** What somebody loads by name: the package's entries, its command, its workers. */
const ENTRIES = ["index", "nn/index", "models/index", "train/index", "serve/index", "compiler/index", "runtime/index", "cli/main", "train/worker", "serve/worker"]; // biome-ignore format: a list
/** Modules that look for files beside themselves. */
const PLACED = /[/\\]dist[/\\](?:runtime[/\\]version|serve[/\\](?:worker-engine|page)|train[/\\]run)\.js$/;

const folder = join(root, "dist/node");
rmSync(folder, { recursive: true, force: true });
await build({
  absWorkingDir: root,
  entryPoints: ENTRIES.map((e) => `dist/${e}.js`),
  outbase: "dist",
  outdir: folder,
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20",
  packages: "external",
  // Modules are imported for what they register, too.
  ignoreAnnotations: true,
  legalComments: "none",
  minifyWhitespace: true,
  // A stack trace prints its line.
  lineLimit: 160,
  logLevel: "warning",
  plugins: [
    {
      name: "import.meta.url as if the module stood in a folder of its own",
      setup: ({ onLoad }) =>
        onLoad({ filter: PLACED }, ({ path }) => {
          const place = relative(join(root, "dist"), path).replaceAll("\\", "/");
          const text = readFileSync(path, "utf8");
          return {
            contents: text.replaceAll("import.meta.url", `new URL("./${place}", import.meta.url).href`),
          };
        }),
    },
  ],
});
writeFileSync(join(folder, "compiler.stamp"), stamp);

await buildPage({
  configFile: join(root, "web/chat/vite.config.js"),
  root: join(root, "web/chat"),
  logLevel: "warn",
});
