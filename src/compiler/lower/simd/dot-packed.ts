// `dot` where one instruction multiplies several elements of a lane and adds them up: operands stand in the frame in their own
// dtype, elements that follow one another along K side by side. C[M,N] += A[M,K] @ B[K,N], in place, as in `dot.ts`.
//
// The left side stands row by row, so that the elements of a lane are one word of its row. The right side is brought into words
// first: word `k` of a column beside those of its neighbours, in panels of a register block's columns.

import { type DType, DTYPES, type Op, type Value } from "../../ir/index.js";
import { registerBlock, rowBlocks } from "./dot.js";
import type { Emitter } from "./emit.js";
import type { DotOp, Mem, Operand, Reg, VectorShape } from "./form.js";
import { type Cell, type Frame, NO_PANELS } from "./frame.js";
import { dtypeOf, isScalarValue, regKind, shapeOf } from "./kinds.js";
import { isView } from "./maps.js";
import { cellLoad, frameStore } from "./memory.js";
import { turn } from "./turn.js";
import { defOf, isLazy } from "./values.js";

/** How the operands of a `dot` are packed. */
interface Packing {
  readonly op: DotOp;
  /** What their elements are stored as. */
  readonly dtype: DType;
  /** Elements in a word of 32 bits. */
  readonly per: number;
  /** Words of a vector along N and along K. */
  readonly lanes: number;
  readonly kLanes: number;
  /** The chip's matrix unit takes it. */
  readonly tiles: boolean;
}

/** Rows and columns, and words along K, of a tile of a matrix unit. */
const TILE = 16;

/** The most words of a vector that `n` words fill; undefined where that is not even the narrowest vector. */
function lanesFor(shape: VectorShape, n: number): number | undefined {
  let lanes = shape.bytes / 4;
  while (lanes > n && lanes > 4) lanes /= 2;
  return lanes <= n && n % lanes === 0 ? lanes : undefined;
}

/** Whether the chip has an instruction for the product and it is large enough for vectors. */
function packingOf(op: Op, shape: VectorShape): Packing | undefined {
  const [a, b] = op.operands as [Value, Value];
  const d = dtypeOf(a);
  if (dtypeOf(b) !== d || (d !== "i8" && d !== "bf16")) return undefined;
  if (d === "bf16" && op.attrs["subnormals"]) return undefined;
  const [m, k] = shapeOf(a) as [number, number];
  const n = shapeOf(b)[1]!;
  const fits = m % TILE === 0 && n % TILE === 0 && k % ((TILE * 32) / DTYPES[d].bits) === 0;
  const tiles = fits ? shape.tiles?.[d] : undefined;
  const dot = tiles ?? shape.dots?.[d];
  if (!dot) return undefined;
  const dtype = dot === "dot2S" ? "i16" : d;
  const per = 32 / DTYPES[dtype].bits;
  const [lanes, kLanes] = [lanesFor(shape, n), lanesFor(shape, k / per)];
  return k % per === 0 && lanes && kLanes
    ? { op: dot, dtype, per, lanes, kLanes, tiles: tiles !== undefined }
    : undefined;
}

/** Whether the tile is computed element by element and whoever reads it as a whole is such a product. */
function packs(v: Value, shape: VectorShape): boolean {
  const op = defOf(v);
  if (!op || !isLazy(op) || isScalarValue(v)) return false;
  return [...v.uses].every((user) => {
    if (user.opcode === "dot") return packingOf(user, shape) !== undefined;
    if (user.opcode === "gather") return user.operands[0] !== v;
    if (user.opcode === "reshape") return isView(user);
    return user.opcode !== "scan" && user.opcode !== "sort";
  });
}

/** The dtype that a tile of packed elements stands in; undefined where nobody wants it packed. */
export function narrowOf(v: Value, shape: VectorShape): DType | undefined {
  if ((!shape.dots && !shape.tiles) || !packs(v, shape)) return undefined;
  const dots = [...v.uses].filter((u) => u.opcode === "dot");
  if (dots.length === 0 || !dots.every((u) => u.operands.slice(0, 2).every((x) => packs(x, shape))))
    return undefined;
  return packingOf(dots[0]!, shape)!.dtype;
}

