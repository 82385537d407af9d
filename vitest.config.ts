import { spawnSync } from "node:child_process";
import { configDefaults, defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

// The native chip's own tests are about what a C compiler makes; every other test skips the chip by itself.
const { VEXIL_CC, CC } = process.env;
const compiler = [VEXIL_CC, CC, "cc", "gcc", "clang"].find(
  (c) => c && spawnSync(c, ["--version"]).status === 0,
);
if (!compiler) console.warn("skipped: the tests in src/chips/cpu (missing: no C compiler in PATH)");

/** The files that take longest, started first: at the end of the run one of them would leave the other worker without work. */
const LONG = /(opinfo|families|chat-page|emulated|checkpoints|train\/train|cli\/cli|ops\/sort)\.test\.ts$/;
class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const isLong = (f: TestSpecification): boolean => LONG.test(f.moduleId);
    return [...sorted.filter(isLong), ...sorted.filter((f) => !isLong(f))];
  }
}

/** Tests of values alone: they change nothing that others see, and share the modules of a worker instead of loading them for each file. */
const TOGETHER = ["src/{ops,compiler,nn}/**/*.test.ts", "test/language/**/*.test.ts"];

export default defineConfig({
  // Packages in examples/ import the project by its name; tests run them on the sources.
  resolve: {
    alias: [
      { find: /^vexil$/, replacement: `${import.meta.dirname}/src/index.ts` },
      { find: /^vexil\/(.*)$/, replacement: `${import.meta.dirname}/src/$1/index.ts` },
    ],
  },
  test: {
    projects: [
      { extends: true, test: { name: "together", include: TOGETHER, isolate: false } },
      {
        extends: true,
        test: {
          name: "apart",
          include: ["src/**/*.test.ts", "test/**/*.test.ts", "bench/*.test.mjs"],
          exclude: [...configDefaults.exclude, ...TOGETHER, ...(compiler ? [] : ["src/chips/cpu/**"])],
        },
      },
    ],
    globalSetup: "test/global-setup.ts",
    // What is built runs as it is.
    server: { deps: { external: [/\/dist\//] } },
    // Generous: the slowest tests compile many kernels, and machines are shared.
    testTimeout: 240_000,
    maxWorkers: 2,
    sequence: { sequencer: LongFirst },
    // Tests are about the project's own kernels; those of vendor libraries switch them on.
    // The short run has most of the thousands of kernels compiled quickly; those of the language and of the chip are compiled as for users.
    env: {
      VEXIL_VENDOR: "off",
      ...(process.env["VEXIL_TEST_ALL"] ? {} : { VEXIL_OPTIMIZE: process.env["VEXIL_OPTIMIZE"] ?? "off" }),
    },
  },
});
