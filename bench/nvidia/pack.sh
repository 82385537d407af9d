#!/usr/bin/env bash
# Packs what bench/nvidia/run.sh needs on a machine without Node, npm or a network into a folder: `bench/nvidia/pack.sh FOLDER`. Run
# after `npm run build`. The folder belongs into the checkout there, as .carry/.
set -euo pipefail
cd "$(dirname "$0")/../.."
to=$(mkdir -p "$1" && cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar -I 'xz -6 -T0' -cf "$to/dist.tar.xz" --exclude='*.map' --exclude='*.d.ts' dist
[ -f "$to/node.xz" ] || xz -9 -T0 -c "$(command -v node)" > "$to/node.xz"
if [ ! -f "$to/modules.tar.xz" ]; then
  mkdir "$work/node_modules"
  # The packages that running and testing need, with what they need themselves.
  node -e '
    const fs = require("fs"), seen = new Set(), skip = /^(@types\/|esbuild$|@esbuild\/|terser$|jsdom$|happy-dom$)/;
    const visit = (name) => {
      const file = `node_modules/${name}/package.json`;
      if (seen.has(name) || skip.test(name) || !fs.existsSync(file)) return;
      seen.add(name);
      const p = JSON.parse(fs.readFileSync(file, "utf8"));
      for (const d of Object.keys({ ...p.dependencies, ...p.optionalDependencies, ...p.peerDependencies })) visit(d);
    };
    const { dependencies } = JSON.parse(fs.readFileSync("package.json", "utf8"));
    for (const d of [...Object.keys(dependencies), "vitest", "fast-check"]) visit(d);
    console.log([...seen].join("\n"));
  ' | while read -r name; do mkdir -p "$work/node_modules/$name" && cp -rL "node_modules/$name/." "$work/node_modules/$name/"; done
  find "$work" -name '*.map' -delete
  tar -C "$work" -I 'xz -6 -T0' -cf "$to/modules.tar.xz" node_modules
fi
if [ -d "${SHARED:-../shared}/opinfo" ] && [ ! -f "$to/samples.tar.xz" ]; then
  mkdir "$work/shared-samples"
  cp -r "${SHARED:-../shared}/opinfo" "${SHARED:-../shared}/models" "$work/shared-samples/"
  chmod -R u+w "$work/shared-samples"
  tar -C "$work" -I 'xz -6 -T0' -cf "$to/samples.tar.xz" shared-samples
fi
du -sh "$to"/*
