// What an eager operator costs on the host, layer by layer: from the call to the kernel, and what recording for gradients adds.
// The driver's launch is replaced by one that launches nothing, except where the row says otherwise.

import { backward, operatorInfo } from "../../dist/tensor/index.js";
import { allocate } from "../../dist/runtime/index.js";
import { normal } from "../harness.mjs";

export const jobs = () => ["cpu", "wasm"].map((chip) => ({ chip, threads: 1 }));

const BATCH = 200;
/** Calls before the first sample: what is measured is a program that has run for a while. */
const WARM = 20_000;
/** From call to kernel, and what gradients may add to it (issue: an eager operator's host cost). */
const CALL_MS = 0.005;
const GRADIENT_MS = 0.003;
const SIDE = 16;
/** Operators of a graph whose backward pass is timed. */
const DEPTH = 64;

export async function run(bench) {
  const { vexil } = bench;
  const chip = await vexil.loadChip(bench.chip);
  const data = [normal(SIDE * SIDE, 1), normal(SIDE * SIDE, 2)];
  const make = (d, requiresGrad) =>
    vexil.tensor(d, { shape: [SIDE, SIDE], device: bench.chip, requiresGrad });
  const [x, y] = data.map((d) => make(d, false));
  const w = make(data[0], true);
  const shape = `${SIDE} x ${SIDE} f32`;
  const measure = async (sides) => {
    for (const f of Object.values(sides)) for (let i = 0; i < WARM; i++) f();
    return bench.compare(
      Object.entries(sides).map(([name, f]) => ({ name, each: BATCH, once: many(f) })),
      { rest: false },
    );
  };
  const row = (work, ours, targets = []) => bench.row({ work, shape, ours, targets });

  for (const [name, args, schema] of [
    ["add", [x, y], "add.Tensor"],
    ["mm", [x, y], "mm"],
    ["softmax", [x, 1], "softmax.int"],
  ]) {
    const op = operatorInfo(schema);
    const call = vexil[name];
    const recorded = args.map((a) => (a === x ? w : a));
    call(...args).dispose();
    const [launch, release] = lastLaunch(chip, () => call(...args));
    const real = await measure({ launch });
    release();
    const done = launchingNothing(chip);
    const got = await measure({
      bind: () => op.binder.bind(args.slice()),
      allocate: () => allocate(chip, 4 * SIDE * SIDE).dispose(),
      call: () => call(...args).dispose(),
      choose: () => op.run(...op.binder.bind(args.slice())).dispose(),
      recorded: () => call(...recorded).dispose(),
    });
    done();
    await row(`${name}: arguments bound`, got.bind);
    await row(`${name}: result allocated and freed`, got.allocate);
    await row(`${name}: dispatched (the rest of the call)`, rest(got.call, got.bind, got.allocate));
    await row(`${name}: launched, kernel and all`, real.launch);
    await row(`${name}: from call to kernel`, got.call, [{ limitMs: CALL_MS }]);
    await row(`${name}: from call to kernel, kernel and block sizes chosen anew`, got.choose, [
      { limitMs: CALL_MS },
    ]);
    await row(`${name}: what recording for gradients adds`, rest(got.recorded, got.call), [
      { limitMs: GRADIENT_MS },
    ]);
  }

  // Additions hand their gradient on: what is left is the engine's own work. The product makes the leaf's gradient.
  const chain = () => {
    let t = vexil.mul(w, y);
    for (let i = 1; i < DEPTH; i++) t = vexil.add(t, y);
    return t;
  };
  const backwards = () => {
    backward([chain()], [seed]);
    w.grad = null;
  };
  const done = launchingNothing(chip);
  const seed = make(data[1], false);
  for (let i = 0; i < WARM / DEPTH; i++) vexil.scope(backwards);
  const got = await bench.compare(
    [
      { name: "forward", each: DEPTH, once: () => vexil.scope(() => void chain()) },
      {
        name: "both",
        each: DEPTH,
        once: () => vexil.scope(backwards),
      },
    ],
    { rest: false },
  );
  done();
  await row(`a chain of ${DEPTH} additions: backward, for each`, rest(got.both, got.forward), [
    { limitMs: GRADIENT_MS },
  ]);
}

const many = (f) => () => {
  for (let i = 0; i < BATCH; i++) f();
};

/** A measure less others that it contains; never below 0. */
function rest(whole, ...parts) {
  if (whole.error) return whole;
  const less = (key) =>
    Math.max(
      0,
      parts.reduce((ms, p) => ms - (p.ms ?? 0), whole[key]),
    );
  return { ms: less("ms"), low: less("low"), high: less("high"), samples: whole.samples };
}

/** Takes the launches off a chip until the result is called. */
function launchingNothing(chip) {
  const { launch } = chip.driver;
  chip.driver.launch = () => {};
  return () => {
    chip.driver.launch = launch;
  };
}

/** The launch that `f` makes, to be made again; its result stays until the second function is called. */
function lastLaunch(chip, f) {
  const { driver } = chip;
  const { launch } = driver;
  let last;
  driver.launch = (exe, gx, gy, gz, values, offsets) => {
    last = [exe, gx, gy, gz, values.slice(), offsets.slice()];
    launch.apply(driver, last);
  };
  const out = f();
  driver.launch = launch;
  const [exe, gx, gy, gz, values, offsets] = last;
  return [() => driver.launch(exe, gx, gy, gz, values, offsets), () => out.dispose()];
}
