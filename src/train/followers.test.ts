// What follows a run: metrics.jsonl, TensorBoard files (read by a parser of this file's own), the report.

import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import { parseConfig } from "./config.js";
import type { StepRecord } from "./hooks.js";
import { metricsHook, readMetrics } from "./metrics.js";
import { smooth, thin, ticks } from "./report/chart.js";
import { renderReport } from "./report/index.js";
import { crc32c, maskedCrc32c } from "./tensorboard/crc32c.js";
import { tensorboardHook } from "./tensorboard/index.js";

const folder = mkdtempSync(join(tmpdir(), "vexil-followers-"));
afterAll(() => rmSync(folder, { recursive: true }));
const record = (step: number, more: Partial<StepRecord> = {}): StepRecord => ({
  step,
  loss: 3 / step,
  gradNorm: 1,
  learningRate: 1e-3,
  skipped: undefined,
  tokens: 100,
  seconds: 0.5,
  tokensPerSecond: 200,
  secondsLeft: 10,
  peakBytes: 2 ** 20,
  ...more,
});
const evaluation = { loss: 1.5, perplexity: Math.exp(1.5), targets: 10 };

describe("metrics.jsonl", () => {
  it("has a line a step, and loses those past the step that a run goes on from", () => {
    const file = join(folder, "metrics.jsonl");
    const first = metricsHook(folder, 0);
    for (let i = 1; i <= 5; i++) first.step!(record(i));
    first.evaluated!(evaluation, 5);
    first.end!();
    // As a process that was killed in the middle of a write leaves it.
    appendFileSync(file, '{"step":6,"lo');
    expect(readMetrics(file).map((l) => l.step)).toEqual([1, 2, 3, 4, 5, 5]);
    const again = metricsHook(folder, 5);
    again.step!(record(6, { skipped: "the loss is a spike" }));
    again.end!();
    expect(readMetrics(file)).toHaveLength(7);
    expect(readMetrics(file)[5]).toMatchObject({ step: 5, evaluation: { loss: 1.5 } });
    expect(readMetrics(file)[6]).toMatchObject({
      step: 6,
      loss: 0.5,
      memory_bytes: 2 ** 20,
      skipped: "the loss is a spike",
    });
    metricsHook(folder, 3).end!();
    expect(readMetrics(file).map((l) => l.step)).toEqual([1, 2, 3]);
    metricsHook(folder, 0).end!();
    expect(readFileSync(file, "utf8")).toBe("");
  });
});

/** Fields of a protobuf message: number to raw values. */
function fields(bytes: Buffer): Map<number, (Buffer | bigint | number)[]> {
  const out = new Map<number, (Buffer | bigint | number)[]>();
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const b = bytes[at++]!;
      value |= BigInt(b & 127) << shift;
      if (b < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = Number(varint());
    let value: Buffer | bigint | number;
    if (key % 8 === 0) value = varint();
    else if (key % 8 === 1) [value, at] = [bytes.readDoubleLE(at), at + 8];
    else if (key % 8 === 5) [value, at] = [bytes.readFloatLE(at), at + 4];
    else {
      const length = Number(varint());
      [value, at] = [bytes.subarray(at, at + length), at + length];
    }
    out.set(key >> 3, [...(out.get(key >> 3) ?? []), value]);
  }
  return out;
}

/** The CRC-32C by long division, bit by bit: nothing of the table that is tested. */
function longDivision(bytes: Uint8Array): number {
  let c = 0xffffffffn;
  for (const b of bytes) {
    c ^= BigInt(b);
    for (let i = 0; i < 8; i++) c = c & 1n ? (c >> 1n) ^ 0x82f63b78n : c >> 1n;
  }
  return Number(c ^ 0xffffffffn);
}

