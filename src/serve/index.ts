// Serving: the engine, in a worker or in this thread, and the OpenAI-compatible HTTP server around it.
export * from "./api.js";
export { loadEngine, LocalEngine } from "./engine.js";
export { type AppOptions, createApp } from "./http.js";
export { ListenError, type ListenOptions, listen, type RunningServer } from "./server.js";
export { startEngine } from "./worker-engine.js";
export type { EngineOptions } from "./worker-protocol.js";
