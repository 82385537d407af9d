import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts", "bench/*.test.mjs"],
    globalSetup: "test/global-setup.ts",
    // What is built runs as it is.
    server: { deps: { external: [/\/dist\//] } },
    // Generous: the slowest tests compile many kernels, and machines are shared.
    testTimeout: 240_000,
    maxWorkers: 2,
  },
});
