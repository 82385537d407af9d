// What the command line shows when something fails: one clear line for what the user can mend, a stack for bugs.

/** The words on the command line were wrong. */
export class UsageError extends Error {
  override name = "UsageError";
}

/**
 * Errors whose message is written for whoever runs a command. By name, since an error that comes from a worker
 * has no class any more.
 */
export const FOR_USERS: ReadonlySet<string> = new Set([
  "UsageError",
  "ConfigError",
  "DataError",
  "TrainingError",
  "ModelFolderError",
  "ModelConfigError",
  "SafetensorsError",
  "GgufError",
  "FileBytesError",
  "PullError",
  "TokenizerError",
  "RequestError",
  "JsonSchemaError",
  "PatternError",
  "ListenError",
  "LoadTestError",
  "ChipError",
  "NoCompilerError",
  "NoOpenClError",
  "NoCudaError",
  "CudaError",
  "OutOfMemoryError",
  "MemoryLimitError",
  "CompileError",
  "KernelError",
]);

/** Errors for whoever writes kernels, operators or the compiler: in a command they are bugs and show their stack. */
export const FOR_AUTHORS: ReadonlySet<string> = new Set([
  "AnomalyError",
  "ArgumentError",
  "SchemaError",
  "LaunchError",
  "CaptureError",
  "ScopeError",
  "DisposedError",
  "KernelFault",
  "DifferentiateError",
  "IrTypeError",
  "IrParseError",
  "IrVerifyError",
  "FormError",
  "TooWide",
]);

/** An error of the operating system (`ENOSPC`, `EACCES`), not one of Node's own (`ERR_…`). */
const isSystemError = (error: Error): boolean =>
  "code" in error && typeof error.code === "string" && /^E(?!RR_)[A-Z0-9]+$/.test(error.code);

/** The text for stderr, and the exit code: 2 for wrong words, 1 for everything else. */
export function describeError(error: unknown): { text: string; code: number } {
  if (!(error instanceof Error)) return { text: `vexil: ${String(error)}`, code: 1 };
  if (error instanceof UsageError)
    return { text: `${error.message}\nRun the command with --help to see what it takes.`, code: 2 };
  const clean = FOR_USERS.has(error.name) || isSystemError(error);
  return {
    text:
      clean && !process.env["VEXIL_DEBUG"]
        ? `vexil: ${error.message}`
        : `vexil: ${error.stack ?? error.message}`,
    code: 1,
  };
}