/** What the parts of {@link emitPackedDot} share. */
interface Product {
  readonly e: Emitter;
  readonly frame: Frame;
  readonly shape: VectorShape;
  readonly how: Packing;
  readonly m: number;
  readonly n: number;
  /** Words along K. */
  readonly words: number;
  readonly kind: "i32" | "f32";
}

/** Added to signed bytes it makes them unsigned: 128 in each. */
const BIAS = 0x80808080 | 0;

/** Emits the product if its operands stand packed, and tells whether it has. */
export function emitPackedDot(
  e: Emitter,
  frame: Frame,
  shape: VectorShape,
  op: Op,
  a: Cell,
  b: Cell,
  c: Cell,
): boolean {
  const how = packingOf(op, shape);
  if (!how || !a.narrow || !b.narrow) return false;
  const [m, k] = shapeOf(op.operands[0]!) as [number, number];
  const n = shapeOf(op.operands[1]!)[1]!;
  const kind = regKind(dtypeOf(op.result)) as "i32" | "f32";
  const p: Product = { e, frame, shape, how, m, n, words: k / how.per, kind };
  if (how.tiles) emitTiles(p, a, b, c);
  else if (m === 1 && b.columns) emitRow(p, a, b, c);
  else emitBlocks(p, a, b, c);
  return true;
}

const add = (e: Emitter, x: Operand, y: Operand): Operand => e.op("add", "i32", 1, [x, y]);
const times = (e: Emitter, x: Operand, y: Operand): Operand => e.op("mul", "i32", 1, [x, y]);

/** One more vector of products in `sum`; the unsigned operand, if one is, comes first. */
function accumulate({ e, how }: Product, sum: Reg, x: Operand, y: Operand): void {
  e.out.push({ s: "op", op: how.op, dst: sum, args: [x, y, sum] });
}

/** A register of zeros. */
function zeros({ e, kind }: Product, lanes: number): Reg {
  const sum = e.reg(kind, lanes);
  e.assign(sum, 0);
  return sum;
}

/** The sum of a vector's lanes, halves first. */
function total({ e, kind }: Product, x: Operand, lanes: number): Operand {
  let vector = x;
  let width = lanes;
  for (; width > 4; width /= 2)
    vector = e.op("add", kind, width / 2, [0, 1].map((lane) => e.op("half", kind, width / 2, [vector], { lane }))); // biome-ignore format: one line
  const [w, y, z, u] = Array.from({ length: width }, (_, i) => e.extract(vector, kind, i));
  return e.op("add", kind, 1, [e.op("add", kind, 1, [w!, z!]), e.op("add", kind, 1, [y!, u!])]);
}

/** Where the sides of the products are unsigned and signed, bytes of the right side are 128 too large. */
const isBiased = ({ how }: Product): boolean => how.op === "dot4U";

/** What the bias of the right side adds to a row of the result: 128 times the sum of the left side's row. */
function biasOf(p: Product, a: Cell, row: Operand): Operand {
  const { e, frame, words } = p;
  const lanes = p.how.kLanes;
  const sum = zeros(p, lanes);
  const bias = e.reg("i32", lanes);
  e.assign(bias, BIAS);
  const start = times(e, row, words);
  e.loop(0, words, lanes, (k) => {
    accumulate(p, sum, bias, e.load("i32", lanes, frame.mem(a), "i32", add(e, start, k)));
  });
  return total(p, sum, lanes);
}

/** Columns of B in one turn of {@link emitRow}, and vectors of each. */
const COLUMNS = 4;
const UNROLL = 2;

