// Reads server-sent events from a stream of bytes, as the HTML standard cuts them. Used by `vexil bench serve` and by the
// chat page, so it imports nothing; the server writes its events elsewhere.

export interface ServerEvent {
  /** The field `event`; `message` where there is none. */
  readonly event: string;
  /** The lines of the field `data`, joined. */
  readonly data: string;
}

/** Cuts text that comes in pieces into events. What stands after the last blank line is no event. */
export class EventParser {
  #rest = "";
  #isFirst = true;
  #event = "";
  #data: string[] = [];

  /** The events that this piece completes. */
  push(text: string): ServerEvent[] {
    this.#rest += text;
    if (this.#isFirst && this.#rest !== "") {
      this.#isFirst = false;
      if (this.#rest.charCodeAt(0) === 0xfeff) this.#rest = this.#rest.slice(1);
    }
    const events: ServerEvent[] = [];
    let at = 0;
    for (;;) {
      const end = lineEnd(this.#rest, at);
      // A return at the very end may be the first half of a line's end.
      if (end < 0 || (this.#rest[end] === "\r" && end === this.#rest.length - 1)) break;
      const event = this.#line(this.#rest.slice(at, end));
      if (event) events.push(event);
      at = end + (this.#rest[end] === "\r" && this.#rest[end + 1] === "\n" ? 2 : 1);
    }
    this.#rest = this.#rest.slice(at);
    return events;
  }

  #line(line: string): ServerEvent | undefined {
    if (line === "") {
      const event = { event: this.#event || "message", data: this.#data.join("\n") };
      const isEmpty = this.#data.length === 0;
      this.#event = "";
      this.#data = [];
      return isEmpty ? undefined : event;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#event = value;
    return undefined;
  }
}

function lineEnd(text: string, from: number): number {
  for (let i = from; i < text.length; i++) if (text[i] === "\n" || text[i] === "\r") return i;
  return -1;
}

/**
 * The events of a response's body.
 * @example for await (const { data } of serverEvents(response.body!)) if (data !== "[DONE]") use(JSON.parse(data));
 */
export async function* serverEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent> {
  const reader = body.getReader();
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const parser = new EventParser();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield* parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    // Whoever stops reading early wants no more of it.
    await reader.cancel().catch(() => {});
  }
}
