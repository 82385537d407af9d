// The types of tensors in GGUF files: floats, and blocks of integers that share scales.

interface Type {
  readonly id: number;
  /** Elements of a block, and its bytes. */
  readonly block: number;
  readonly bytes: number;
}

export const TYPES = {
  F32: { id: 0, block: 1, bytes: 4 },
  F16: { id: 1, block: 1, bytes: 2 },
  BF16: { id: 30, block: 1, bytes: 2 },
  Q4_0: { id: 2, block: 32, bytes: 18 },
  Q4_1: { id: 3, block: 32, bytes: 20 },
  Q5_0: { id: 6, block: 32, bytes: 22 },
  Q5_1: { id: 7, block: 32, bytes: 24 },
  Q8_0: { id: 8, block: 32, bytes: 34 },
  Q4_K: { id: 12, block: 256, bytes: 144 },
  Q5_K: { id: 13, block: 256, bytes: 176 },
  Q6_K: { id: 14, block: 256, bytes: 210 },
} as const satisfies Record<string, Type>;

export type TypeName = keyof typeof TYPES;

const BY_ID = new Map<number, TypeName>(Object.entries(TYPES).map(([name, t]) => [t.id, name as TypeName]));

export const typeById = (id: number): TypeName | undefined => BY_ID.get(id);

/** Types whose elements are integers with scales. */
export type BlockType = Exclude<TypeName, "F32" | "F16" | "BF16">;
export const isBlockType = (t: TypeName): t is BlockType => t !== "F32" && t !== "F16" && t !== "BF16";

/** `general.file_type` of files that are mostly of a type that we write. */
export const FILE_TYPES = { F32: 0, F16: 1, Q4_0: 2, Q8_0: 7, Q4_K: 14, BF16: 32 } as const;
export type WrittenType = keyof typeof FILE_TYPES;
export const WRITTEN_TYPES = Object.keys(FILE_TYPES) as WrittenType[];
