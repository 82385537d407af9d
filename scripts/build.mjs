// Compiles src/ to dist/ with the TypeScript compiler; incremental, so a second build takes a moment. Then writes down a
// hash of what compiles kernels, by which caches on disk tell one build from another, and puts together what Node loads through
// the package's entries (`bundle-node.mjs`). Last comes the chat page of `vexil serve`, from web/chat.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build as buildPage } from "vite";
import { bundleForNode } from "./bundle-node.mjs";

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

await bundleForNode(root, stamp);

await buildPage({
  configFile: join(root, "web/chat/vite.config.js"),
  root: join(root, "web/chat"),
  logLevel: "warn",
});
