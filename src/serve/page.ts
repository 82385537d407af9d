// The chat page at `/`: files that the build made from web/chat, sent with headers that let the page load nothing from
// anywhere else. It holds no data; what it shows it asks of the API, with a key where the server wants one.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Context, Hono } from "hono";

/** Where the build puts the page, seen from dist/serve, dist/node/serve and src/serve. */
const PLACES = ["../chat/", "../../chat/", "../../dist/chat/"];

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
};

/** Only the page's own files run or load, no text becomes code, and no other page may frame it. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types dompurify",
].join("; ");

interface File {
  readonly body: string;
  readonly type: string;
}

/** The page's files by their path; undefined when the build left the page out. */
function load(): ReadonlyMap<string, File> | undefined {
  const folder = PLACES.map((p) => fileURLToPath(new URL(p, import.meta.url))).find((f) =>
    existsSync(join(f, "index.html")),
  );
  if (folder === undefined) return undefined;
  const read = (name: string): File => ({
    body: readFileSync(join(folder, name), "utf8"),
    type: TYPES[extname(name)] ?? "application/octet-stream",
  });
  const assets = readdirSync(join(folder, "assets")).map(
    (f) => [`/assets/${f}`, read(`assets/${f}`)] as const,
  );
  return new Map([["/", read("index.html")], ...assets]);
}

/** Whether a path belongs to the page, which is open to everybody. */
export const isPage = (path: string): boolean => path === "/" || path.startsWith("/assets/");

/** Adds the page's routes. */
export function servePage(app: Hono): void {
  let files: ReadonlyMap<string, File> | undefined;
  const send = (c: Context): Response | Promise<Response> => {
    files ??= load();
    const file = files?.get(c.req.path);
    if (!file) return c.notFound();
    return c.body(file.body, 200, {
      "content-type": file.type,
      // Names of assets change with what is in them.
      "cache-control": c.req.path === "/" ? "no-cache" : "public, max-age=31536000, immutable",
      "content-security-policy": POLICY,
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-resource-policy": "same-origin",
      "referrer-policy": "no-referrer",
      "x-content-type-options": "nosniff",
    });
  };
  app.get("/", send);
  app.get("/assets/:name", send);
}
