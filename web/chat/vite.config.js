// Bundles the chat page into dist/chat, from where the server sends it.

import { defineConfig } from "vite";

export default defineConfig({
  base: "/",
  build: {
    outDir: "../../dist/chat",
    emptyOutDir: true,
    target: "es2022",
    // Every file is a file: the page's content policy allows no data addresses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
});
