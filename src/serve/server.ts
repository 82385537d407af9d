// Starts and stops the HTTP server around an engine.

import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { getRequestListener } from "@hono/node-server";
import type { Engine } from "./api.js";
import type { Gate } from "./gate.js";
import { type AppOptions, createApp } from "./http.js";

/** Largest request header in bytes; more is answered with 431. */
const MAX_HEADER = 16 * 1024;

/** How long a connection without requests stays open. */
const KEEP_ALIVE_MS = 75_000;

export interface ListenOptions extends AppOptions {
  /** 0 takes a free port. */
  readonly port: number;
  /** The address to listen on; loopback unless told otherwise. */
  readonly host?: string;
}

export interface RunningServer {
  /** `http://127.0.0.1:8080` */
  readonly url: string;
  readonly port: number;
  /** Stops taking requests, lets running ones finish for `graceMs`, then cuts them. The engine stays open. */
  close(graceMs?: number): Promise<void>;
}

/** An address that cannot be listened on; the message names it and says what to do. */
export class ListenError extends Error {
  override name = "ListenError";
}

/**
 * Listens for requests.
 * @throws ListenError when the address is in use or not allowed
 */
export async function listen(engine: Engine, options: ListenOptions): Promise<RunningServer> {
  const host = options.host ?? "127.0.0.1";
  const app = createApp(engine, options);
  // What a refused client still sends is read away by Node, within its time for a request; cut sooner, the client would see the connection
  // break instead of the answer.
  const listener = getRequestListener(app.fetch, { autoCleanupIncoming: false });
  const server = createServer({ maxHeaderSize: MAX_HEADER }, listener);
  // Counted from the connection: on a machine that stalls, a shorter time would cut clients that did send.
  server.headersTimeout = 60_000;
  // Longer than clients and load balancers keep a connection, or they send a request into one that is just being closed.
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (e: NodeJS.ErrnoException) => reject(listenError(e, host, options.port)));
    server.listen(options.port, host, resolve);
  });
  const { port } = server.address() as AddressInfo;
  const shown = host.includes(":") ? `[${host}]` : host;
  return { url: `http://${shown}:${port}`, port, close: (graceMs = 5000) => stop(server, app.gate, graceMs) };
}

function listenError(e: NodeJS.ErrnoException, host: string, port: number): Error {
  if (e.code === "EADDRINUSE")
    return new ListenError(
      `port ${port} on ${host} is in use: stop what uses it, or choose another with --port`,
    );
  if (e.code === "EACCES")
    return new ListenError(
      `port ${port} on ${host} is not allowed for this user: choose one above 1023 with --port`,
    );
  if (e.code === "EADDRNOTAVAIL" || e.code === "ENOTFOUND")
    return new ListenError(`${host} is no address of this machine: choose another with --host`);
  return e;
}

async function stop(server: Server, gate: Gate, graceMs: number): Promise<void> {
  // Connections that are kept open may send more requests; they are told to go elsewhere.
  gate.close();
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  server.closeIdleConnections();
  // A connection becomes idle when its answer has gone out; nobody waits for it to time out.
  const sweep = setInterval(() => server.closeIdleConnections(), 50);
  const timer = setTimeout(() => server.closeAllConnections(), graceMs);
  await closed;
  clearInterval(sweep);
  clearTimeout(timer);
}
