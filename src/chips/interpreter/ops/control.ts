// Loops and branches. Carried values live in the arguments of the loop's blocks and are copied there on yield.

import type { Value } from "../../../compiler/ir/index.js";
import { copyElements, type Elements } from "../elements.js";
import { type Emit, interpret, type Step } from "../emit.js";
import { fault } from "../fault.js";

/** Copies all at once: a source that is also a target is saved first. */
function parallelCopy(targets: readonly Elements[], sources: readonly Elements[]): Step {
  const pairs: [Elements, Elements][] = [];
  const saves: [Elements, Elements][] = [];
  targets.forEach((target, i) => {
    const source = sources[i]!;
    if (source === target) return;
    if (targets.includes(source)) {
      const copy = source.slice();
      saves.push([copy, source]);
      pairs.push([target, copy]);
    } else pairs.push([target, source]);
  });
  const all = [...saves, ...pairs];
  if (all.length === 0) return () => {};
  if (all.length === 1) {
    const [to, from] = all[0]!;
    return () => copyElements(to, from);
  }
  return () => {
    for (const [to, from] of all) copyElements(to, from);
  };
}

const arrays = (e: Emit, values: readonly Value[]): Elements[] => values.map((v) => e.array(v));

interpret("for", (op, e) => {
  const body = op.regions[0]!;
  const [lo, hi, step] = op.operands.slice(0, 3).map((v) => e.array(v)) as [Elements, Elements, Elements];
  const [iv, ...carried] = arrays(e, body.args) as [Elements, ...Elements[]];
  const init = parallelCopy(carried, arrays(e, op.operands.slice(3)));
  op.results.forEach((r, i) => {
    e.alias(r, carried[i]!);
  });
  const turn = e.block(body);
  const next = parallelCopy(carried, arrays(e, body.terminator!.operands));
  return () => {
    const by = step[0]!;
    if (by <= 0) throw fault(e.func, e.state, op, `has the step ${by}; a step must be positive`);
    const end = hi[0]!;
    init();
    // Numbers or bigints alike. The counter is kept apart, so that it cannot wrap.
    for (let i = lo[0]! as number; i < end; i += by as number) {
      iv[0] = i;
      turn();
      next();
    }
  };
});

interpret("while", (op, e) => {
  const [test, body] = op.regions as [(typeof op.regions)[0], (typeof op.regions)[0]];
  const state = arrays(e, test.args);
  // Both regions see the same carried values.
  body.args.forEach((v, i) => {
    e.alias(v, state[i]!);
  });
  const init = parallelCopy(state, arrays(e, op.operands));
  op.results.forEach((r, i) => {
    e.alias(r, state[i]!);
  });
  const check = e.block(test);
  const goOn = e.array(test.terminator!.operands[0]!);
  const turn = e.block(body);
  const next = parallelCopy(state, arrays(e, body.terminator!.operands));
  return () => {
    init();
    for (;;) {
      check();
      if (goOn[0] === 0) return;
      turn();
      next();
    }
  };
});

interpret("if", (op, e) => {
  const cond = e.array(op.operands[0]!);
  const results = op.results.map((r) => e.array(r));
  const branches = op.regions.map((b): Step => {
    const run = e.block(b);
    const copy = parallelCopy(results, arrays(e, b.terminator!.operands));
    return () => {
      run();
      copy();
    };
  }) as [Step, Step];
  return () => (cond[0] !== 0 ? branches[0]() : branches[1]());
});