describe("TensorBoard files", () => {
  it("check their records as CRC-32C says", () => {
    // The check value of the polynomial (RFC 3720, appendix B.4, has the zeros).
    expect(crc32c(Buffer.from("123456789"))).toBe(0xe3069283);
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(crc32c(Buffer.from("123456789"))).not.toBe(crc32(Buffer.from("123456789")));
    expect(maskedCrc32c(new Uint8Array(32))).toBe(
      ((((0x8a9136aa >>> 15) | (0x8a9136aa << 17)) >>> 0) + 0xa282ead8) % 2 ** 32,
    );
  });

  it("are read back: version, start, scalars by step", () => {
    const hook = tensorboardHook(folder, 0);
    hook.step!(record(1));
    hook.step!(record(300));
    hook.evaluated!(evaluation, 300);
    hook.end!();
    const again = tensorboardHook(folder, 300);
    again.end!();
    const files = readdirSync(join(folder, "tensorboard")).sort();
    expect(files).toHaveLength(2);
    const events = files.map((name) => {
      const bytes = readFileSync(join(folder, "tensorboard", name));
      const out: Map<number, (Buffer | bigint | number)[]>[] = [];
      for (let at = 0; at < bytes.length; ) {
        const length = Number(bytes.readBigUInt64LE(at));
        const data = bytes.subarray(at + 12, at + 12 + length);
        const masked = (b: Uint8Array) => {
          const c = longDivision(b);
          return (((c >>> 15) | (c << 17)) + 0xa282ead8) >>> 0;
        };
        expect(bytes.readUInt32LE(at + 8)).toBe(masked(bytes.subarray(at, at + 8)));
        expect(bytes.readUInt32LE(at + 12 + length)).toBe(masked(data));
        out.push(fields(data));
        at += length + 16;
      }
      return out;
    });
    const [first, second] = events as [(typeof events)[0], (typeof events)[0]];
    expect(first).toHaveLength(5);
    expect(String(first[0]!.get(3))).toBe("brain.Event:2");
    expect(first[0]!.get(1)![0]).toBeGreaterThan(1.7e9);
    expect(fields(first[1]!.get(7)![0] as Buffer).get(1)).toEqual([1n]);
    const scalars = (event: (typeof first)[0]) =>
      Object.fromEntries(
        fields(event.get(5)![0] as Buffer)
          .get(1)!
          .map((v) => fields(v as Buffer))
          .map((v) => [String(v.get(1)), v.get(2)![0]]),
      );
    expect(first[2]!.get(2)).toEqual([1n]);
    expect(first[3]!.get(2)).toEqual([300n]);
    expect(scalars(first[2]!)).toEqual({
      "train/loss": 3,
      "train/learning_rate": Math.fround(1e-3),
      "train/grad_norm": 1,
      "speed/tokens_per_second": 200,
      "memory/peak_bytes": 2 ** 20,
    });
    expect(scalars(first[4]!)["evaluation/loss"]).toBe(1.5);
    expect(second[1]!.get(2)).toEqual([301n]);
    tensorboardHook(folder, 0).end!();
    expect(readdirSync(join(folder, "tensorboard"))).toHaveLength(1);
  });
});

describe("the report", () => {
  const config = parseConfig(
    { model: { config: { model_type: "a<b" } }, data: { train: "x" }, output: "run & <run>", steps: 400 },
    "c",
    "/",
  );
  const facts = { config, chip: { name: "wasm", description: "WebAssembly" }, parameters: 1234 };

  it("is one page that loads nothing, with every curve", () => {
    const lines = Array.from({ length: 3000 }, (_, i) => ({
      step: i + 1,
      loss: 5 / (i + 1),
      learning_rate: 1e-3,
      grad_norm: i === 1234 ? 1000 : 1,
      tokens: 64,
      seconds: 0.1,
      memory_bytes: 2 ** 21,
      time: "2026-01-01T00:00:00Z",
    }));
    const html = renderReport(
      [...lines, { step: 3000, evaluation: { loss: 0.5, perplexity: 1.6 }, time: "" }],
      facts,
    );
    expect(html).not.toMatch(/src=|href=|@import|url\(|https?:/);
    for (const title of ["Loss", "Learning rate", "Gradient norm", "Tokens per second", "Memory"])
      expect(html).toContain(`<svg viewBox="0 0 720 220" role="img" aria-label="${title} by step">`);
    expect(html).toContain("prefers-color-scheme: dark");
    expect(html).toContain("1,234 parameters");
    expect(html).toContain("lowest held-out loss 0.5 after step 3000");
    expect(html).not.toContain("<run>");
    expect(html).toContain("model_type: a&#60;b");
    // The one high norm is not thinned away, and the page stays small.
    expect(html).toContain('[1235,"1000"]');
    expect(html.length).toBeLessThan(600_000);
    for (const json of html.matchAll(/<script type="application\/json">(.*?)<\/script>/g))
      JSON.parse(json[1]!);
    expect(renderReport([], facts)).toContain("nothing was measured yet");
    writeFileSync(join(folder, "report.html"), html);
  });

  it("draws with round ticks, an average, and fewer points", () => {
    expect(ticks(0, 10, 5)).toEqual([0, 2, 4, 6, 8, 10]);
    expect(ticks(0.013, 0.049, 4)).toEqual([0.02, 0.03, 0.04]);
    expect(ticks(5, 5, 4)).toEqual([5]);
    const points = Array.from({ length: 5000 }, (_, i) => [i, i === 777 ? 9 : 1] as const);
    const few = thin(points, 100);
    expect(few.length).toBeLessThanOrEqual(110);
    expect(few).toContainEqual([777, 9]);
    expect(few.at(-1)).toEqual([4999, 1]);
    expect(
      smooth(
        [
          [0, 4],
          [1, 4],
          [2, Number.NaN],
          [3, 24],
        ],
        0.5,
      ),
    ).toEqual([
      [0, 4],
      [1, 4],
      [2, 4],
      [3, 14],
    ]);
  });
});
