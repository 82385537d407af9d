import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { makeFolder } from "./platform.js";

it("makes a folder and those above it, or says why not", () => {
  const base = mkdtempSync(join(tmpdir(), "vexil-folder-"));
  try {
    const deep = join(base, "a/b/c");
    makeFolder(deep);
    makeFolder(deep);
    expect(existsSync(deep)).toBe(true);
    writeFileSync(join(base, "file"), "");
    expect(() => makeFolder(join(base, "file/below"))).toThrow(/ENOTDIR/);
  } finally {
    rmSync(base, { recursive: true });
  }
});

it.runIf(process.platform === "linux")("ends where the system makes no folders", () => {
  expect(() => makeFolder("/proc/nope/below")).toThrow(/ENOENT/);
});
