// The WebAssembly chip: always there, in Node and in browsers, on all cores where memory can be shared.

import type { Capabilities, Chip, ChipEntry, Probe } from "../../runtime/driver.js";
import { WasmDriver } from "./driver.js";
import { canShare, hasRelaxedSimd, hasSimd, hostThreads } from "./host.js";
import { WasmTarget } from "./target.js";
import { tuning } from "./tuning.js";

interface Found {
  readonly threads: number;
  readonly shared: boolean;
  readonly relaxed: boolean;
}

const find = (): Found => {
  const shared = canShare();
  return { shared, threads: shared ? hostThreads() : 1, relaxed: hasRelaxedSimd() };
};

const describe = ({ threads, relaxed }: Found): string =>
  `${threads} thread${threads === 1 ? "" : "s"}, 128-bit SIMD${relaxed ? ", relaxed SIMD (fused multiply-add)" : ""}`;

async function probe(): Promise<Probe> {
  if (!hasSimd())
    return {
      available: false,
      found: "a WebAssembly engine without 128-bit SIMD",
      hint: "use Node 20 or a browser from 2023 or later",
    };
  const found = find();
  const browser = typeof document !== "undefined" && !found.shared;
  return {
    available: true,
    found: describe(found),
    ...(browser
      ? { hint: "serve the page with COOP same-origin and COEP require-corp to use all cores" }
      : {}),
  };
}

async function open(): Promise<Chip> {
  const p = await probe();
  if (!p.available) throw new Error(`wasm: ${p.found}; ${p.hint}`);
  const found = find();
  const driver = new WasmDriver(found);
  const capabilities: Capabilities = {
    syncRead: true,
    f64: true,
    i64: true,
    threads: found.threads,
    elementsPerProgram: 16384,
    streamsSums: true,
    waitsInPlace: true,
    dotBlock: [64, 64, 64],
    maxBufferBytes: driver.maxBytes,
    memoryBytes: driver.maxBytes,
    maxGrid: [2 ** 30, 2 ** 30, 2 ** 30],
  };
  return {
    name: "wasm",
    target: new WasmTarget(found),
    driver,
    capabilities,
    tuning,
    description: describe(found),
  };
}

/** How the chip announces itself. */
export const entry: ChipEntry = {
  name: "wasm",
  summary: "WebAssembly with SIMD and threads, in Node and in browsers",
  probe,
  open,
};
