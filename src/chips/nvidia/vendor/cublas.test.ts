// Where cuBLAS is looked for, and what is said when it is not there. Its values are checked on GPUs (`bench/nvidia/run.sh vendor`).

import { afterEach, expect, it } from "vitest";
import { cublasFiles, hasCublas } from "./cublas.js";

const NAMES = ["VEXIL_CUBLAS", "CUDA_HOME", "CUDA_PATH"] as const;
const before = NAMES.map((n) => process.env[n]);
afterEach(() => {
  NAMES.forEach((n, i) => {
    if (before[i] === undefined) delete process.env[n];
    else process.env[n] = before[i];
  });
});

it.skipIf(process.platform === "win32")(
  "looks where the loader does, then in the toolkit's folders, newest first",
  () => {
    for (const n of NAMES) delete process.env[n];
    process.env["CUDA_HOME"] = "/opt/cuda";
    expect(cublasFiles()).toEqual([
      "libcublas.so.13",
      "libcublas.so.12",
      "/opt/cuda/lib64/libcublas.so.13",
      "/opt/cuda/lib64/libcublas.so.12",
      "/usr/local/cuda/lib64/libcublas.so.13",
      "/usr/local/cuda/lib64/libcublas.so.12",
    ]);
  },
);

it("takes the named file alone, and says what is wrong with it", () => {
  process.env["VEXIL_CUBLAS"] = "/nowhere/libcublas.so.13";
  expect(cublasFiles()).toEqual(["/nowhere/libcublas.so.13"]);
  expect(hasCublas).toThrow('VEXIL_CUBLAS is "/nowhere/libcublas.so.13", and there is no such file');
  // This file is no library.
  process.env["VEXIL_CUBLAS"] = import.meta.filename;
  expect(hasCublas).toThrow(/VEXIL_CUBLAS is ".*cublas\.test\.ts", which does not load: /);
});
