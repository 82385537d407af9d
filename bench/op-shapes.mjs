// The arguments that operators are timed with where their declaration names none (`benchmarks` of the table): the default
// of their family, found from the schema by trying kinds of operands until the operator takes them.

const ROWS = 2048;
const COLS = 2048;
/** Edge of matrices that are multiplied. */
const EDGE = 1024;

/** Operands by kind, made once and shared; only operators that write in place get copies. */
export function operands(vexil, device) {
  const made = new Map();
  const once = (key, make) => {
    if (!made.has(key)) made.set(key, vexil.keep(make()));
    return made.get(key);
  };
  const { scope } = vexil;
  const options = { device };
  return {
    f32: (shape, i) =>
      once(`f32 ${shape} ${i}`, () =>
        scope(() =>
          vexil
            .rand(shape, { ...options, generator: new vexil.Generator(i + 1) })
            .mul(0.9)
            .add(0.05),
        ),
      ),
    i64: (shape, i, most = 8) =>
      once(`i64 ${shape} ${i} ${most}`, () =>
        scope(() =>
          vexil.randint(most, shape, { ...options, dtype: "i64", generator: new vexil.Generator(i + 9) }),
        ),
      ),
    bool: (shape, i) =>
      once(`bool ${shape} ${i}`, () =>
        scope(() => vexil.rand(shape, { ...options, generator: new vexil.Generator(i + 5) }).gt(0.5)),
      ),
    square: (i) => once(`square ${i}`, () => scope(() => vexil.randn([EDGE, EDGE], { ...options, generator: new vexil.Generator(i + 3) }))), // biome-ignore format: one line
  };
}

const isIndex = (name) => /^(index|indices|target|labels?|tokens?|experts)$/.test(name);
const isMask = (name) => /^(mask|condition)$/.test(name);

/** Kinds of operands to try: what a tensor argument gets by its name and place. */
function kinds(make) {
  const whole = [ROWS, COLS];
  const named = (usual) => (name, i) =>
    isMask(name) ? make.bool(whole, i) : isIndex(name) ? make.i64(whole, i) : usual(name, i);
  return [
    ["f32", named((_n, i) => make.f32(whole, i))],
    ["f32, vector indices", (n, i) => (isIndex(n) ? make.i64([ROWS], i) : isMask(n) ? make.bool(whole, i) : make.f32(whole, i))],
    ["f32 and vectors", (_n, i) => make.f32(i === 0 ? whole : [COLS], i)],
    ["i64", named((_n, i) => make.i64(whole, i))],
    ["bool", (_n, i) => make.bool(whole, i)],
    ["matrices", (_n, i) => make.square(i)],
    ["matrix and vector", (_n, i) => (i === 0 ? make.square(0) : make.f32([EDGE], i))],
    ["matrices behind a vector", (_n, i) => (i === 0 ? make.f32([EDGE], 0) : make.square(i))],
    ["batches", (_n, i) => make.f32([16, 256, 256], i)],
    ["a matrix, then batches", (_n, i) => (i === 0 ? make.f32([256, 256], 0) : make.f32([16, 256, 256], i))],
    ["heads", (_n, i) => make.f32([2, 8, 512, 64], i)],
    ["vectors", (_n, i) => make.f32([ROWS * COLS], i)],
    ["probabilities and classes", (n, i) => (isIndex(n) ? make.i64([ROWS], i, COLS) : make.f32(whole, i))],
    ["table and indices", (n, i) => (isIndex(n) ? make.i64([ROWS], i, ROWS) : make.f32(whole, i))],
  ]; // biome-ignore format: a table
}

/** A value for an argument that is no tensor; undefined to leave it at its default. */
function plain(arg, round) {
  const { kind, list } = arg.type;
  if (arg.default !== undefined) return undefined;
  const dims = /dim|axis/.test(arg.name);
  if (kind === "int" && list) {
    if (/size|shape/.test(arg.name)) return [ROWS, COLS];
    if (/^dims$/.test(arg.name)) return round === 0 ? [1, 0] : [1];
    return round === 0 ? [1] : /shape/.test(arg.name) ? [COLS] : [1, 1];
  }
  if (kind === "int") return dims ? 1 : round === 0 ? 1 : 2;
  if (kind === "Scalar" || kind === "float") return 0.5;
  if (kind === "bool") return false;
  if (kind === "ScalarType") return "f32";
  if (kind === "str") return "mean";
  return null;
}

/** Argument lists to try, in order. */
export function* candidates(op, make) {
  if (op.benchmarks) for (const args of op.benchmarks()) yield { kind: "declared", args };
  for (const round of [0, 1])
    for (const [kind, tensorFor] of kinds(make)) {
      let tensors = 0;
      const named = {};
      const args = [];
      for (const arg of op.schema.args) {
        let value;
        if (arg.type.kind === "Tensor" && arg.default === undefined) {
          value = arg.type.list
            ? [tensorFor(arg.name, tensors++), tensorFor(arg.name, tensors++)]
            : tensorFor(arg.name, tensors++);
        } else value = plain(arg, round);
        if (arg.keywordOnly) {
          if (value !== undefined) named[arg.property] = value;
        } else args.push(value);
      }
      while (args.length > 0 && args.at(-1) === undefined) args.pop();
      yield { kind, args: Object.keys(named).length > 0 ? [...args, named] : args };
    }
}

/** Multiplications and additions of operators whose floor is arithmetic; undefined for all others. */
export function operations(op, tensors, results) {
  const base = op.schema.base.replace(/^vexil::/, "").replace(/_$/, "");
  const out = results[0];
  if (out === undefined) return undefined;
  const last = (t) => t.shape.at(-1);
  if (/^(mm|bmm|matmul|linear|inner)$/.test(base)) return 2 * out.numel * last(tensors[0]);
  if (/^(addmm|baddbmm)$/.test(base)) return 2 * out.numel * last(tensors[1]);
  if (/^addbmm$/.test(base)) return 2 * out.numel * last(tensors[1]) * tensors[1].shape[0];
  // Each element of a convolution's result sums over a filter; each of a transposed one's operand is spread over one.
  if (/^conv[123]d$/.test(base)) return (2 * out.numel * tensors[1].numel) / tensors[1].shape[0];
  if (/^conv_transpose[123]d$/.test(base))
    return (2 * tensors[0].numel * tensors[1].numel) / tensors[1].shape[0];
  if (base === "scaled_dot_product_attention") return 4 * tensors[0].numel * tensors[1].shape.at(-2);
  return undefined;
}
