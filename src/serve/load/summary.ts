// From the results of one level of load to its figures, and to a table for a terminal.

import type { Result } from "./client.js";

/** Milliseconds. */
export interface Spread {
  readonly mean: number;
  readonly median: number;
  readonly p99: number;
}

/** A limit that a request must keep to count as good, in milliseconds. */
export type Slo = Partial<Record<"ttft" | "tpot" | "itl" | "e2e", number>>;

export interface Level {
  readonly by: "rate" | "concurrency";
  /** Requests per second, or requests at once. */
  readonly value: number;
}

export interface Figures extends Level {
  /** False when it was interrupted. */
  readonly complete: boolean;
  readonly seconds: number;
  readonly sent: number;
  readonly ok: number;
  readonly cancelled: number;
  /** How many requests failed, by kind, with what the first of each kind said. */
  readonly failed: Readonly<Record<string, { readonly count: number; readonly detail: string }>>;
  readonly requestsPerSecond: number;
  /** Undefined when the server does not count. */
  readonly inputTokensPerSecond: number | undefined;
  readonly outputTokensPerSecond: number;
  readonly inputTokens: number | undefined;
  readonly outputTokens: number;
  /** To the first text. */
  readonly ttft: Spread | undefined;
  /** Per token after the first, one value a request. */
  readonly tpot: Spread | undefined;
  /** Between two pieces of text, all requests together. */
  readonly itl: Spread | undefined;
  readonly e2e: Spread | undefined;
  /** Requests within the SLO, per second and as a share of those that were sent. */
  readonly goodput: { readonly requestsPerSecond: number; readonly share: number } | undefined;
}

/** The value below which a share of a list lies, between neighbours in proportion. */
export function percentile(sorted: readonly number[], share: number): number {
  const at = (sorted.length - 1) * share;
  const low = Math.floor(at);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low]! + (sorted[high]! - sorted[low]!) * (at - low);
}

export function spread(values: readonly number[]): Spread | undefined {
  if (values.length === 0) return undefined;
  const sorted = Float64Array.from(values).sort();
  const list = Array.from(sorted);
  return {
    mean: list.reduce((a, b) => a + b, 0) / list.length,
    median: percentile(list, 0.5),
    p99: percentile(list, 0.99),
  };
}

const sum = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0);

/** @param seconds from the first request that was sent to the last answer's end */
export function summarize(
  level: Level,
  results: readonly Result[],
  seconds: number,
  slo: Slo | undefined,
  complete: boolean,
): Figures {
  const ok = results.filter((r) => r.outcome === "ok");
  const failed: Record<string, { count: number; detail: string }> = {};
  for (const r of results)
    if (r.outcome === "failed") {
      failed[r.kind] ??= { count: 0, detail: r.detail };
      failed[r.kind]!.count++;
    }
  const perToken = (r: (typeof ok)[0]) => (r.outputTokens > 1 ? r.spanMs / (r.outputTokens - 1) : undefined);
  const counted = ok.every((r) => r.inputTokens !== undefined) && ok.length > 0;
  const inputTokens = counted ? sum(ok.map((r) => r.inputTokens!)) : undefined;
  const outputTokens = sum(ok.map((r) => r.outputTokens));
  const within = (value: number | undefined, limit: number | undefined) =>
    limit === undefined || value === undefined || value <= limit;
  const good = ok.filter(
    (r) =>
      within(r.firstMs, slo?.ttft) &&
      within(perToken(r), slo?.tpot) &&
      within(r.gapsMs.length ? Math.max(...r.gapsMs) : undefined, slo?.itl) &&
      within(r.totalMs, slo?.e2e),
  ).length;
  const cancelled = results.filter((r) => r.outcome === "cancelled").length;
  const judged = results.length - cancelled;
  const rate = (n: number) => (seconds > 0 ? n / seconds : 0);
  return {
    ...level,
    complete,
    seconds,
    sent: results.length,
    ok: ok.length,
    cancelled,
    failed,
    requestsPerSecond: rate(ok.length),
    inputTokensPerSecond: inputTokens === undefined ? undefined : rate(inputTokens),
    outputTokensPerSecond: rate(outputTokens),
    inputTokens,
    outputTokens,
    ttft: spread(ok.map((r) => r.firstMs)),
    tpot: spread(ok.map(perToken).filter((t) => t !== undefined)),
    itl: spread(ok.flatMap((r) => r.gapsMs)),
    e2e: spread(ok.map((r) => r.totalMs)),
    goodput: slo ? { requestsPerSecond: rate(good), share: judged ? good / judged : 0 } : undefined,
  };
}

const show = (n: number): string =>
  n >= 1000 ? n.toFixed(0) : n >= 100 ? n.toFixed(0) : n >= 10 ? n.toFixed(1) : n.toFixed(2);

/** A column for each level, a line for each figure. */
export function table(levels: readonly Figures[]): string {
  const some = (pick: (f: Figures) => boolean) => levels.some(pick);
  const row = (name: string, cell: (f: Figures) => string) => [name, ...levels.map(cell)];
  const times = (name: string, of: (f: Figures) => Spread | undefined) =>
    (["mean", "median", "p99"] as const).map((which, i) =>
      row(`${i === 0 ? name.padEnd(8) : "".padEnd(8)} ${which}`, (f) => {
        const s = of(f);
        return s ? show(s[which]) : "-";
      }),
    );
  const kinds = [...new Set(levels.flatMap((f) => Object.keys(f.failed)))];
  const rows = [
    row("", (f) => `${f.by === "rate" ? `${f.value}/s` : `${f.value} at once`}${f.complete ? "" : " *"}`),
    row("answered", (f) => String(f.ok)),
    ...kinds.map((kind) => row(`failed: ${kind}`, (f) => String(f.failed[kind]?.count ?? 0))),
    ...(some((f) => f.cancelled > 0) ? [row("cancelled", (f) => String(f.cancelled))] : []),
    row("requests/s", (f) => show(f.requestsPerSecond)),
    row("tokens/s in", (f) => (f.inputTokensPerSecond === undefined ? "-" : show(f.inputTokensPerSecond))),
    row("tokens/s out", (f) => show(f.outputTokensPerSecond)),
    ...times("TTFT ms", (f) => f.ttft),
    ...times("TPOT ms", (f) => f.tpot),
    ...times("ITL ms", (f) => f.itl),
    ...times("E2E ms", (f) => f.e2e),
    ...(some((f) => f.goodput !== undefined)
      ? [
          row("goodput/s", (f) => (f.goodput ? show(f.goodput.requestsPerSecond) : "-")),
          row("within SLO", (f) => (f.goodput ? `${(100 * f.goodput.share).toFixed(0)} %` : "-")),
        ]
      : []),
  ];
  const widths = rows[0]!.map((_, c) => Math.max(...rows.map((r) => r[c]!.length)));
  const lines = rows.map((r) =>
    r
      .map((cell, c) => (c === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[c]!)))
      .join("  ")
      .trimEnd(),
  );
  if (some((f) => !f.complete)) lines.push("* interrupted");
  for (const kind of kinds) {
    const first = levels.find((f) => f.failed[kind])!.failed[kind]!;
    if (first.detail !== "") lines.push(`${kind}: ${first.detail.replace(/\s+/g, " ").slice(0, 160)}`);
  }
  return lines.join("\n");
}
