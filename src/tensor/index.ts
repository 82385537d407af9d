// Tensors, their dtypes and views, gradients, and the table of operators. What computes stands in `ops/`.

import { installMethods } from "./operator.js";
import "./views.js";
import "./splits.js";
import "./view-copies.js";
import "./indexing.js";

installMethods();

export * from "./dtype.js";
export { dispose, eachTensor, keep } from "./lifetime.js";
export {
  empty,
  emptyLike,
  reshaped,
  emptyStrided,
  type FileRange,
  fromBytes,
  fromFile,
  scalarTensor,
  tensor,
  type NestedData,
  type TensorOptions,
  writeBytes,
} from "./factory.js";
export { constantTensor, zerosLike as constantZerosLike } from "./fill.js";
export { decode, encode, type SourceArray, type TensorData } from "./host.js";
export { isTensor, Tensor } from "./tensor.js";
export {
  enableGrad,
  inferenceMode,
  isGradEnabled,
  isInferenceMode,
  noGrad,
  setGradEnabled,
} from "./grad-mode.js";
export { AnomalyError, detectAnomaly, setDetectAnomaly } from "./anomaly.js";
export { checkpoint, type CheckpointOptions } from "./checkpoint.js";
export { backward, grad, type BackwardOptions, type GradOptions } from "./engine.js";
export { customFunction, type CustomContext, type CustomFunction } from "./record.js";
export type { BackwardContext, GradHook, InputGradients, TensorMeta } from "./node.js";
export {
  disable,
  enable,
  trace,
  useOps,
  withInterceptor,
  type Interceptor,
  type OperatorRecord,
  type TraceHook,
  type UseOpsOptions,
} from "./dispatch.js";
export {
  addImplementation,
  bindByName,
  callOperator,
  hasOperator,
  installMethods,
  operator,
  operatorInfo,
  operators,
  overloads,
  type Derivative,
  type Implementation,
  type Method,
  type OpInfoEntry,
  type Operator,
  type Overloads,
  type OperatorDefinition,
  type OperatorInfo,
  type Stage,
} from "./operator.js";
export { OperatorLog, type OperatorLogRow } from "./operator-log.js";
export { ArgumentError } from "./bind.js";
export {
  camelCase,
  parseSchema,
  printSchema,
  SchemaError,
  type Schema,
  type SchemaArgument,
} from "./schema.js";
export * from "./layout.js";
export * from "./splits.js";
export * from "./view-copies.js";
export { ellipsis, slice, SliceIndex, type BasicIndex, type Index } from "./indexing.js";
export {
  asStrided,
  broadcastTo,
  diagonal,
  expand,
  expandAs,
  flatten,
  matrixTranspose,
  moveaxis,
  movedim,
  narrow,
  numpyT,
  permute,
  ravel,
  reshape,
  reshapeAs,
  select,
  squeeze,
  swapaxes,
  swapdims,
  transpose,
  unflatten,
  unfold,
  unsqueeze,
  view,
  viewAs,
} from "./views.js";
