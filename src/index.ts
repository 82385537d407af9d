// The package's main entry: kernels, tensors and operators. Importing it opens the default chip, so that tensors
// can be made at once; models, training and serving are subpaths (`vexil/models`, …).

import "./chips/index.js";
import "./ops/index.js";
import { autoload } from "./runtime/index.js";

export {
  bf16,
  bool,
  constant,
  constexpr,
  dim,
  f8e4m3,
  f8e5m2,
  f16,
  f32,
  f64,
  helper,
  i8,
  i16,
  i32,
  i64,
  ptr,
  type Tl,
  u8,
  u16,
  u32,
  u64,
} from "./compiler/lang/index.js";
export {
  debug,
  type DebugEntry,
  type DebugOptions,
  type DebugTrace,
  type DebugValue,
} from "./chips/debug.js";
export { CompileError } from "./compiler/target.js";
export * from "./ops/index.js";
export {
  autoload,
  type Capabilities,
  CaptureError,
  capture,
  type Chip,
  ChipError,
  type ChipEntry,
  closeChips,
  compileStats,
  defaultChip,
  type Driver,
  emptyCache,
  Generator,
  Graph,
  Kernel,
  kernel,
  type LaunchArgs,
  LaunchError,
  leakReport,
  leakTable,
  listChips,
  loadChip,
  loadedChip,
  manualSeed,
  type MemoryStats,
  MemoryLimitError,
  memoryStats,
  OutOfMemoryError,
  registerChip,
  Scope,
  scope,
  type Float32MatmulPrecision,
  getFloat32MatmulPrecision,
  setDefaultChip,
  setFloat32MatmulPrecision,
  setVendorPolicy,
  trackAllocations,
  vendorPolicy,
  type VendorPolicy,
  VERSION,
} from "./runtime/index.js";
export * from "./tensor/index.js";

await autoload();
