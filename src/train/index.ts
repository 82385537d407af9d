// Training: configuration, data, the loop, checkpoints and progress.
export * from "./config.js";
export * from "./data.js";
export * from "./evaluate.js";
export * from "./progress.js";
export * from "./run.js";
export { TrainingError, type TrainEvent, type TrainOptions, train, trainStep } from "./trainer.js";
