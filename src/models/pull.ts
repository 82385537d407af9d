// A model's files from the Hugging Face hub to a folder: resumed where they broke off, checked by their checksums.
//
// The hub answers `/api/models/NAME/revision/REV` with the files and the commit, and serves `/NAME/resolve/COMMIT/FILE`;
// large files have a SHA-256, others the id that git gives them (SHA-1 of a header and the content).

import { createHash, type Hash } from "node:crypto";
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** A download that cannot be finished; the message names the model or file and what to do. */
export class PullError extends Error {
  override name = "PullError";
}

export interface PullOptions {
  /** Branch, tag or commit. Default `main`. */
  readonly revision?: string | undefined;
  /** Default: the environment's `HF_ENDPOINT`, or https://huggingface.co. */
  readonly endpoint?: string | undefined;
  /** Default: the environment's `HF_TOKEN`. */
  readonly token?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (file: string, done: number, total: number) => void;
  /** Milliseconds before the first new attempt; doubled each time. Default 500. */
  readonly pause?: number;
}

interface RemoteFile {
  readonly path: string;
  readonly size: number;
  readonly sha256: string | undefined;
  readonly gitId: string | undefined;
}

const ATTEMPTS = 6;
/** What a model needs: weights in safetensors or GGUF, configuration, tokenizer. */
const WANTED =
  /(^|\/)([^/]+\.(safetensors|gguf|json|jinja|model)|merges\.txt|vocab\.txt|LICENSE[^/]*|README\.md)$/;

/**
 * Fetches a model's files.
 * @param name `OWNER/NAME`
 * @param to the folder to write; files that are there and right are left
 * @returns the commit that was fetched
 * @throws PullError for what the hub refuses, and files whose checksum is wrong; the signal's reason when it aborts
 */
export async function pull(name: string, to: string, options: PullOptions = {}): Promise<string> {
  if (!/^\w[\w.-]*\/\w[\w.-]*$/.test(name)) throw new PullError(`"${name}" is no OWNER/NAME`);
  const endpoint = (options.endpoint ?? process.env["HF_ENDPOINT"] ?? "https://huggingface.co").replace(
    /\/+$/,
    "",
  );
  const revision = options.revision ?? "main";
  const get = (path: string, headers: Record<string, string> = {}) => {
    const token = options.token ?? process.env["HF_TOKEN"];
    return fetch(endpoint + path, {
      headers: { ...headers, ...(token ? { authorization: `Bearer ${token}` } : {}) },
      signal: options.signal ?? null,
    });
  };
  const listing = await retry(options, `${name}: the list of files`, async () => {
    const r = await get(`/api/models/${name}/revision/${encodeURIComponent(revision)}?blobs=true`);
    refuse(r, `${name} at ${revision}`);
    return (await r.json()) as { sha?: unknown; siblings?: unknown };
  });
  const { sha, siblings } = listing;
  if (typeof sha !== "string" || !/^[\w.-]+$/.test(sha) || !Array.isArray(siblings))
    throw new PullError(`${name}: ${endpoint} did not answer with a list of files`);
  for (const file of siblings.map((s) => remoteFile(s, name)).filter((f) => WANTED.test(f.path)))
    await retry(options, `${name}/${file.path}`, (attempt) =>
      fetchFile(
        file,
        join(to, file.path),
        (headers) => get(`/${name}/resolve/${sha}/${encodeURI(file.path)}`, headers),
        {
          ...options,
          what: `${name}/${file.path}`,
          last: attempt === ATTEMPTS,
        },
      ),
    );
  return sha;
}

function remoteFile(raw: unknown, name: string): RemoteFile {
  const { rfilename, size, blobId, lfs } = raw as Record<string, unknown>;
  const sha256 = (lfs as { sha256?: unknown } | null | undefined)?.sha256;
  const safe = typeof rfilename === "string" && !/^[/\\]|(^|[/\\])\.\.([/\\]|$)|\0/.test(rfilename);
  if (!safe) throw new PullError(`${name}: ${JSON.stringify(rfilename)} is not a path within a folder`);
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0)
    throw new PullError(`${name}: the size of ${rfilename} is missing`);
  return {
    path: rfilename,
    size,
    sha256: typeof sha256 === "string" ? sha256 : undefined,
    gitId: typeof blobId === "string" ? blobId : undefined,
  };
}