/** One row times a matrix that stands column by column: vectors lie along k, and each result is the sum of one. */
function emitRow(p: Product, a: Cell, b: Cell, c: Cell): void {
  const { e, frame, n, words, kind } = p;
  const lanes = p.how.kLanes;
  const columns = Math.min(COLUMNS, n);
  const unroll = Math.min(UNROLL, words / lanes);
  const bias = isBiased(p) ? biasOf(p, a, 0) : 0;
  e.loop(0, n, columns, (column) => {
    const start = times(e, column, words);
    const sums = Array.from({ length: columns * unroll }, () => zeros(p, lanes));
    e.loop(0, words, lanes * unroll, (k) => {
      const at = add(e, start, k);
      for (let u = 0; u < unroll; u++) {
        const left = e.load("i32", lanes, frame.mem(a, 4 * u * lanes), "i32", k);
        for (let j = 0; j < columns; j++) {
          const right = e.load("i32", lanes, frame.mem(b, 4 * (j * words + u * lanes)), "i32", at);
          const first = isBiased(p) ? e.op("xor", "i32", lanes, [right, BIAS]) : right;
          accumulate(p, sums[j * unroll + u]!, first, left);
        }
      }
    });
    for (let j = 0; j < columns; j++) {
      const own: Operand[] = sums.slice(j * unroll, (j + 1) * unroll);
      const sum = total(p, own.reduce((x, y) => e.op("add", kind, lanes, [x, y])), lanes); // biome-ignore format: one line
      const place = frame.mem(c, 4 * j);
      const old = e.load(kind, 1, place, kind, column);
      const all = e.op("add", kind, 1, [old, sum]);
      e.store(kind, 1, place, kind, column, isBiased(p) ? e.op("sub", kind, 1, [all, bias]) : all);
    }
  });
}

/** The right side in words, and the columns of a panel. */
interface Right {
  readonly cell: Cell;
  readonly width: number;
}

/** Blocks of two by two tiles, straight from the operands and into C. */
function emitTiles(p: Product, a: Cell, b: Cell, c: Cell): void {
  const { e, frame, m, n, words } = p;
  const [rows, width] = [Math.min(m, 2 * TILE), Math.min(n, 2 * TILE)];
  const right: Right = { cell: frame.cell("i32", words * n), width };
  emitRight(p, b, right);
  e.loop(0, n, width, (column) => {
    e.loop(0, m, rows, (row) => {
      e.out.push({
        s: "tiles",
        op: p.how.op,
        rows,
        columns: width,
        words,
        sums: { mem: frame.mem(c), at: add(e, times(e, row, n), column), stride: n },
        left: { mem: frame.mem(a), at: times(e, row, words), stride: words },
        right: { mem: frame.mem(right.cell), at: times(e, column, words), stride: width },
      });
    });
  });
}

function emitBlocks(p: Product, a: Cell, b: Cell, c: Cell): void {
  const { e, frame, shape, m, n, words, kind } = p;
  const { lanes } = p.how;
  const most = shape.outerProducts;
  const own = most !== undefined && lanes * 4 === shape.bytes && m >= 4;
  const inRow = n / lanes;
  const block = own
    ? { rows: Math.min(m, most.rows), vectors: Math.min(inRow, most.vectors) }
    : registerBlock(shape.registers, m, inRow);
  const width = block.vectors * lanes;
  if (n % width) throw new Error(`lower/simd: ${n} columns are no whole panels of ${width}`);
  const right: Right = { cell: frame.cell("i32", words * n), width };
  emitRight(p, b, right);
  const bias = isBiased(p) ? frame.cell("i32", m) : undefined;
  if (bias) e.loop(0, m, 1, (row) => frameStore(e, "i32", frame.mem(bias), row, biasOf(p, a, row), 1));
  e.loop(0, n, width, (column) => {
    let first = 0;
    for (const [rows, blocks] of rowBlocks(m, block.rows)) {
      const end = first + rows * blocks;
      e.loop(first, end, rows, (row) => emitBlock(p, { rows, vectors: block.vectors, own }, row, column, a, right, c, bias)); // biome-ignore format: one line
      first = end;
    }
  });

  /** One block of C in registers, over all of k. */
  function emitBlock(
    p: Product,
    { rows, vectors, own }: { rows: number; vectors: number; own: boolean },
    row: Operand,
    column: Operand,
    a: Cell,
    right: Right,
    c: Cell,
    bias: Cell | undefined,
  ): void {
    const sums = Array.from({ length: rows }, () => Array.from({ length: vectors }, () => zeros(p, lanes)));
    const [left, start] = [times(e, row, words), times(e, column, words)];
    let unroll = 4;
    while (words % unroll) unroll /= 2;
    const turn = (k: Operand): void => {
      const [atA, atB] = [add(e, left, k), add(e, start, times(e, k, width))];
      for (let u = 0; u < unroll; u++) {
        const ys = Array.from({ length: vectors }, (_, v) =>
          e.load("i32", lanes, frame.mem(right.cell, 4 * (u * width + v * lanes)), "i32", atB),
        );
        for (let r = 0; r < rows; r++) {
          const x = e.load("i32", 1, frame.mem(a, 4 * (r * words + u)), "i32", atA);
          const spread = e.splat(x, lanes);
          for (let v = 0; v < vectors; v++) accumulate(p, sums[r]![v]!, ys[v]!, spread);
        }
      }
    };
    const products = {
      dot: p.how.op,
      sums,
      left: { mem: frame.mem(a), kind: "i32", at: left, row: words, step: 1 },
      right: { mem: frame.mem(right.cell), kind: "i32", at: start, row: lanes, step: width },
      steps: words,
    } as const;
    e.loop(0, words, unroll, turn, own ? { products } : {});
    const at = add(e, times(e, row, n), column);
    sums.forEach((list, r) => {
      const extra = bias && e.splat(e.load("i32", 1, frame.mem(bias, 4 * r), "i32", row), lanes);
      list.forEach((sum, v) => {
        const place: Mem = frame.mem(c, 4 * (r * n + v * lanes));
        let all = e.op("add", kind, lanes, [e.load(kind, lanes, place, kind, at), sum]);
        if (extra) all = e.op("sub", kind, lanes, [all, extra]);
        e.store(kind, lanes, place, kind, at, all);
      });
    });
  }
}

