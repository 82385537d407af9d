// A kernel made ready to run: every value has its array, every op is a closure over the arrays it touches.

import {
  type Block,
  type DType,
  type Func,
  numel,
  type Op,
  roundTo,
  type Value,
} from "../../compiler/ir/index.js";
import { CompileError } from "../../compiler/target.js";
import { elements, type Elements, memoryView } from "./elements.js";
import { type Binding, type Emit, makerOf, type State, type Step } from "./emit.js";
import "./ops/index.js";

/** One argument of a launch: memory with its first element, or a number (bigint for i64 and u64). */
export type Argument = { readonly data: ArrayBuffer; readonly offset: number } | number | bigint;

export interface Program {
  readonly name: string;
  /** Runs all programs of a grid, x fastest. Throws KernelFault on a wrong access. */
  run(gridX: number, gridY: number, gridZ: number, args: readonly Argument[]): void;
  /** Runs one program of a grid. */
  runOne(grid: Triple, program: Triple, args: readonly Argument[]): void;
}

type Triple = readonly [number, number, number];

/** Called after every op. */
export type Watch = (op: Op, emit: Emit) => void;

/** Prepares a function. It is read once; later changes of the IR have no effect. */
export function prepare(func: Func, watch?: Watch): Program {
  const arrays = new Map<Value, Elements>();
  const bindings = new Map<Value, Binding>();
  const one = () => new Int32Array(1);
  const state: State = { programId: [one(), one(), one()], numPrograms: [one(), one(), one()] };

  const emit: Emit = {
    func,
    state,
    array(v) {
      let a = arrays.get(v);
      if (!a) {
        if (v.type.kind !== "tile") throw new Error(`a buffer stands where kernel ${func.name} needs a tile`);
        a = elements(v.type.dtype, numel(v.type.shape));
        arrays.set(v, a);
      }
      return a;
    },
    alias(v, a) {
      arrays.set(v, a);
    },
    buffer(v) {
      const b = bindings.get(v);
      if (!b) throw new Error(`kernel ${func.name} accesses memory that is no parameter`);
      return b;
    },
    block: (b) => blockStep(b, emit, watch),
  };

  func.body.args.forEach((v, i) => {
    if (v.type.kind === "buffer") {
      const dtype = v.type.dtype;
      bindings.set(v, { name: func.paramNames[i]!, dtype, view: elements(dtype, 0), base: 0 });
    }
  });
  const body = emit.block(func.body);
  const params = func.body.args.map((v) => bindings.get(v) ?? { array: emit.array(v), dtype: v.type.dtype });

  const [idX, idY, idZ] = state.programId;
  const start = (gridX: number, gridY: number, gridZ: number, args: readonly Argument[]): void => {
    state.numPrograms[0][0] = gridX;
    state.numPrograms[1][0] = gridY;
    state.numPrograms[2][0] = gridZ;
    params.forEach((p, i) => {
      const a = args[i];
      if ("view" in p) bind(p, a as { data: ArrayBuffer; offset: number });
      else p.array[0] = scalarValue(p.dtype, a as number | bigint);
    });
  };
  return {
    name: func.name,
    runOne(grid, program, args) {
      start(...grid, args);
      [idX[0], idY[0], idZ[0]] = program;
      body();
    },
    run(gridX, gridY, gridZ, args) {
      start(gridX, gridY, gridZ, args);
      for (let z = 0; z < gridZ; z++)
        for (let y = 0; y < gridY; y++)
          for (let x = 0; x < gridX; x++) {
            idX[0] = x;
            idY[0] = y;
            idZ[0] = z;
            body();
          }
    },
  };
}

function blockStep(block: Block, emit: Emit, watch: Watch | undefined): Step {
  const steps: Step[] = [];
  for (const op of block.ops) {
    if (op === block.terminator && (op.opcode === "yield" || op.opcode === "condition")) break;
    const make = makerOf(op.opcode);
    if (!make)
      throw new CompileError(`kernel ${emit.func.name}: the interpreter does not know the op ${op.opcode}`);
    const step = make(op, emit);
    if (watch)
      steps.push(() => {
        step?.();
        watch(op, emit);
      });
    else if (step) steps.push(step);
  }
  if (steps.length === 1) return steps[0]!;
  const count = steps.length;
  return () => {
    for (let i = 0; i < count; i++) steps[i]!();
  };
}

/** Views of memory are kept with it: launches make no new ones. */
const views = new WeakMap<ArrayBuffer, Partial<Record<DType, Elements>>>();

function bind(b: Binding, a: { data: ArrayBuffer; offset: number }): void {
  let known = views.get(a.data);
  if (!known) {
    known = {};
    views.set(a.data, known);
  }
  b.view = known[b.dtype] ??= memoryView(b.dtype, a.data);
  b.base = a.offset;
}

/** A scalar argument as a value of the parameter's dtype. */
const scalarValue = (dtype: DType, a: number | bigint): number => roundTo(dtype, a) as number;
