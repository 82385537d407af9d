// The chat page as a reader has it: a real Chromium, the real server, the qwen3 fixture. The engine is slowed down a little
// where a test must act while an answer is being written.

import { existsSync } from "node:fs";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Engine } from "../src/serve/api.js";
import type { AppOptions } from "../src/serve/http.js";
import type { RunningServer } from "../src/serve/server.js";
import { built, QWEN3 } from "./built.js";

const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((f) =>
  existsSync(f),
);
if (!CHROMIUM) console.warn("skipped: the chat page in a browser (missing: Chromium)");

/** Waits until it is so. */
const soon = <T>(get: () => T | Promise<T>) => expect.poll(get, { timeout: 15_000 });

describe.skipIf(!CHROMIUM)("the chat page", () => {
  let engine: Engine;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;
  let pause = 0;
  let running = 0;
  let serve: (options?: Partial<AppOptions>) => Promise<RunningServer>;
  const servers: RunningServer[] = [];
  const problems: string[] = [];
  const hosts = new Set<string>();

  beforeAll(async () => {
    const { listen, startEngine } = await built<typeof import("../src/serve/index.js")>("serve/index.js");
    engine = await startEngine({ model: QWEN3, chip: "wasm" });
    const slowed: Engine = {
      info: engine.info,
      close: () => engine.close(),
      embed: (input, signal) => engine.embed(input, signal),
      tokenize: (prompt) => engine.tokenize(prompt),
      stats: () => engine.stats(),
      async *generate(request, signal) {
        running++;
        try {
          for await (const event of engine.generate(request, signal)) {
            yield event;
            if (pause > 0 && event.type === "text") await new Promise((r) => setTimeout(r, pause));
          }
        } finally {
          running--;
        }
      },
    };
    serve = async (options = {}) => {
      const server = await listen(slowed, { port: 0, ...options });
      servers.push(server);
      return server;
    };
    browser = await chromium.launch({ executablePath: CHROMIUM!, args: ["--no-sandbox", "--disable-gpu"] });
  });
  afterEach(async () => {
    pause = 0;
    await context.close();
    await Promise.all(servers.splice(0).map((s) => s.close(0)));
    expect(problems.splice(0)).toEqual([]);
  });
  afterAll(async () => {
    await browser.close();
    await engine.close();
    // Nothing was asked of anybody else, ever.
    expect([...hosts]).toEqual(["127.0.0.1"]);
  });

  /** Opens the page. `allowed`: what the browser may complain about, since the test provokes it. */
  async function open(
    url: string,
    options: Parameters<Browser["newContext"]>[0] & { stored?: object; allowed?: RegExp } = {},
  ): Promise<void> {
    const { stored, allowed, ...rest } = options;
    context = await browser.newContext(rest);
    page = await context.newPage();
    page.setDefaultTimeout(15_000);
    page.on("pageerror", (e) => problems.push(e.message));
    page.on("console", (m) => {
      if (m.type() === "error" && !allowed?.test(m.text())) problems.push(m.text());
    });
    page.on("request", (r) => hosts.add(new URL(r.url()).hostname));
    if (stored)
      await page.addInitScript((s) => {
        for (const [k, v] of Object.entries(s))
          if (localStorage.getItem(k) === null) localStorage.setItem(k, JSON.stringify(v));
      }, stored);
    await page.goto(url);
  }

  const input = () => page.getByRole("textbox", { name: "Message" });
  const answers = () => page.locator(".turn.assistant");
  const written = () => page.locator(".turn.assistant .actions .figures");
  const turns = () =>
    page.evaluate(
      () => JSON.parse(localStorage.getItem("vexil.conversation") ?? "[]") as { role: string; content: string; ending?: string; figures?: { tokens: number } }[], // biome-ignore format: one type
    );
  const greedy = { "vexil.settings": { sampling: { temperature: 0, maxTokens: 12 } } };

  /** What the API answers to the same conversation. */
  async function expected(url: string, messages: object[], rest: object = {}): Promise<string> {
    const r = await fetch(`${url}/v1/chat/completions`, {
      method: "POST",
      body: JSON.stringify({ messages, temperature: 0, max_tokens: 12, ...rest }),
    });
    return ((await r.json()) as { choices: { message: { content: string } }[] }).choices[0]!.message.content;
  }

  it("comes with headers that keep it to itself, and only its own files", async () => {
    const { url } = await serve();
    const response = await fetch(url);
    expect(response.headers.get("content-type")).toBe("text/html; charset=utf-8");
    expect(response.headers.get("content-security-policy")).toMatch(
      /^default-src 'none'; script-src 'self'; style-src 'self';.*frame-ancestors 'none'/,
    );
    expect(response.headers.get("x-content-type-options")).toBe("nosniff");
    const text = await response.text();
    for (const [, path] of text.matchAll(/(?:src|href)="(\/[^"]+)"/g)) {
      const asset = await fetch(url + path);
      expect([path, asset.status]).toEqual([path, 200]);
      expect(asset.headers.get("cache-control")).toContain("immutable");
    }
    expect((await fetch(`${url}/assets/nothing.js`)).status).toBe(404);
    expect((await fetch(`${url}/assets/..%2Findex.html`)).status).toBe(404);
    expect((await fetch(url, { method: "POST" })).status).toBe(405);
    await open(url);
    await page.getByText("Ask qwen3 something").waitFor();
  });

  it("streams an answer, shows its figures, and still has it after a reload", async () => {
    const { url } = await serve();
    pause = 100;
    await open(url, { stored: greedy });
    await input().fill("Hi there!");
    await input().press("Enter");
    const lengths = new Set<number>();
    while ((await page.getByRole("button", { name: "Stop" }).count()) > 0)
      lengths.add((await answers().locator(".prose").textContent())!.length);
    expect(lengths.size).toBeGreaterThan(3);
    const want = await expected(url, [{ role: "user", content: "Hi there!" }]);
    expect(await turns()).toMatchObject([
      { role: "user", content: "Hi there!" },
      { role: "assistant", content: want, ending: "length", figures: { tokens: 12 } },
    ]);
    await soon(() => written().textContent()).toMatch(
      /^12 tokens · [\d.]+ tokens\/s · first after [\d.]+ m?s · cut at its token limit$/,
    );
    const shown = await answers().locator(".prose").textContent();
    await page.reload();
    await soon(() => answers().locator(".prose").textContent()).toBe(shown);
    // The conversation goes on with what was said.
    await input().fill("And then?");
    await input().press("Enter");
    await soon(() => written().count()).toBe(2);
    expect((await turns())[3]!.content).toBe(
      await expected(url, [
        { role: "user", content: "Hi there!" },
        { role: "assistant", content: want },
        { role: "user", content: "And then?" },
      ]),
    );
  });

  it("stops at Esc and at the button; the server hears of it", async () => {
    const { url } = await serve();
    pause = 30;
    await open(url, { stored: { "vexil.settings": { sampling: { temperature: 0 } } } });
    for (const stop of [
      () => page.keyboard.press("Escape"),
      () => page.getByRole("button", { name: "Stop" }).click(),
    ]) {
      await input().fill("Go");
      await input().press("Enter");
      await page.locator(".composer .figures", { hasText: "tokens/s" }).waitFor();
      expect(running).toBe(1);
      await stop();
      await page.getByText("stopped").last().waitFor();
      await soon(() => running).toBe(0);
    }
    const kept = await turns();
    expect(kept.map((t) => t.ending)).toEqual([undefined, "stopped", undefined, "stopped"]);
    expect(kept[1]!.content.length).toBeGreaterThan(0);
  });

  it("asks again, and asks something else in the last question's place", async () => {
    const { url } = await serve();
    await open(url, {
      stored: { "vexil.settings": { sampling: { temperature: 1.5, seed: 1, maxTokens: 12 } } },
    });
    const bodies: { messages: { role: string; content: string }[]; seed?: number }[] = [];
    page.on("request", (r) => {
      if (r.method() === "POST") bodies.push(r.postDataJSON() as (typeof bodies)[0]);
    });
    await input().fill("One");
    await input().press("Enter");
    await written().waitFor();
    const first = (await turns())[1]!.content;
    await page.getByRole("button", { name: "Regenerate" }).click();
    await soon(() => bodies.length).toBe(2);
    await written().waitFor();
    expect((await turns())[1]!.content).toBe(first);
    // Arrow up in the empty field edits the last message; Esc leaves it.
    await input().press("ArrowUp");
    const field = page.getByRole("textbox", { name: "Edit the message" });
    expect(await field.inputValue()).toBe("One");
    await field.press("Escape");
    expect(await page.locator(".turn.user .body").textContent()).toBe("One");
    await page.getByRole("button", { name: "Edit" }).click();
    await field.fill("Two");
    await field.press("Enter");
    await soon(async () => (await turns())[0]?.content).toBe("Two");
    await soon(() => bodies.length).toBe(3);
    await written().waitFor();
    expect(bodies[2]!.messages).toEqual([{ role: "user", content: "Two" }]);
    expect((await turns()).length).toBe(2);
  });

  it("sends the system prompt and the sampling settings, and keeps them", async () => {
    const { url } = await serve();
    await open(url);
    await page.getByRole("button", { name: "Settings" }).click();
    const dialog = page.getByRole("dialog", { name: "Settings" });
    await dialog.getByLabel("System prompt").fill("You are brief.");
    for (const [
      label,
      value,
    ] of [["Temperature", "9"], ["Top-p", "0.5"], ["Top-k", "3"], ["Max tokens", "5"], ["Seed", "7"]] as const) // biome-ignore format: a table
      await dialog.getByLabel(label, { exact: true }).fill(value);
    await dialog.getByLabel("Seed").press("Tab");
    expect(await dialog.getByLabel("Temperature").inputValue()).toBe("2");
    await page.keyboard.press("Escape");
    await soon(() => dialog.count()).toBe(0);
    await page.reload();
    const sent = page.waitForRequest((r) => r.method() === "POST");
    await input().fill("Hi");
    await input().press("Enter");
    expect((await sent).postDataJSON()).toMatchObject({
      model: "qwen3",
      messages: [{ role: "system", content: "You are brief." }, { role: "user", content: "Hi" }], // biome-ignore format: short
      temperature: 2,
      top_p: 0.5,
      top_k: 3,
      max_tokens: 5,
      seed: 7,
      stream: true,
    });
    await written().waitFor();
    expect((await turns())[1]!.figures!.tokens).toBe(5);
  });

  it("shows Markdown, and obeys no tag in it", async () => {
    const { url } = await serve();
    const content = [
      "# Title",
      "Some **bold** and `code`, <img src=x onerror=alert(1)> and [a link](https://example.org/x) and [bad](javascript:alert(1)).",
      "![picture](https://example.org/p.png)",
      "<script>window.hit = 1</script>",
      "| a | b |\n|---|--:|\n| 1 | 2 |",
      "- [x] done\n- [ ] open",
      '```ts\nconst x = "<b>";\n```',
    ].join("\n\n");
    const conversation = [
      { role: "user", content: "<b>show</b> me" },
      { role: "assistant", content },
    ];
    await open(url, {
      stored: { "vexil.conversation": conversation },
      permissions: ["clipboard-read", "clipboard-write"],
    });
    const prose = answers().locator(".prose");
    expect(await prose.locator("h1").textContent()).toBe("Title");
    expect(await prose.locator("strong").textContent()).toBe("bold");
    expect(await prose.locator("td").allTextContents()).toEqual(["1", "2"]);
    expect(await prose.locator("li").allTextContents()).toEqual(["☑ done", "☐ open"]);
    expect(await prose.locator("img, script, input").count()).toBe(0);
    expect(await prose.textContent()).toContain("<img src=x onerror=alert(1)>");
    expect(await prose.locator("a").evaluateAll((l) => l.map((a) => a.getAttribute("href")))).toEqual([
      "https://example.org/x",
      null,
      "https://example.org/p.png",
    ]);
    expect(await page.evaluate(() => "hit" in window)).toBe(false);
    expect(await page.locator(".turn.user .body").textContent()).toBe("<b>show</b> me");
    await prose.getByRole("button", { name: "Copy the ts code" }).click();
    await prose.getByText("Copied").waitFor();
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe('const x = "<b>";\n');
  });

  it("is used with the keyboard alone", async () => {
    const { url } = await serve();
    await open(url, { stored: greedy });
    await input().waitFor();
    await soon(() => page.evaluate(() => document.activeElement?.id)).toBe("input");
    await page.keyboard.type("a");
    await page.keyboard.press("Shift+Enter");
    await page.keyboard.type("b");
    expect(await input().inputValue()).toBe("a\nb");
    await page.keyboard.press("Enter");
    await written().waitFor();
    expect(await input().inputValue()).toBe("");
    expect((await turns())[0]!.content).toBe("a\nb");
    await soon(() => page.locator("[aria-live=polite]").textContent()).toMatch(/^Answer: /);
    // From the top: every stop has a name and a ring that can be seen.
    await page.locator(".skip").focus();
    const order: string[] = [];
    for (let i = 0; i < 8; i++) {
      if (i > 0) await page.keyboard.press("Tab");
      const [name, ring] = await page.evaluate(() => {
        const e = document.activeElement as HTMLElement;
        const marked = e.id === "input" ? e.closest("form")! : e;
        return [e.getAttribute("aria-label") ?? (e.id === "input" ? "Message" : e.textContent), getComputedStyle(marked).outlineStyle] as const; // biome-ignore format: short
      });
      order.push(name!);
      expect([name, ring]).toEqual([name, "solid"]);
    }
    expect(order).toEqual(["Skip to the message field", "New chat", "Settings", "Edit", "Copy the answer", "Regenerate", "Message", "Send"]); // biome-ignore format: a list
    await page.getByRole("button", { name: "New chat" }).press("Enter");
    expect(await turns()).toEqual([]);
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("input");
  });

  it("asks for the API key when the server does, and keeps it in the tab only", async () => {
    const { url } = await serve({ apiKeys: ["secret"] });
    await open(url, { stored: greedy, allowed: /401/ });
    const field = page.getByRole("alert").getByLabel("API key");
    await page.getByText("This server asks for an API key.").waitFor();
    await field.fill("wrong");
    await field.press("Enter");
    await page.getByText("The server does not know this API key.").waitFor();
    await field.fill("secret");
    await field.press("Enter");
    await page.getByText("Ask qwen3 something").waitFor();
    await input().fill("Hi");
    await input().press("Enter");
    await written().waitFor();
    await page.reload();
    await soon(() => page.title()).toBe("qwen3 · Vexil");
    expect(await page.evaluate(() => JSON.stringify(localStorage))).not.toContain("secret");
  });

  it("says when the server is full, and asks again when it may", async () => {
    const { url } = await serve({ maxRequests: 1 });
    pause = 40;
    await open(url, { stored: greedy, allowed: /429/ });
    await input().waitFor();
    const other = fetch(`${url}/v1/completions`, { method: "POST", body: JSON.stringify({ prompt: "a", max_tokens: 12 }) }); // biome-ignore format: short
    await soon(() => running).toBe(1);
    await input().fill("Hi");
    await input().press("Enter");
    await page.getByText("The server has all the requests it can take.").waitFor();
    expect(await page.getByRole("button", { name: "Try again in 1 s" }).isDisabled()).toBe(true);
    await other;
    await page.getByRole("button", { name: "Try again", exact: true }).click();
    await written().waitFor();
    expect(await turns()).toMatchObject([{ content: "Hi" }, { role: "assistant" }]);
    expect(await page.getByRole("alert").count()).toBe(0);
  });

  it("says when the server is gone, before an answer and in the middle of one", async () => {
    const server = await serve();
    pause = 60;
    const endless = { "vexil.settings": { sampling: { temperature: 0 } } };
    await open(server.url, { stored: endless, allowed: /ERR_/ });
    await input().fill("Hi");
    await input().press("Enter");
    await page.locator(".composer .figures", { hasText: "tokens/s" }).waitFor();
    await server.close(0);
    await page.getByText("The connection to the server was lost.").waitFor();
    await page.getByText("not complete").waitFor();
    expect((await turns())[1]!.content.length).toBeGreaterThan(0);
    await input().fill("Still there?");
    await input().press("Enter");
    await page.getByText("The server does not answer.").waitFor();
    expect((await turns()).map((t) => t.role)).toEqual(["user", "assistant", "user"]);
  });

  it("says what the server refuses", async () => {
    const { url } = await serve();
    await open(url, { allowed: /400/ });
    await input().fill("word ".repeat(400));
    await input().press("Enter");
    await page
      .getByRole("alert")
      .getByText(/^The prompt has \d+ tokens, but the context holds 256/)
      .waitFor();
  });

  it.each(["light", "dark"] as const)("fits a phone, in %s", async (colorScheme) => {
    const { url } = await serve();
    const conversation = [
      { role: "user", content: `a long word: ${"x".repeat(200)}` },
      { role: "assistant", content: `${"y".repeat(200)}\n\n\`\`\`js\n${"z".repeat(200)}\n\`\`\`\n\n|${"a|".repeat(20)}\n|${"-|".repeat(20)}\n|${"b|".repeat(20)}` }, // biome-ignore format: short
    ];
    await open(url, {
      colorScheme,
      viewport: { width: 360, height: 640 },
      stored: { "vexil.conversation": conversation },
    });
    await input().waitFor();
    const seen = await page.evaluate(() => {
      const canvas = document.createElement("canvas").getContext("2d")!;
      const light = (color: string) => {
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((v) => {
          const x = v / 255;
          return x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
        }) as [number, number, number];
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const paper = light(getComputedStyle(document.documentElement).backgroundColor);
      const contrast = (selector: string) => {
        const x = light(getComputedStyle(document.querySelector(selector)!).color);
        return (Math.max(x, paper) + 0.05) / (Math.min(x, paper) + 0.05);
      };
      return {
        width: document.documentElement.scrollWidth,
        paper,
        text: contrast(".prose"),
        soft: contrast(".actions button"),
      };
    });
    expect(seen.width).toBe(360);
    expect(seen.paper > 0.5).toBe(colorScheme === "light");
    expect(seen.text).toBeGreaterThan(7);
    expect(seen.soft).toBeGreaterThan(4.5);
    // The settings override the system's scheme.
    await page.getByRole("button", { name: "Settings" }).click();
    await page.getByLabel("Appearance").selectOption(colorScheme === "light" ? "dark" : "light");
    const paper = await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
    expect(paper).toBe(colorScheme === "light" ? "rgb(23, 21, 18)" : "rgb(251, 249, 244)");
  });
});
