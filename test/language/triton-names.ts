// The functions that Triton's documentation lists under `triton.language`, and what they are called here.
// A test holds the second column against `tl`; the page of operators shows the table.

/** By section of the documentation: Triton's name, ours (or several), or why there is none. */
export const TRITON: Readonly<Record<string, readonly (readonly [string, string | { declined: string }])[]>> =
  {
    "Programming model": [
      ["program_id", "programId"],
      ["num_programs", "numPrograms"],
      ["tensor_descriptor", "descriptor"],
    ],
    Creation: [
      ["arange", "arange"],
      ["cat", "cat"],
      ["full", "full"],
      ["zeros", "zeros"],
      ["zeros_like", "zerosLike"],
      ["cast", "cast, bitcast"],
    ],
    Shape: [
      ["broadcast", "broadcast"],
      ["broadcast_to", "broadcastTo"],
      ["expand_dims", "expandDims, row, col"],
      ["interleave", "interleave"],
      ["join", "join"],
      ["permute", "permute"],
      ["ravel", "ravel"],
      ["reshape", "reshape"],
      ["split", "split"],
      ["trans", "trans"],
      ["view", "view"],
    ],
    "Linear algebra": [
      ["dot", "dot"],
      ["dot_scaled", "dotScaled"],
    ],
    Memory: [
      ["load", "load"],
      ["store", "store"],
      ["make_tensor_descriptor", "descriptor"],
      ["load_tensor_descriptor", { declined: "a descriptor has load" }],
      ["store_tensor_descriptor", { declined: "a descriptor has store" }],
      ["make_block_ptr", { declined: "superseded by descriptors, in Triton too" }],
      ["advance", { declined: "belongs to make_block_ptr" }],
    ],
    Indexing: [
      ["flip", "flip"],
      ["where", "where"],
      ["swizzle2d", "swizzle2d"],
    ],
    Math: [
      ["abs", "abs"],
      ["cdiv", "cdiv"],
      ["ceil", "ceil"],
      ["clamp", "clamp"],
      ["cos", "cos"],
      ["div_rn", "divRn"],
      ["erf", "erf"],
      ["exp", "exp"],
      ["exp2", "exp2"],
      ["fdiv", "fdiv"],
      ["floor", "floor"],
      ["fma", "fma"],
      ["log", "log"],
      ["log2", "log2"],
      ["maximum", "maximum"],
      ["minimum", "minimum"],
      ["rsqrt", "rsqrt"],
      ["sigmoid", "sigmoid"],
      ["sin", "sin"],
      ["softmax", "softmax"],
      ["sqrt", "sqrt"],
      ["sqrt_rn", "sqrtRn"],
      ["umulhi", "umulhi"],
    ],
    Reduction: [
      ["argmax", "argmax"],
      ["argmin", "argmin"],
      ["max", "max"],
      ["min", "min"],
      ["reduce", "reduce"],
      ["sum", "sum"],
      ["xor_sum", "xorSum"],
    ],
    "Scan and sort": [
      ["associative_scan", "associativeScan"],
      ["cumprod", "cumprod"],
      ["cumsum", "cumsum"],
      ["histogram", "histogram"],
      ["sort", "sort"],
      ["topk", "topk"],
      ["gather", "gather"],
    ],
    Atomics: [
      ["atomic_add", "atomicAdd"],
      ["atomic_and", "atomicAnd"],
      ["atomic_cas", "atomicCas"],
      ["atomic_max", "atomicMax"],
      ["atomic_min", "atomicMin"],
      ["atomic_or", "atomicOr"],
      ["atomic_xchg", "atomicXchg"],
      ["atomic_xor", "atomicXor"],
    ],
    Random: [
      ["randint4x", "randint4x"],
      ["randint", "randint"],
      ["rand", "rand"],
      ["randn", "randn"],
    ],
    Iterators: [
      ["range", "range"],
      ["static_range", "staticRange"],
    ],
    "Inline assembly": [
      [
        "inline_asm_elementwise",
        { declined: "one source serves every chip; a chip's own instructions belong to its printer" },
      ],
    ],
    "Compiler hints": [
      ["assume", "assume"],
      ["debug_barrier", { declined: "the lowering puts barriers where threads of a program meet in memory" }],
      ["max_constancy", "maxConstancy"],
      ["max_contiguous", "maxContiguous"],
      ["multiple_of", "multipleOf"],
    ],
    Debug: [
      ["static_print", "staticPrint"],
      ["static_assert", "staticAssert"],
      ["device_print", "devicePrint"],
      ["device_assert", "deviceAssert"],
    ],
  };

/** The table as lines of the page. */
export function tritonTable(): string[] {
  return [
    "| section | Triton | here |",
    "| --- | --- | --- |",
    ...Object.entries(TRITON).flatMap(([section, list]) =>
      list.map(([name, ours]) => {
        const here =
          typeof ours === "string"
            ? ours
                .split(", ")
                .map((n) => `\`tl.${n}\``)
                .join(", ")
            : `declined: ${ours.declined}`;
        return `| ${section} | \`${name}\` | ${here} |`;
      }),
    ),
  ];
}
