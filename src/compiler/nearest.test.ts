import { expect, it } from "vitest";
import { didYouMean, nearest } from "./nearest.js";

it("finds the name that was meant", () => {
  const names = ["port", "host", "learning_rate", "steps", "batch_size"];
  expect(nearest("prot", names)).toBe("port");
  expect(nearest("learningRate", names)).toBe("learning_rate");
  expect(nearest("batchsize", names)).toBe("batch_size");
  expect(nearest("zzz", names)).toBeUndefined();
  expect(didYouMean("hots", names)).toBe(', did you mean "host"?');
  expect(didYouMean("completely", names)).toBe("");
});