/** What no new attempt will mend. */
function refuse(r: Response, what: string): void {
  if (r.ok) return;
  if (r.status === 401 || r.status === 403)
    throw new PullError(
      `${what}: access is refused (${r.status}): accept the model's terms on the hub, and set HF_TOKEN`,
    );
  if (r.status === 404) throw new PullError(`${what}: there is no such model, revision or file (404)`);
  if (r.status < 500 && r.status !== 429 && r.status !== 408)
    throw new PullError(`${what}: the hub answers ${r.status}`);
  throw new Error(`the hub answers ${r.status}`);
}

async function retry<T>(o: PullOptions, what: string, run: (attempt: number) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await run(attempt);
    } catch (e) {
      o.signal?.throwIfAborted();
      if (e instanceof PullError) throw e;
      const { cause, message, code } = e as Error & { cause?: { message?: string }; code?: string };
      // The disk's errors are not the network's.
      if (code?.startsWith("E") && !/^(ECONN|EPIPE|ETIMEDOUT|EAI)/.test(code)) throw e;
      if (attempt === ATTEMPTS)
        throw new PullError(
          `${what}: failed ${ATTEMPTS} times, last: ${cause?.message ?? message}; run it again to go on`,
        );
      await sleep((o.pause ?? 500) * 2 ** (attempt - 1), undefined, { signal: o.signal });
    }
  }
}

const hashOf = (file: RemoteFile): Hash | undefined =>
  file.sha256
    ? createHash("sha256")
    : file.gitId
      ? createHash("sha1").update(`blob ${file.size}\0`)
      : undefined;

/** The checksum of what is on disk so far. */
async function hashFile(path: string, hash: Hash): Promise<void> {
  for await (const chunk of fs.createReadStream(path)) hash.update(chunk as Buffer);
}

async function fetchFile(
  file: RemoteFile,
  path: string,
  get: (headers: Record<string, string>) => Promise<Response>,
  o: PullOptions & { readonly what: string; readonly last: boolean },
): Promise<void> {
  const right = (hash: Hash | undefined) =>
    hash === undefined || hash.digest("hex") === (file.sha256 ?? file.gitId);
  const sizeOf = (p: string) => (fs.existsSync(p) ? fs.statSync(p).size : undefined);
  if (sizeOf(path) === file.size) {
    const hash = hashOf(file);
    if (hash) await hashFile(path, hash);
    if (right(hash)) return;
  }
  const part = `${path}.part`;
  fs.mkdirSync(dirname(path), { recursive: true });
  let done = sizeOf(part) ?? 0;
  if (done > file.size) done = 0;
  const hash = hashOf(file);
  if (done < file.size || file.size === 0) {
    const r = await get(done > 0 ? { range: `bytes=${done}-` } : {});
    refuse(r, o.what);
    // A server that knows no ranges sends all of it.
    if (r.status !== 206) done = 0;
    if (done > 0 && hash) await hashFile(part, hash);
    const out = fs.openSync(part, done > 0 ? "a" : "w");
    try {
      for await (const chunk of r.body ?? []) {
        fs.writeSync(out, chunk);
        hash?.update(chunk);
        done += chunk.length;
        o.onProgress?.(file.path, done, file.size);
        if (done > file.size) break;
      }
      fs.fsyncSync(out);
    } finally {
      fs.closeSync(out);
    }
    if (done < file.size) throw new Error(`the connection ended after ${done} of ${file.size} bytes`);
  } else if (hash) await hashFile(part, hash);
  if (done !== file.size || !right(hash)) {
    fs.rmSync(part, { force: true });
    const why = `${o.what}: the checksum of what was fetched is wrong`;
    throw o.last ? new PullError(`${why}, ${ATTEMPTS} times`) : new Error(why);
  }
  fs.renameSync(part, path);
}
