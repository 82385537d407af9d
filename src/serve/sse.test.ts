// Server-sent events: however the bytes are cut, the events are the same.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EventParser, serverEvents } from "./sse.js";

const all = (...pieces: string[]) => {
  const parser = new EventParser();
  return pieces.flatMap((p) => parser.push(p));
};
const data = (...pieces: string[]) => all(...pieces).map((e) => e.data);

describe("events", () => {
  it.each<[string, string, string[]]>([
    ["with one line", "data: a\n\n", ["a"]],
    ["with several lines", "data: a\ndata:b\ndata\n\n", ["a\nb\n"]],
    ["with comments and unknown fields", ": ping\nid: 7\nretry: 5\ndata: a\n\n", ["a"]],
    ["without data", "event: x\n\n: nothing\n\ndata: a\n\n", ["a"]],
    ["ended by returns", "data: a\r\rdata: b\r\n\r\ndata: c\n\n", ["a", "b", "c"]],
    ["with one space less", "data:  a\n\n", [" a"]],
    ["that is not complete", "data: a\n\ndata: b\n", ["a"]],
    ["after a byte order mark", "\ufeffdata: a\n\n", ["a"]],
  ])("%s", (_, text, expected) => {
    expect(data(text)).toEqual(expected);
  });

  it("have the name of their field event, once", () => {
    expect(all("event: error\ndata: a\n\ndata: b\n\n")).toEqual([
      { event: "error", data: "a" },
      { event: "message", data: "b" },
    ]);
  });

  it("do not depend on where the bytes are cut", async () => {
    const text = 'event: x\r\ndata: {"a":"ä𝄞"}\r\n\r\n: c\r\ndata: b\rdata: c\n\ndata: [DONE]\n\n';
    const bytes = new TextEncoder().encode(text);
    const whole = all(text);
    expect(whole).toHaveLength(3);
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(fc.integer({ min: 0, max: bytes.length })), async (cuts) => {
        const at = [0, ...cuts.sort((a, b) => a - b), bytes.length];
        const body = new ReadableStream<Uint8Array>({
          start(c) {
            for (let i = 1; i < at.length; i++) c.enqueue(bytes.slice(at[i - 1], at[i]));
            c.close();
          },
        });
        const events = [];
        for await (const e of serverEvents(body)) events.push(e);
        expect(events).toEqual(whole);
      }),
      { numRuns: 60 },
    );
  });

  it("end the stream when nobody reads on", async () => {
    let cancelled = false;
    const body = new ReadableStream<Uint8Array>({
      pull: (c) => c.enqueue(new TextEncoder().encode("data: a\n\n")),
      cancel: () => {
        cancelled = true;
      },
    });
    for await (const e of serverEvents(body)) if (e.data === "a") break;
    expect(cancelled).toBe(true);
  });
});
