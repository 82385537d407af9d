import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { compare, normal, setsFor, settings, summary } from "./harness.mjs";
import { merge, page, save } from "./report.mjs";
import { makeRow, showRow, showTime } from "./rows.mjs";

const base = { suite: "matmul", work: "w", shape: "s", chip: "cpu", threads: 1 };
const at = (ms) => ({ ms, low: ms * 0.9, high: ms * 1.1 });

describe("a row", () => {
  it("compares with its peer, its floor and its limit", () => {
    const verdict = (ours, targets) =>
      makeRow({
        ...base,
        ours: at(ours),
        peers: [{ name: "p", ...at(10) }],
        floor: { name: "f", ms: 4 },
        targets,
      }).verdict;
    expect(verdict(11, [{ peer: "p", reach: 0.9 }])).toBe("passes");
    expect(verdict(12, [{ peer: "p", reach: 0.9 }])).toBe("loses");
    expect(verdict(5, [{ floor: 0.8 }])).toBe("passes");
    expect(verdict(6, [{ floor: 0.8 }])).toBe("loses");
    expect(verdict(3, [{ limitMs: 3 }])).toBe("passes");
    expect(verdict(3, [{ limitMs: 3 }, { floor: 2 }])).toBe("loses");
    expect(verdict(3, [])).toBe("-");
  });

  it("does not pass without its peer, nor with an error, nor when a condition is not met", () => {
    const peers = [{ name: "p", error: "p is not installed" }];
    const open = makeRow({ ...base, ours: at(1), peers, targets: [{ peer: "p", reach: 1 }] });
    expect(open.verdict).toBe("open");
    expect(showRow(open)).toContain("p is not installed");
    expect(makeRow({ ...base, ours: { error: "no operator" }, targets: [{ limitMs: 1 }] }).verdict).toBe(
      "fails",
    );
    expect(makeRow({ ...base, ours: at(1), targets: [{ limitMs: 1 }], ok: false }).verdict).toBe("loses");
  });

  it("shows times in their unit", () => {
    expect([2500, 12.34, 0.5, 0.000024].map(showTime)).toEqual(["2.50 s", "12.3 ms", "500 us", "24.0 ns"]);
  });
});

describe("the harness", () => {
  it("takes the median and the spread", () => {
    expect(summary([3, 1, 2])).toEqual({ ms: 2, low: 1, high: 3, samples: 3 });
    expect(summary([4, 1, 2, 3]).ms).toBe(2.5);
  });

  it("measures sides in turns and keeps a failure to its side", async () => {
    const set = { ...settings({ quick: true }), sampleMs: 1, restMs: 0 };
    const seen = [];
    const wait = (ms) => {
      const end = performance.now() + ms;
      while (performance.now() < end);
    };
    const side = (name, ms) => ({
      name,
      once: () => {
        if (seen.at(-1) !== name) seen.push(name);
        wait(ms);
      },
    });
    const bad = {
      name: "bad",
      once: () => {
        throw new Error("no such thing\nmore");
      },
    };
    const got = await compare([side("a", 2), side("b", 6), bad], set);
    expect(got.bad).toEqual({ error: "no such thing" });
    expect(got.a.samples).toBe(3);
    expect(got.b.low).toBeGreaterThanOrEqual(6);
    expect(got.a.low).toBeGreaterThanOrEqual(2);
    // Two sides in turns, the order turned round: a b, b a, a b.
    expect(seen.length).toBeGreaterThanOrEqual(5);
  });

  it("makes normal data that does not depend on the run", () => {
    const x = normal(2 ** 16, 7);
    const mean = x.reduce((a, b) => a + b, 0) / x.length;
    const variance = x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length;
    expect(Math.abs(mean)).toBeLessThan(0.02);
    expect(Math.abs(variance - 1)).toBeLessThan(0.03);
    expect(normal(8, 7)).toEqual(normal(8, 7));
    expect(normal(8, 7)).not.toEqual(normal(8, 8));
    expect(normal(2 ** 20 + 5, 7).every(Number.isFinite)).toBe(true);
    expect(setsFor(64, 32)).toBe(2);
    expect(setsFor(1024, 32)).toBe(1);
  });
});

describe("the report", () => {
  const machine = {
    processor: "P",
    cores: 2,
    memoryGiB: 1,
    lastLevelCacheMiB: 1,
    system: "s",
    node: "v",
    compiler: "c",
  };
  const run = (rows, other = {}) => ({
    date: "2026-01-02T03:04:05Z",
    machine,
    load: 0,
    rows,
    peers: {},
    ...other,
  });
  const row = (work, ms, more = {}) =>
    makeRow({ ...base, work, ours: at(ms), targets: [{ limitMs: 2 }], ...more });

  it("replaces rows of the same suite, chip and threads, and keeps others", () => {
    const first = merge({ rows: [] }, run([row("old", 1), row("two threads", 1, { threads: 2 })]));
    const second = merge(first, run([row("new", 3)]));
    expect(second.rows.map((r) => r.work).sort()).toEqual(["new", "two threads"]);
    expect(merge(first, run([row("new", 3)], { machine: { ...machine, cores: 4 } })).rows).toHaveLength(1);
  });

  it("prints losing rows and counts them", () => {
    const text = page(merge({ rows: [] }, run([row("good", 1), row("bad", 3)])));
    expect(text).toContain("1 rows pass, 1 lose");
    expect(text).toMatch(/\| bad \|.*\*\*loses\*\*/);
    expect(text).not.toContain("busy machine");
    expect(page(merge({ rows: [] }, run([row("good", 1)], { load: 9 })))).toContain("busy machine");
  });

  it("writes both files", () => {
    const folder = mkdtempSync(join(tmpdir(), "vexil-bench-test-"));
    save(folder, run([row("good", 1)]));
    expect(JSON.parse(readFileSync(join(folder, "performance.json"), "utf8")).rows[0].verdict).toBe("passes");
    expect(readFileSync(join(folder, "performance.md"), "utf8")).toContain("| good |");
    rmSync(folder, { recursive: true });
  });
});
