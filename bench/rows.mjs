// A row of the performance table: what was measured beside its peers and floors, the targets, and whether they are met.
//
// Every measure is `{ ms, low, high }` or `{ error }`. A target is one of
//   { peer: name, reach }   our speed is at least `reach` times the peer's
//   { floor: reach }        we reach at least that share of the floor
//   { limitMs }             we take at most that long

/**
 * @param r `{ suite, work, shape, chip, threads, ours, peers: [{ name, …measure }], floor?: { name, ms }, targets,
 * flops?, bytes?, note?, ok? }`; `ok` false says that a condition that is not a time was not met
 */
export function makeRow(r) {
  const peers = (r.peers ?? []).filter(Boolean);
  const row = { ...r, peers: peers.map((p) => ({ ...p, ratio: over(p, r.ours) })), targets: r.targets ?? [] };
  if (r.floor) row.floor = { ...r.floor, share: over(r.floor, r.ours) };
  const met = row.targets.map((t) => meets(t, row));
  if (r.ok !== undefined) met.push(r.ok);
  row.verdict = r.ours.error
    ? "fails"
    : met.includes(false)
      ? "loses"
      : met.includes(undefined)
        ? "open"
        : met.length
          ? "passes"
          : "-";
  return row;
}

/** How many times as fast as `other` ours is. */
const over = (other, ours) =>
  Number.isFinite(other.ms) && Number.isFinite(ours.ms) ? other.ms / ours.ms : undefined;

function meets(target, row) {
  if (target.limitMs !== undefined) return row.ours.ms <= target.limitMs;
  if (target.floor !== undefined)
    return row.floor?.share === undefined ? undefined : row.floor.share >= target.floor;
  const ratio = row.peers.find((p) => p.name === target.peer)?.ratio;
  return ratio === undefined ? undefined : ratio >= target.reach;
}

const three = (n) =>
  n >= 100 ? n.toFixed(0) : n >= 10 ? n.toFixed(1) : n >= 1 ? n.toFixed(2) : n.toFixed(3);

export function showTime(ms) {
  if (ms >= 1000) return `${three(ms / 1000)} s`;
  if (ms >= 1) return `${three(ms)} ms`;
  return ms >= 0.001 ? `${three(ms * 1000)} us` : `${three(ms * 1e6)} ns`;
}

function rate(m, r) {
  if (r.flops) return `, ${three(r.flops / m.ms / 1e6)} GFLOP/s`;
  return r.bytes ? `, ${three(r.bytes / m.ms / 1e6)} GB/s` : "";
}

/** `12.1 ms (11.9 to 12.6), 85.2 GB/s` */
export function showMeasure(m, r) {
  if (m.error) return m.error;
  const spread =
    m.low !== undefined && m.high !== m.low ? ` (${showTime(m.low)} to ${showTime(m.high)})` : "";
  return `${showTime(m.ms)}${spread}${rate(m, r)}`;
}

export function showTarget(t) {
  if (t.limitMs !== undefined) return `at most ${showTime(t.limitMs)}`;
  return t.floor !== undefined ? `${t.floor} of the floor` : `${t.reach}x ${t.peer}`;
}

/** A row as one line for a terminal. */
export function showRow(r) {
  const peers = r.peers.map((p) =>
    p.error ? `${p.name}: ${p.error}` : `${p.name} ${showTime(p.ms)} (ours ${p.ratio?.toFixed(2) ?? "?"}x)`,
  );
  const floor = r.floor ? [`${r.floor.name} ${showTime(r.floor.ms)} (${share(r.floor)})`] : [];
  const targets = r.targets.length ? [`target ${r.targets.map(showTarget).join(", ")}`] : [];
  const head = `${r.verdict.padEnd(6)} ${r.chip} x${r.threads} ${r.work} ${r.shape}: ${showMeasure(r.ours, r)}`;
  return [head, ...peers, ...floor, ...targets, ...(r.note ? [r.note] : [])].join(" | ");
}

export const share = (floor) => (floor.share === undefined ? "?" : `${(floor.share * 100).toFixed(0)} %`);

const geomean = (list) => Math.exp(list.reduce((sum, x) => sum + Math.log(x), 0) / list.length);

/** What the rows of the suite `ops` of one chip come to: geometric means, and every row under half of its floor. */
export function operatorSummary(rows) {
  const measured = rows.filter((r) => Number.isFinite(r.floor?.share) && r.floor.share > 0);
  if (measured.length === 0) return "no operator was measured";
  const peers = rows.flatMap((r) => r.peers.map((p) => p.ratio).filter(Number.isFinite));
  const under = measured.filter((r) => r.floor.share < 0.5).sort((a, b) => a.floor.share - b.floor.share);
  const failed = rows.filter((r) => r.ours.error);
  return [
    `${measured.length} operators on ${rows[0].chip}: ${geomean(measured.map((r) => r.floor.share)).toFixed(2)} of the floor in the geometric mean`,
    ...(peers.length > 0
      ? [`${peers.length} of them against ONNX Runtime: ${geomean(peers).toFixed(2)} times its speed`]
      : []),
    `${under.length} under 0.5 of the floor:`,
    ...under.map((r) => `  ${share(r.floor).padStart(5)} ${r.work} ${r.shape}: ${showTime(r.ours.ms)}`),
    ...failed.map((r) => `  failed: ${r.work}: ${r.ours.error}`),
  ].join("\n");
}
