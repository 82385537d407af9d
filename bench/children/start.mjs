// One process of the start suite: runs operators that need 50 kernels, waits for the last result, and prints what the
// compiler had to do.

// By the package's name, as programs import it.
import * as vexil from "vexil";

const v = { ...vexil };
const { compileStats } = v;

const UNARY = ["abs", "neg", "exp", "exp2", "log", "log2", "log1p", "sqrt", "rsqrt", "sin", "cos", "tanh", "sigmoid", "erf", "relu", "silu", "floor", "ceil", "round", "square", "reciprocal"]; // biome-ignore format: a list
const BINARY = ["add", "sub", "mul", "div"];
const WANTED = 50;

const shape = [32, 64];
const data = Float32Array.from({ length: 2048 }, (_, i) => 0.5 + (i % 97) / 97);
const half = v.tensor(data, { shape, dtype: "f16" });
const full = v.tensor(data, { shape });
let last = full;
for (const x of [full, half]) {
  for (const op of UNARY) last = v[op](x);
  for (const op of BINARY) last = v[op](x, x);
  last = v.softmax(x, -1);
  last = v.sum(x, -1);
  last = v.rmsNorm(x, [64]);
}
last = v.mm(full, full.t());
await last.data();
const used = compileStats.compiled + compileStats.fromDisk;
if (used < WANTED) throw new Error(`these operators need only ${used} kernels`);
console.log(JSON.stringify({ used, ...compileStats }));
process.exit(0);
