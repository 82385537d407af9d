// The messages between the main thread and the engine's worker. Plain data only.

import type { ActivationDType } from "../nn/index.js";
import type { ModelDType } from "../models/load.js";
import type {
  Embedding,
  EngineInfo,
  EngineStats,
  GenerateEvent,
  GenerateRequest,
  Prompt,
  RequestError,
} from "./api.js";

export interface EngineOptions {
  /** The model's folder. */
  readonly model: string;
  /** A PEFT folder of low-rank adapters to add to the weights. */
  readonly adapter?: string;
  /** A chip's name; the default chip if absent. */
  readonly chip?: string;
  /** What the model's floats become on load; absent: they stay as they are stored. */
  readonly dtype?: ModelDType;
  /**
   * What activations of prompts are rounded to where weights are integers; what is made from them is computed with floats either way.
   * Default `keep`.
   */
  readonly promptActivations?: ActivationDType;
  /** Most requests that run at once; others wait. Default 32. */
  readonly maxSequences?: number;
  /** Tokens that the cache has room for. Default: what fits a quarter of the chip's memory, at most 2 GiB. */
  readonly cacheTokens?: number;
  /** Prompt tokens that run together in one step. Default 256. */
  readonly chunk?: number;
}

/** Calls with one answer. */
export interface Calls {
  readonly embed: { readonly argument: Prompt; readonly result: Embedding };
  readonly tokenize: { readonly argument: Prompt; readonly result: readonly number[] };
  readonly stats: { readonly argument: undefined; readonly result: EngineStats };
}

export type ToWorker =
  | { readonly type: "generate"; readonly id: number; readonly request: GenerateRequest }
  | {
      readonly type: "call";
      readonly id: number;
      readonly name: keyof Calls;
      readonly argument: Calls[keyof Calls]["argument"];
    }
  | { readonly type: "cancel"; readonly id: number }
  | { readonly type: "close" };

/** An error as plain data: enough to throw the same one on the other side. */
export interface WireError {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  readonly param?: string | null;
  readonly code?: string | null;
  readonly status?: RequestError["status"];
}

export type FromWorker =
  | { readonly type: "ready"; readonly info: EngineInfo }
  | { readonly type: "failed"; readonly error: WireError }
  | { readonly type: "event"; readonly id: number; readonly event: GenerateEvent }
  | { readonly type: "result"; readonly id: number; readonly result: Calls[keyof Calls]["result"] }
  | { readonly type: "error"; readonly id: number; readonly error: WireError };