/** Brings the right side into words; where the products want it, its bytes are made unsigned. */
function emitRight(p: Product, b: Cell, { cell, width }: Right): void {
  const { e, frame, n, words, how } = p;
  const biased = (x: Operand, lanes: number): Operand =>
    isBiased(p) ? e.op("xor", "i32", lanes, [x, BIAS]) : x;
  // Where the words of `column` stand; neighbours follow, and the next word is a panel's width away.
  const place = (column: Operand, k: Operand): Operand => {
    const inside = e.op("and", "i32", 1, [column, width - 1]);
    const panel = times(e, e.op("sub", "i32", 1, [column, inside]), words);
    return add(e, add(e, panel, inside), times(e, k, width));
  };
  if (b.columns) {
    // Columns of words, turned in blocks.
    let lanes = Math.min(how.lanes, how.kLanes);
    while (n % lanes || words % lanes) lanes /= 2;
    e.loop(0, n, lanes, (column) => {
      const start = times(e, column, words);
      e.loop(0, words, lanes, (k) => {
        const rows = Array.from({ length: lanes }, (_, i) =>
          biased(e.load("i32", lanes, frame.mem(b, 4 * i * words), "i32", add(e, start, k)), lanes),
        );
        const at = place(column, k);
        turn(e, "i32", rows).forEach((x, i) => {
          frameStore(e, "i32", frame.mem(cell, 4 * i * width), at, x, lanes);
        });
      });
    });
    return;
  }
  // Rows of elements: those of a word are put together.
  const { lanes, per } = how;
  const mem = DTYPES[how.dtype].bits === 8 ? "u8" : "u16";
  e.loop(0, words, 1, (k) => {
    const start = times(e, k, per * n);
    e.loop(0, n, lanes, (column) => {
      const at = add(e, start, column);
      let word: Operand | undefined;
      for (let i = 0; i < per; i++) {
        const part = e.load("i32", lanes, frame.mem(b, (i * n * 4) / per), mem, at);
        const moved = e.op("shl", "i32", lanes, [part, (32 / per) * i]);
        word = word === undefined ? moved : e.op("or", "i32", lanes, [word, moved]);
      }
      frameStore(e, "i32", frame.mem(cell), place(column, k), biased(word!, lanes), lanes);
    });
  });
}

/** A cell with its elements in their register kind: itself, or a copy of one whose elements are narrow. */
export function widened(e: Emitter, frame: Frame, cell: Cell): Cell {
  if (!cell.narrow) return cell;
  const wide = frame.cell(cell.kind, cell.count, cell.freeLayout, NO_PANELS);
  wide.columns = cell.columns;
  const lanes = cell.count % (e.vectorBytes / 4) === 0 ? e.vectorBytes / 4 : 1;
  e.loop(0, cell.count, lanes, (at) => {
    frameStore(e, cell.kind, frame.mem(wide), at, cellLoad(e, cell, frame.mem(cell), at, lanes), lanes);
  });
  return wide;
}
