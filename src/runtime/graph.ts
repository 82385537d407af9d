// Graph capture: the launches of a decode or training step, recorded once and repeated with one call. What the host did
// to find them (dispatch, shapes, memory) is not repeated, so shapes, addresses and scalar arguments stay as they were.

import type { CapturedWork, Chip, DeviceBuffer, Driver, Executable } from "./driver.js";
import { type Arena, poolOf } from "./pool.js";
import { defaultChip } from "./registry.js";
import { scope } from "./scope.js";

/** Work that cannot be recorded. */
export class CaptureError extends Error {
  override name = "CaptureError";
}

/** Recorded work. Made by {@link capture}. */
export class Graph<T> {
  private disposed = false;

  /** @internal */
  constructor(
    /** What the captured function returned: tensors whose contents each replay writes anew. */
    readonly result: T,
    private readonly work: CapturedWork,
    private readonly arena: Arena,
  ) {}

  /** Enqueues the recorded work. */
  replay(): void {
    if (this.disposed) throw new CaptureError("this graph has been disposed");
    this.work.launch();
  }

  /** Frees the recording and the memory of what it computes on the way. The result's tensors stay valid. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.work.dispose();
    this.arena.close();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/**
 * Records what `fn` enqueues on a chip, without running it. Tensors that `fn` reads must stay alive and are read anew at
 * each replay: write new inputs into them (`x.copy_(…)`). Random numbers repeat: the streams' positions are part of
 * the recording.
 *
 * Run `fn` once before, so that its kernels are compiled and its caches are warm. Throws {@link CaptureError} when
 * `fn` reads a tensor, writes host data to one, or is asynchronous.
 *
 * @example
 * const step = capture(() => model.forward(token));
 * step.replay();
 * const logits = await step.result.data();
 */
export function capture<T>(fn: () => T, options: { chip?: Chip } = {}): Graph<T> {
  const chip = options.chip ?? defaultChip();
  const arena = poolOf(chip).openArena();
  const recording = chip.driver.beginCapture ? native(chip.driver) : recordCalls(chip);
  let result: T;
  let work: CapturedWork;
  try {
    try {
      result = scope(fn);
    } finally {
      arena.seal();
    }
    const waiting = (result as { then?: unknown } | undefined)?.then;
    if (typeof waiting === "function") {
      // Its own failure, most likely a refused read, is told by this error.
      (result as unknown as Promise<unknown>).then(undefined, () => {});
      throw new CaptureError("a captured function cannot be asynchronous: nothing runs while it is recorded");
    }
    work = recording.end();
  } catch (e) {
    recording.abandon();
    arena.close();
    throw e;
  }
  return new Graph(result, work, arena);
}

interface Recording {
  end(): CapturedWork;
  abandon(): void;
}

function native(driver: Driver): Recording {
  driver.beginCapture!();
  let open = true;
  const end = (): CapturedWork => {
    open = false;
    return driver.endCapture!();
  };
  return {
    end,
    abandon: () => {
      if (!open) return;
      try {
        end().dispose();
      } catch {
        // The reason why it is abandoned says more.
      }
    },
  };
}

/** For drivers that record nothing: their calls are kept in a list and made again. */
function recordCalls(chip: Chip): Recording {
  const { driver } = chip;
  const calls: (() => void)[] = [];
  const refuse = (what: string) => (): never => {
    throw new CaptureError(`a graph that is captured cannot ${what}: do it before, or after`);
  };
  const launch = driver.launch.bind(driver);
  const copy = driver.copy.bind(driver);
  const during: Partial<Driver> = {
    launch(
      exe: Executable,
      x: number,
      y: number,
      z: number,
      values: readonly (DeviceBuffer | number | bigint)[],
      offsets: readonly number[],
    ) {
      // The caller uses both arrays again.
      const [v, o] = [values.slice(), offsets.slice()];
      calls.push(() => launch(exe, x, y, z, v, o));
    },
    copy(dst, dstByte, src, srcByte, bytes) {
      calls.push(() => copy(dst, dstByte, src, srcByte, bytes));
    },
    write: refuse("write host data"),
    read: refuse("read"),
    ...(driver.readSync ? { readSync: refuse("read") } : {}),
  };
  // Own properties stand before the driver's methods until they are deleted.
  Object.assign(driver, during);
  const restore = (): void => {
    for (const name of Object.keys(during)) delete (driver as unknown as Record<string, unknown>)[name];
  };
  return {
    end: () => {
      restore();
      return {
        launch: () => {
          for (const call of calls) call();
        },
        dispose: () => {
          calls.length = 0;
        },
      };
    },
    abandon: restore,
  };
}
