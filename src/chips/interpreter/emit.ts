// What the op families of the interpreter share: the state of a running program, and how an op becomes a step.

import type { Block, DType, Func, Op, TileType, Value } from "../../compiler/ir/index.js";
import { numel } from "../../compiler/ir/index.js";
import type { Elements } from "./elements.js";

/** Executes one op, reading and writing arrays that were fixed when the kernel was loaded. */
export type Step = () => void;

/** A buffer parameter during a launch. */
export interface Binding {
  readonly name: string;
  readonly dtype: DType;
  /** The whole buffer as elements. */
  view: Elements;
  /** The element that offset 0 means. */
  base: number;
}

/** What changes from launch to launch and from program to program. */
export interface State {
  /** i32 scalars; ops alias them as their results. */
  readonly programId: readonly [Int32Array, Int32Array, Int32Array];
  readonly numPrograms: readonly [Int32Array, Int32Array, Int32Array];
}

export interface Emit {
  readonly func: Func;
  readonly state: State;
  /** The array of a value, made on first request. */
  array(v: Value): Elements;
  /** Makes `v` share an array. */
  alias(v: Value, a: Elements): void;
  buffer(v: Value): Binding;
  /** A block's ops, without its terminator. */
  block(b: Block): Step;
}

/** Makes an op's step; `undefined` when there is nothing to do at run time. */
export type OpMaker = (op: Op, e: Emit) => Step | undefined;

const makers = new Map<string, OpMaker>();

export function interpret(opcodes: string | readonly string[], make: OpMaker): void {
  for (const opcode of typeof opcodes === "string" ? [opcodes] : opcodes) makers.set(opcode, make);
}

export const makerOf = (opcode: string): OpMaker | undefined => makers.get(opcode);

export const tileType = (v: Value): TileType => v.type as TileType;
export const sizeOf = (v: Value): number => numel(tileType(v).shape);
