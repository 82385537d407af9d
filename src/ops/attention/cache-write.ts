// Writing new keys or values into a cache in pages, in place: what comes before `paged.ts` reads them.

import { constexpr, i32, i64, ptr } from "../../compiler/lang/index.js";
import { kernel } from "../../runtime/index.js";
import { type Operator, operator, showShape, type Tensor } from "../../tensor/index.js";
import { nextPowerOf2 } from "../rows.js";

/** One program a token. Slots out of range are passed over. */
const write = kernel(
  // biome-ignore format: one line per group
  { cache: ptr, slots: ptr, fresh: ptr, room: i64, heads: i32, size: i32, token: i32, head: i32, HEADS: constexpr, SIZE: constexpr },
  ({ cache, slots, fresh, room, heads, size, token, head, HEADS, SIZE }, tl) => {
    const t = tl.programId(0);
    const slot = tl.load(slots + t);
    if (slot >= 0 && slot < room) {
      const h = tl.col(tl.arange(0, HEADS));
      const d = tl.row(tl.arange(0, SIZE));
      const inside = h < heads && d < size;
      const v = tl.load(fresh + (t * token + h * head + d), inside);
      tl.store(cache + (slot * heads * size + h * size + d), v, inside);
    }
  },
  "cache_write",
);

/**
 * Writes rows of tokens into the slots of a cache, in place, and returns the cache.
 *
 * @param cache `[pages, page size, heads, size]`, row-major
 * @param slots i64 `[tokens]`: page number times page size plus the place in the page; each at most once
 * @param fresh `[tokens, heads, size]` of the cache's dtype, rows side by side
 * @throws RangeError for shapes that do not fit, TypeError for other dtypes
 * @example cacheWrite_(keyCache, slots, k);
 */
export const cacheWrite_: Operator<(cache: Tensor, slots: Tensor, fresh: Tensor) => Tensor> = operator({
  schema: "vexil::cache_write_(Tensor(a!) cache, Tensor slots, Tensor fresh) -> Tensor(a!)",
  method: false,
  run: (cache: Tensor, slots: Tensor, fresh: Tensor) => {
    const [tokens, heads, size] = fresh.shape as [number, number, number];
    if (
      cache.ndim !== 4 ||
      fresh.ndim !== 3 ||
      slots.ndim !== 1 ||
      !cache.isContiguous ||
      slots.shape[0] !== tokens ||
      cache.shape[2] !== heads ||
      cache.shape[3] !== size ||
      (size > 1 && fresh.strides[2] !== 1)
    )
      // biome-ignore format: a list
      throw new RangeError(
        `cache_write_ takes a row-major cache [pages, page size, heads, size], slots [tokens] and rows [tokens, heads, size], not ${showShape(cache.shape)}, ${showShape(slots.shape)} and ${showShape(fresh.shape)}`,
      );
    if (slots.dtype !== "i64" || fresh.dtype !== cache.dtype)
      throw new TypeError(
        `cache_write_ takes slots of i64 and rows of the cache's dtype ${cache.dtype}, not ${slots.dtype} and ${fresh.dtype}`,
      );
    if (fresh.numel === 0) return cache;
    write.launch([tokens], {
      cache, slots, fresh, room: cache.shape[0]! * cache.shape[1]!, heads, size,
      token: fresh.strides[0]!, head: fresh.strides[1]!, HEADS: nextPowerOf2(heads), SIZE: nextPowerOf2(size),
    }); // biome-ignore format: one line per group
    return cache;
  },
  derivative: "none",
  summary: "Keys or values of new tokens into a cache in pages",
});
