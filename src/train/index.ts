// Training: configuration, data, the loop, checkpoints and progress.
export * from "./config.js";
export * from "./data/index.js";
export * from "./evaluate.js";
export * from "./events.js";
export type { Plan } from "./dry-run.js";
export { planText } from "./plan-text.js";
export * from "./progress.js";
export * from "./run.js";
export * from "./schedule.js";
export { type Setup, setUp } from "./setup.js";
export * from "./step.js";
export * from "./tokenizer/bpe.js";
export { train } from "./trainer.js";
