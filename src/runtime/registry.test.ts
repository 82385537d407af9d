import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { ChipEntry, Probe } from "./driver.js";
import * as platform from "./platform.js";
import { notingChip } from "./testing/fixtures.js";

const entryOf = (name: string, probe: Probe, opened: string[] = []): ChipEntry => ({
  name,
  summary: name,
  probe: async () => probe,
  open: async () => {
    opened.push(name);
    return notingChip(name);
  },
});
const missing: Probe = { available: false, found: "no C compiler", hint: "Install gcc or clang" };
const there: Probe = { available: true, found: "all" };

/** A registry of its own for each test. */
async function fresh() {
  vi.resetModules();
  return import("./registry.js");
}

const before = process.env["VEXIL_CHIP"];
beforeEach(() => {
  delete process.env["VEXIL_CHIP"];
});
afterEach(() => {
  vi.restoreAllMocks();
  if (before === undefined) delete process.env["VEXIL_CHIP"];
  else process.env["VEXIL_CHIP"] = before;
});

describe("registry", () => {
  test("opens a chip once, also when asked twice at the same time", async () => {
    const r = await fresh();
    const opened: string[] = [];
    r.registerChip(entryOf("alpha", there, opened));
    const [a, b] = await Promise.all([r.loadChip("alpha"), r.loadChip("alpha")]);
    expect(a).toBe(b);
    expect(r.loadedChip("alpha")).toBe(a);
    expect(opened).toEqual(["alpha"]);
    expect(r.listChips().map((e) => e.name)).toEqual(["alpha"]);
    expect(() => r.registerChip(entryOf("alpha", there))).toThrow("cannot be replaced");
  });

  test("errors say what to do", async () => {
    const r = await fresh();
    r.registerChip(entryOf("alpha", missing));
    r.registerChip(entryOf("beta", there));
    expect(() => r.defaultChip()).toThrowErrorMatchingInlineSnapshot(
      `[ChipError: no chip is loaded yet: \`await autoload()\`, or \`await setDefaultChip("NAME")\`]`,
    );
    expect(() => r.loadedChip("beta")).toThrowErrorMatchingInlineSnapshot(
      `[ChipError: the chip beta is not loaded: \`await loadChip("beta")\` first]`,
    );
    expect(() => r.loadedChip("bata")).toThrowErrorMatchingInlineSnapshot(
      `[ChipError: no chip is called "bata". Did you mean "beta"? There are: alpha, beta.]`,
    );
    await expect(r.loadChip("alpha")).rejects.toThrowErrorMatchingInlineSnapshot(
      `[ChipError: the chip alpha is not available: no C compiler. Install gcc or clang]`,
    );
    await expect(r.setDefaultChip("omega")).rejects.toThrowErrorMatchingInlineSnapshot(
      `[ChipError: no chip is called "omega". There are: alpha, beta.]`,
    );
  });

  test("a chip that could not be opened can be tried again", async () => {
    const r = await fresh();
    let probe = missing;
    r.registerChip({ ...entryOf("alpha", there), probe: async () => probe });
    await expect(r.loadChip("alpha")).rejects.toThrow("no C compiler");
    probe = there;
    expect((await r.loadChip("alpha")).name).toBe("alpha");
  });

  test("autoload takes the first that is available, with one line about what is missing", async () => {
    const r = await fresh();
    const lines: string[] = [];
    vi.spyOn(process.stderr, "write").mockImplementation((text) => {
      lines.push(String(text));
      return true;
    });
    r.registerChip(entryOf("alpha", missing));
    const opened: string[] = [];
    r.registerChip(entryOf("beta", there, opened));
    r.registerChip(entryOf("gamma", there, opened));
    const [a, b] = await Promise.all([r.autoload(), r.autoload()]);
    expect(a.name).toBe("beta");
    expect(b).toBe(a);
    expect(r.defaultChip()).toBe(a);
    expect(opened).toEqual(["beta"]);
    expect(lines).toMatchInlineSnapshot(`
      [
        "vexil: the chip alpha is not available: no C compiler. Install gcc or clang. Using beta.
      ",
      ]
    `);
    await r.setDefaultChip("gamma");
    expect((await r.autoload()).name).toBe("gamma");
  });

  test("a chip with several devices opens each once, by its number", async () => {
    const r = await fresh();
    const opened: number[] = [];
    const entry: ChipEntry = {
      ...entryOf("alpha", there),
      openDevice: async (index) => {
        if (index > 1) throw new Error(`no GPU has the number ${index}`);
        opened.push(index);
        return index === 0 ? undefined : notingChip(`alpha:${index}`);
      },
    };
    r.registerChip(entry);
    r.registerChip(entryOf("beta", there));
    const first = await r.loadChip("alpha");
    const [second, again] = await Promise.all([r.loadChip("alpha:1"), r.loadChip("alpha:1")]);
    expect(second).toBe(again);
    expect(second).not.toBe(first);
    expect(second.name).toBe("alpha:1");
    // The device that has the chip's own name.
    expect(await r.loadChip("alpha:0")).toBe(first);
    expect(r.loadedChip("alpha:1")).toBe(second);
    expect(r.openChips()).toEqual([first, second]);
    expect(opened).toEqual([1, 0]);
    await expect(r.loadChip("alpha:7")).rejects.toThrow("the chip alpha:7: no GPU has the number 7");
    await expect(r.loadChip("beta:1")).rejects.toThrow("the chip beta has one device: there is no beta:1");
    await expect(r.loadChip("gamma:1")).rejects.toThrow('no chip is called "gamma:1"');
    process.env["VEXIL_CHIP"] = "alpha:1";
    expect((await r.autoload()).name).toBe("alpha:1");
  });

  test("VEXIL_CHIP decides, and errors name it", async () => {
    const r = await fresh();
    r.registerChip(entryOf("alpha", missing));
    r.registerChip(entryOf("beta", there));
    r.registerChip(entryOf("gamma", there));
    process.env["VEXIL_CHIP"] = "gama";
    await expect(r.autoload()).rejects.toThrowErrorMatchingInlineSnapshot(
      `[ChipError: VEXIL_CHIP: no chip is called "gama". Did you mean "gamma"? There are: alpha, beta, gamma.]`,
    );
    process.env["VEXIL_CHIP"] = "alpha";
    await expect(r.autoload()).rejects.toThrow("Install gcc or clang");
    process.env["VEXIL_CHIP"] = "gamma";
    expect((await r.autoload()).name).toBe("gamma");
  });

  test("with nothing available the error lists why", async () => {
    const r = await fresh();
    r.registerChip(entryOf("alpha", missing));
    await expect(r.autoload()).rejects.toThrowErrorMatchingInlineSnapshot(
      `[ChipError: no chip is available: the chip alpha is not available: no C compiler. Install gcc or clang]`,
    );
  });
});

test("the platform knows Node", () => {
  expect(platform.isNode).toBe(true);
  expect(platform.builtin("node:path")?.join("a", "b")).toBe("a/b");
  expect(platform.memoryBytes()).toBeGreaterThan(2 ** 20);
});
