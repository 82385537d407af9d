// What each kernel of a piece of work takes inside a graph: every launch is captured several times over and the graph timed, so neither
// the host nor a wait is part of it. Values that the work computes are lost where kernels write in place.

import { observe } from "../../dist/runtime/observe.js";

const REPEATS = 16;

/** Runs `fn` once and prints its kernels, the longest first. */
export function kernelTimes(chip, fn) {
  const { driver } = chip;
  const probe = driver.alloc(64);
  const wait = () => void driver.readSync(probe, 0, 1);
  const all = new Map();
  const time = (run, n) => {
    driver.beginCapture();
    for (let i = 0; i < n; i++) run();
    const graph = driver.endCapture();
    graph.launch();
    wait();
    const start = performance.now();
    graph.launch();
    wait();
    const ms = performance.now() - start;
    graph.dispose();
    return ms;
  };
  let empty = 0;
  const stop = observe({
    launch({ source, grid }, run) {
      run();
      const once = time(run, 1);
      empty = empty === 0 ? once : Math.min(empty, once);
      const n = once > 1 ? 2 : REPEATS;
      const ms = (time(run, n + 1) - once) / n;
      const name = `${source.name} ${grid.join("x")}`;
      const known = all.get(name) ?? { launches: 0, ms: 0 };
      all.set(name, { launches: known.launches + 1, ms: known.ms + ms });
    },
  });
  try {
    fn();
  } finally {
    stop();
  }
  driver.free(probe);
  const rows = [...all].sort((a, b) => b[1].ms - a[1].ms);
  const total = rows.reduce((s, [, r]) => s + r.ms, 0);
  for (const [name, r] of rows.slice(0, 60))
    console.log(`${(r.ms * 1e3).toFixed(1).padStart(10)} us ${((100 * r.ms) / total).toFixed(1).padStart(5)} %  ${String(r.launches).padStart(4)} x ${((r.ms * 1e3) / r.launches).toFixed(1).padStart(9)}  ${name}`); // biome-ignore format: one line
  console.log(`${rows.reduce((s, [, r]) => s + r.launches, 0)} launches, ${total.toFixed(3)} ms`);
}
