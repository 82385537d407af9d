// Values of products and attention on a GPU against sums in f64 on the host, at sampled places: sizes that the operator tests
// leave out because they are slow on a CPU.

const SHAPES = [
  [128, 128, 64],
  [257, 130, 96],
  [64, 64, 200],
  [16, 512, 333],
  [300, 40, 1000],
  [256, 512, 512],
  [384, 1024, 1040],
  [129, 272, 4096],
  // More blocks than multiprocessors.
  [2100, 4112, 192],
  [2600, 2056, 1040],
];
/** Blocks that workgroups take in turn: few and many, odd counts, one turn of the sum, cut at the edges. They are repeated, and captured. */
const TURNS = [
  [384, 1024, 64],
  [2100, 4112, 192],
  [2600, 2064, 1040],
  [4080, 4176, 208],
  [640, 3072, 2048],
  [1000, 8192, 128],
  [3968, 3840, 72],
];
/** Launches that may run into each other, and replays of a graph of six. */
const [REPEATS, REPLAYS] = [60, 10];
/** Error over magnitude that rounding explains. */
const MOST = { f32: 2e-5, f16: 1e-3, bf16: 8e-3, tf32: 4e-3, i8: 1e-9 };

/** Prints one line a case; true if all are right. */
export async function check(vexil) {
  let right = true;
  const say = (what, error, most) => {
    right &&= error < most;
    console.log(error < most ? "ok" : "WRONG", what, error.toExponential(2));
  };
  for (const dtype of ["bf16", "f16", "f32", "tf32", "i8"])
    for (const [M, N, K] of SHAPES)
      for (const turned of ["nn", "nt", "tn", "tt"])
        say(
          `matmul ${dtype} ${M} ${N} ${K} ${turned}`,
          await product(vexil, dtype, [M, N, K], turned),
          MOST[dtype],
        );
  for (const dtype of ["bf16", "f16", "tf32"])
    for (const [M, N, K] of TURNS)
      for (const turned of ["nn", "nt", "tn", "tt"]) {
        const what = `matmul ${dtype} ${M} ${N} ${K} ${turned} repeated`;
        say(what, await product(vexil, dtype, [M, N, K], turned, repeated), MOST[dtype]);
      }
  for (const [dtype, N] of [
    ["bf16", 4112],
    ["bf16", 4160],
    ["f16", 4208],
  ])
    say(`matmul ${dtype} 2100 ${N} 192 behind gaps`, await behindGaps(vexil, dtype, N), MOST[dtype]);
  for (const dtype of ["bf16", "f16"])
    for (const [S, D, keyHeads, causal] of [
      [128, 128, 2, true],
      [129, 128, 1, true],
      [384, 64, 2, true],
      [300, 64, 1, false],
      [1024, 128, 2, true],
      [1000, 96, 2, true],
    ])
      for (const [what, error] of Object.entries(await attention(vexil, dtype, S, D, keyHeads, causal)))
        say(`attention ${what} ${dtype} S${S} D${D} ${causal ? "causal" : "full"} ${keyHeads}`, error, 2 * MOST[dtype]); // biome-ignore format: one line
  return right;
}

/** Right operands behind gaps in memory, whose last block has a part in which nothing lies: the copy engine must not look in front of them. */
async function behindGaps(vexil, dtype, N) {
  const [M, K, length, count] = [2100, 192, 2 ** 24, 14];
  const a = vexil.scope(() => vexil.randn([M, K]).to(dtype));
  // Memory of a graph is the driver's, piece by piece.
  const graph = vexil.capture(() =>
    Array.from({ length: count }, () => vexil.full([length], 0.5, { dtype })),
  );
  graph.replay();
  const pieces = graph.result;
  graph.dispose();
  const sums = await vexil.scope(() => a.to("f32").sum(-1)).data();
  pieces.forEach((t, i) => {
    if (i % 2 === 1) t.dispose();
  });
  vexil.emptyCache(vexil.defaultChip());
  let worst = 0;
  for (let i = 0; i < count; i += 2) {
    const b = pieces[i].narrow(0, 0, K * N).view([K, N]);
    const got = await vexil.scope(() => vexil.matmul(a, b)).data();
    for (let q = 0; q < 400; q++) {
      const [r, c] = [(q * 7919) % M, q % 2 === 0 ? N - 1 - (q % 64) : (q * 104729) % N];
      const error = Math.abs(got[r * N + c] - sums[r] / 2) / (Math.abs(sums[r]) + Math.sqrt(K));
      worst = Math.max(worst, error);
    }
    pieces[i].dispose();
  }
  vexil.emptyCache(vexil.defaultChip());
  return worst;
}

