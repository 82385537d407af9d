// The messages between the main thread and the engine's worker. Plain data only.

import type { EngineInfo, GenerateEvent, GenerateRequest } from "./api.js";

export interface EngineOptions {
  /** The model's folder. */
  readonly model: string;
  /** A chip's name; the default chip if absent. */
  readonly chip?: string;
}

export type ToWorker =
  | { readonly type: "generate"; readonly id: number; readonly request: GenerateRequest }
  | { readonly type: "cancel"; readonly id: number }
  | { readonly type: "close" };

/** An error as plain data: enough to throw the same one on the other side. */
export interface WireError {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  readonly param?: string | null;
  readonly code?: string | null;
  readonly status?: 400 | 404 | 413;
}

export type FromWorker =
  | { readonly type: "ready"; readonly info: EngineInfo }
  | { readonly type: "failed"; readonly error: WireError }
  | { readonly type: "event"; readonly id: number; readonly event: GenerateEvent }
  | { readonly type: "error"; readonly id: number; readonly error: WireError };
