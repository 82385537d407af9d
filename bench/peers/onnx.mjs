// ONNX Runtime on the CPU: models of one node, written here, for the operators that it has. An optional peer with a package
// of its own (`peers/onnx`), because it is large.

import { createRequire } from "node:module";

const require = createRequire(new URL("./onnx/package.json", import.meta.url));

/** Our operators by ONNX's: the node's type and attributes. */
const NODES = {
  "add.Tensor": ["Add"], "sub.Tensor": ["Sub"], "mul.Tensor": ["Mul"], "div.Tensor": ["Div"], "pow.Tensor_Tensor": ["Pow"],
  maximum: ["Max"], minimum: ["Min"], abs: ["Abs"], neg: ["Neg"], exp: ["Exp"], log: ["Log"], sqrt: ["Sqrt"], reciprocal: ["Reciprocal"],
  sin: ["Sin"], cos: ["Cos"], tanh: ["Tanh"], sigmoid: ["Sigmoid"], erf: ["Erf"], relu: ["Relu"], floor: ["Floor"], ceil: ["Ceil"],
  round: ["Round"], sign: ["Sign"], gelu: ["Gelu"], softplus: ["Softplus"], mm: ["MatMul"], bmm: ["MatMul"], matmul: ["MatMul"],
  isnan: ["IsNaN"], tan: ["Tan"], sinh: ["Sinh"], cosh: ["Cosh"], asin: ["Asin"], acos: ["Acos"], atan: ["Atan"], mish: ["Mish"],
  hardswish: ["HardSwish"], elu: ["Elu"], selu: ["Selu"], where: ["Where"], "where.self": ["Where"], gather: ["GatherElements", { axis: 1 }],
  cat: ["Concat", { axis: 0 }],
}; // biome-ignore format: a table

// --- Protocol buffers: as much as a model of one node needs ---

const varint = (n) => {
  const out = [];
  let v = BigInt.asUintN(64, BigInt(n));
  do {
    out.push(Number(v & 127n) | (v > 127n ? 128 : 0));
    v >>= 7n;
  } while (v > 0n);
  return out;
};
const number = (field, n) => [...varint(field << 3), ...varint(n)];
const bytes = (field, data) => [...varint((field << 3) | 2), ...varint(data.length), ...data];
const text = (field, s) => bytes(field, [...new TextEncoder().encode(s)]);

const TYPES = { f32: 1, f64: 11, i64: 7, i32: 6, bool: 9 };
const ARRAYS = { f32: "float32", f64: "float64", i64: "int64", i32: "int32", bool: "bool" };
const VERSION = 20;

function valueInfo(name, dtype, shape) {
  const dims = shape.flatMap((n) => bytes(1, number(1, n)));
  const tensor = [...number(1, TYPES[dtype]), ...bytes(2, dims)];
  return [...text(1, name), ...bytes(2, bytes(1, tensor))];
}

function model([type, attributes = {}], inputs) {
  const names = inputs.map((_, i) => `x${i}`);
  const attribute = ([name, value]) => [...text(1, name), ...number(3, value), ...number(20, 2)];
  const node = [
    ...names.flatMap((n) => text(1, n)),
    ...text(2, "y"),
    ...text(4, type),
    ...Object.entries(attributes).flatMap((a) => bytes(5, attribute(a))),
  ];
  const output = bytes(12, text(1, "y"));
  const graph = [
    ...bytes(1, node),
    ...text(2, "one"),
    ...inputs.flatMap((t, i) => bytes(11, valueInfo(names[i], t.dtype, t.shape))),
    ...output,
  ];
  return Uint8Array.from([...number(1, 9), ...bytes(7, graph), ...bytes(8, number(2, VERSION))]);
}

/** @returns `{ name, version, operator(name, inputs) }`; `operator` gives undefined for what ONNX Runtime does not take */
export async function open(threads) {
  const { InferenceSession, Tensor } = require("onnxruntime-node");
  return {
    name: "ONNX Runtime",
    version: require("onnxruntime-node/package.json").version,
    async operator(name, inputs) {
      const node = NODES[name];
      if (!node || !inputs.every((t) => t.dtype in TYPES)) return undefined;
      let session;
      try {
        session = await InferenceSession.create(model(node, inputs), {
          intraOpNumThreads: threads,
          interOpNumThreads: 1,
        });
      } catch {
        return undefined;
      }
      const feeds = {};
      for (const [i, t] of inputs.entries())
        feeds[`x${i}`] = new Tensor(ARRAYS[t.dtype], await t.data(), [...t.shape]);
      // Results go into memory that is there already, as ours come from a pool.
      const { y } = await session.run(feeds);
      const fetches = { y: new Tensor(y.type, y.data.slice(), y.dims) };
      y.dispose();
      return {
        once: async () => {
          await session.run(feeds, fetches);
        },
        close: () => session.release(),
      };
    },
  };
}
