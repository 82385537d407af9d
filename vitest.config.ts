import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts", "bench/*.test.mjs"],
    globalSetup: "test/global-setup.ts",
    // What is built runs as it is.
    server: { deps: { external: [/\/dist\//] } },
    testTimeout: 60_000,
    maxWorkers: 2,
  },
});
