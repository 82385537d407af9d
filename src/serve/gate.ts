// Who is let in: API keys, how many requests may wait, and nobody once the server is ending.

import { timingSafeEqual } from "node:crypto";
import type { MiddlewareHandler } from "hono";
import { RequestError } from "./api.js";

const bytes = new TextEncoder();

/** Whether two texts are equal, in a time that says nothing about where they differ. */
function sameText(a: string, b: string): boolean {
  const [x, y] = [bytes.encode(a), bytes.encode(b)];
  return x.length === y.length && timingSafeEqual(x, y);
}

/** Lets through who sends one of the keys as a bearer token. */
export function requireKey(keys: readonly string[]): MiddlewareHandler {
  return async (c, next) => {
    const sent = /^Bearer (.+)$/i.exec(c.req.header("authorization") ?? "")?.[1] ?? "";
    if (!keys.map((k) => sameText(k, sent)).includes(true))
      throw new RequestError(
        sent === ""
          ? "this server wants an API key: send it as `Authorization: Bearer KEY`"
          : "the API key is not one of this server's",
        null,
        "invalid_api_key",
        401,
      );
    await next();
  };
}

/** Counts the requests that are being answered, and says when no more can be taken. */
export class Gate {
  #inside = 0;
  #isClosing = false;

  /** @param most requests that run or wait at once */
  constructor(readonly most: number) {}

  /** From now on everybody is refused. */
  close(): void {
    this.#isClosing = true;
  }

  /** @throws RequestError with 503 while the server ends, 429 while too many wait */
  enter(): () => void {
    if (this.#isClosing)
      throw new RequestError("the server is ending: ask another one, or later", null, "shutting_down", 503);
    if (this.#inside >= this.most)
      throw new RequestError(
        `${this.most} requests are running or waiting, which is the most: try again later`,
        null,
        "rate_limit_exceeded",
        429,
      );
    this.#inside++;
    let left = false;
    return () => {
      if (!left) this.#inside--;
      left = true;
    };
  }
}