async function once(vexil, a, b) {
  return vexil.matmul(a, b).data();
}

/** The result if launches one after another, and a graph's replays, give the same bits where NaN stood before; else NaN. */
async function repeated(vexil, a, b) {
  const shape = [a.shape[0], b.shape[1]];
  const spoil = () => vexil.scope(() => void vexil.full(shape, Number.NaN, { dtype: a.dtype }));
  spoil();
  const first = vexil.matmul(a, b);
  const same = async (t) => (await vexil.scope(() => vexil.eq(t, first).all()).item()) === true;
  let right = true;
  for (let i = 0; i < REPEATS; i++) {
    if (i % 20 === 0) spoil();
    const t = vexil.matmul(a, b);
    if (i % 20 === 19) right &&= await same(t);
    t.dispose();
  }
  spoil();
  const graph = vexil.capture(() => Array.from({ length: 6 }, () => vexil.matmul(a, b)));
  for (let i = 0; i < REPLAYS; i++) graph.replay();
  for (const t of graph.result) {
    right &&= await same(t);
    t.dispose();
  }
  graph.dispose();
  const got = await first.data();
  first.dispose();
  return right ? got : got.fill(Number.NaN);
}

async function product(vexil, dtype, [M, N, K], turned, run = once) {
  const make = (shape) => {
    if (dtype === "i8") return vexil.randint(-8, 8, shape, { dtype });
    return /f32/.test(dtype) ? vexil.randn(shape) : vexil.randn(shape).to(dtype);
  };
  const [a0, b0] = [make([M, K]), make([K, N])];
  vexil.setFloat32MatmulPrecision(dtype === "tf32" ? "high" : "highest");
  const a = turned[0] === "t" ? a0.t().contiguous().t() : a0;
  const b = turned[1] === "t" ? b0.t().contiguous().t() : b0;
  const got = await run(vexil, a, b);
  const [A, X] = [await a0.data(), await b0.data()];
  let worst = 0;
  for (let q = 0; q < 400; q++) {
    const [i, j] = [(q * 7919) % M, (q * 104729) % N];
    let s = 0;
    for (let k = 0; k < K; k++) s += A[i * K + k] * X[k * N + j];
    if (dtype === "i8") s = (s << 24) >> 24;
    worst = Math.max(worst, Math.abs(got[i * N + j] - s) / (Math.abs(s) + Math.sqrt(K)));
  }
  vexil.emptyCache(vexil.defaultChip());
  return worst;
}

/** Forward and gradients: the fused kernels in half precision against the same kernels in f32, which use no matrix units. */
async function attention(vexil, dtype, S, D, keyHeads, isCausal) {
  const heads = 2;
  const make = (h) => vexil.randn([2, h, S, D]).to(dtype);
  const halves = [make(heads), make(keyHeads), make(keyHeads), make(heads)];
  const run = (ts) => {
    const [q, k, v, grad] = ts;
    for (const t of [q, k, v]) t.requiresGrad = true;
    const o = vexil.flashAttention(q, k, v, { isCausal });
    return [o, ...vexil.grad([o], [q, k, v], [grad])];
  };
  const wide = run(halves.map((t) => t.to("f32")));
  const narrow = run(halves);
  const out = {};
  for (const [i, name] of ["forward", "dq", "dk", "dv"].entries()) {
    const [x, y] = [await narrow[i].data(), await wide[i].data()];
    let [difference, size] = [0, 0];
    for (let n = 0; n < y.length; n++) {
      difference += (x[n] - y[n]) ** 2;
      size += y[n] ** 2;
    }
    out[name] = Math.sqrt(difference / size);
  }
  return out;
}
