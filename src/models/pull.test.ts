// `pull` against a server on loopback that breaks connections, lies about content, and refuses.

import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { PullError, pull } from "./pull.js";

const WEIGHTS = Buffer.from(Array.from({ length: 200_000 }, (_, i) => (i * 31) & 255));
const CONFIG = Buffer.from('{"model_type":"llama"}');
const gitId = (b: Buffer) => createHash("sha1").update(`blob ${b.length}\0`).update(b).digest("hex");
const FILES = [
  { rfilename: "config.json", size: CONFIG.length, blobId: gitId(CONFIG) },
  {
    rfilename: "model.safetensors",
    size: WEIGHTS.length,
    blobId: "pointer",
    lfs: { sha256: createHash("sha256").update(WEIGHTS).digest("hex") },
  },
  { rfilename: "pytorch_model.bin", size: 5, blobId: "x" },
];

let dir: string;
let endpoint: string;
let asked: string[];
/** What the server does with a request for the weights. */
let weights: (req: IncomingMessage, res: ServerResponse) => void;
let siblings: unknown = FILES;

const send = (req: IncomingMessage, res: ServerResponse, body: Buffer) => {
  const from = Number(/bytes=(\d+)-/.exec(req.headers.range ?? "")?.[1] ?? 0);
  res.writeHead(from > 0 ? 206 : 200, { "content-length": body.length - from });
  res.end(body.subarray(from));
};

const server = createServer((req, res) => {
  asked.push(`${req.url} ${req.headers.range ?? ""}`.trim());
  if (req.url?.startsWith("/api/models/a/gated/")) res.writeHead(401).end();
  else if (req.url?.startsWith("/api/models/a/model/revision/main"))
    res.end(JSON.stringify({ sha: "c0ffee", siblings }));
  else if (req.url === "/a/model/resolve/c0ffee/config.json") send(req, res, CONFIG);
  else if (req.url === "/a/model/resolve/c0ffee/model.safetensors") weights(req, res);
  else res.writeHead(404).end();
});

beforeEach(async () => {
  dir = fs.mkdtempSync(join(tmpdir(), "vexil-pull-"));
  asked = [];
  siblings = FILES;
  weights = (req, res) => send(req, res, WEIGHTS);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  fs.rmSync(dir, { recursive: true });
});

const fetchIt = (more: Parameters<typeof pull>[2] = {}) =>
  pull("a/model", dir, { endpoint, pause: 1, ...more });

it("fetches what a model needs, and nothing twice", async () => {
  expect(await fetchIt()).toBe("c0ffee");
  expect(fs.readFileSync(join(dir, "model.safetensors")).equals(WEIGHTS)).toBe(true);
  expect(fs.readdirSync(dir).sort()).toEqual(["config.json", "model.safetensors"]);
  const before = asked.length;
  await fetchIt();
  expect(asked.length).toBe(before + 1);
});

it("goes on where a connection broke", async () => {
  let left = 3;
  weights = (req, res) => {
    if (left-- <= 0) return send(req, res, WEIGHTS);
    const from = Number(/bytes=(\d+)-/.exec(req.headers.range ?? "")?.[1] ?? 0);
    res.writeHead(from > 0 ? 206 : 200, { "content-length": WEIGHTS.length - from });
    res.write(WEIGHTS.subarray(from, from + 40_000), () => setTimeout(() => res.destroy(), 20));
  };
  await fetchIt();
  expect(fs.readFileSync(join(dir, "model.safetensors")).equals(WEIGHTS)).toBe(true);
  expect(asked.filter((a) => /bytes=[1-9]/.test(a)).length).toBeGreaterThan(0);
});

it("goes on after it was cancelled", async () => {
  const abort = new AbortController();
  weights = (_req, res) => {
    res.writeHead(200, { "content-length": WEIGHTS.length });
    res.write(WEIGHTS.subarray(0, 50_000), () => setTimeout(() => abort.abort(), 50));
  };
  await expect(fetchIt({ signal: abort.signal })).rejects.toThrow(/abort/i);
  expect(fs.existsSync(join(dir, "model.safetensors"))).toBe(false);
  expect(fs.statSync(join(dir, "model.safetensors.part")).size).toBe(50_000);
  weights = (req, res) => send(req, res, WEIGHTS);
  await fetchIt();
  expect(asked.at(-1)).toMatch(/bytes=50000-/);
  expect(fs.readFileSync(join(dir, "model.safetensors")).equals(WEIGHTS)).toBe(true);
});

it("takes wrong content for what it is, once and always", async () => {
  const wrong = Buffer.from(WEIGHTS);
  wrong[7] = wrong[7]! ^ 1;
  let left = 1;
  weights = (req, res) => send(req, res, left-- > 0 ? wrong : WEIGHTS);
  await fetchIt();
  expect(fs.readFileSync(join(dir, "model.safetensors")).equals(WEIGHTS)).toBe(true);
  fs.rmSync(join(dir, "model.safetensors"));
  weights = (req, res) => send(req, res, wrong);
  await expect(fetchIt()).rejects.toThrow(/a\/model\/model\.safetensors: the checksum .* is wrong, 6 times/);
  expect(fs.readdirSync(dir)).toEqual(["config.json"]);
});

it("takes all of it from a server without ranges", async () => {
  fs.writeFileSync(join(dir, "model.safetensors.part"), WEIGHTS.subarray(0, 1000));
  weights = (_req, res) => res.end(WEIGHTS);
  await fetchIt();
  expect(fs.readFileSync(join(dir, "model.safetensors")).equals(WEIGHTS)).toBe(true);
});

it.each<[string, () => Promise<unknown>, RegExp]>([
  [
    "a gated model",
    () => pull("a/gated", dir, { endpoint }),
    /a\/gated at main: access is refused \(401\).*HF_TOKEN/,
  ],
  ["no such model", () => pull("a/none", dir, { endpoint }), /a\/none at main: there is no such model/],
  ["no such revision", () => fetchIt({ revision: "v9" }), /a\/model at v9: there is no such/],
  ["no name", () => pull("../x", dir, { endpoint }), /"\.\.\/x" is no OWNER\/NAME/],
])("names what is wrong: %s", async (_w, run, message) => {
  const error = await run().then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(PullError);
  expect((error as Error).message).toMatch(message);
});

it("writes nothing outside its folder", async () => {
  siblings = [{ rfilename: "../evil.json", size: 1, blobId: "x" }];
  await expect(fetchIt()).rejects.toThrow(/"\.\.\/evil\.json" is not a path within a folder/);
});

it("gives up on a server that keeps failing", async () => {
  weights = (_req, res) => res.writeHead(503).end();
  await expect(fetchIt()).rejects.toThrow(/failed 6 times, last: the hub answers 503; run it again to go on/);
});
