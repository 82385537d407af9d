import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { currentScope, keep, keepLike, Scope, ScopeError, scope, setReachability } from "./scope.js";
import { allocate, DisposedError, Storage } from "./storage.js";
import { memoryStats } from "./pool.js";
import { notingChip } from "./testing/fixtures.js";

const chip = notingChip();
const make = () => allocate(chip, 512);
const inUse = () => memoryStats(chip).count;

/** Finds storages in arrays and objects. */
function walk(value: unknown, visit: (s: Storage) => void): void {
  if (value instanceof Storage) visit(value);
  else if (typeof value === "object" && value !== null) for (const v of Object.values(value)) walk(v, visit);
}

beforeEach(() => setReachability(walk));
afterEach(() => {
  setReachability(() => {});
  expect(currentScope()).toBe(null);
});

describe("scope", () => {
  test("frees what does not leave, and keeps what the result leads to", () => {
    const before = inUse();
    let inner!: Storage;
    const kept = scope(() => {
      inner = make();
      return { list: [make(), make()] };
    });
    expect(inner.disposed).toBe(true);
    expect(kept.list.map((s) => s.disposed)).toEqual([false, false]);
    expect(inUse()).toBe(before + 2);
    for (const s of kept.list) s.dispose();
    expect(inUse()).toBe(before);
  });

  test("what leaves an inner scope belongs to the outer one", () => {
    const before = inUse();
    let passed!: Storage;
    scope(() => {
      passed = scope(() => make());
      expect(passed.disposed).toBe(false);
    });
    expect(passed.disposed).toBe(true);
    expect(inUse()).toBe(before);
  });

  test("a storage from outside that is returned stays with its owner", () => {
    const outside = make();
    expect(scope(() => outside)).toBe(outside);
    expect(outside.disposed).toBe(false);
    outside.dispose();
  });

  test("frees everything when the function throws", () => {
    const before = inUse();
    expect(() =>
      scope(() => {
        make();
        scope(() => {
          make();
          throw new Error("from inside");
        });
      }),
    ).toThrow("from inside");
    expect(inUse()).toBe(before);
  });

  test("an asynchronous function is awaited, nested ones too", async () => {
    const before = inUse();
    let early!: Storage;
    const result = await scope(async () => {
      early = make();
      await Promise.resolve();
      expect(early.disposed).toBe(false);
      const inner = await scope(async () => {
        make();
        await new Promise((r) => setTimeout(r, 1));
        make();
        return [make()];
      });
      expect(inner[0]!.disposed).toBe(false);
      await Promise.resolve();
      return { inner, more: make() };
    });
    expect(early.disposed).toBe(true);
    expect(inUse()).toBe(before + 2);
    result.inner[0]!.dispose();
    result.more.dispose();
  });

  test("an asynchronous function that rejects frees everything", async () => {
    const before = inUse();
    await expect(
      scope(async () => {
        make();
        await Promise.resolve();
        make();
        throw new Error("late");
      }),
    ).rejects.toThrow("late");
    expect(inUse()).toBe(before);
  });

  test("overlapping asynchronous scopes are refused", async () => {
    const before = inUse();
    const wait = (ms: number) => new Promise((r) => setTimeout(r, ms));
    const first = scope(async () => {
      make();
      await wait(1);
    });
    const second = scope(async () => {
      make();
      await wait(20);
    });
    await expect(first).rejects.toThrow(ScopeError);
    await second;
    expect(inUse()).toBe(before);
  });

  test("keep takes a storage out of all scopes; keepLike gives it another's lifetime", () => {
    let kept!: Storage;
    let outer!: Storage;
    let grad!: Storage;
    const parameter = make();
    let parameterGrad!: Storage;
    scope(() => {
      outer = make();
      scope(() => {
        kept = make();
        keep(kept);
        grad = make();
        keepLike(grad, outer);
        parameterGrad = make();
        keepLike(parameterGrad, parameter);
      });
      expect([kept.disposed, grad.disposed]).toEqual([false, false]);
    });
    expect([kept, outer, grad, parameterGrad].map((s) => s.disposed)).toEqual([false, true, true, false]);
    for (const s of [kept, parameter, parameterGrad]) s.dispose();
  });

  test("works as a resource of a block", () => {
    const before = inUse();
    const s = new Scope();
    const a = make();
    const b = make();
    s.keep(b);
    s[Symbol.dispose]();
    s[Symbol.dispose]();
    expect([a.disposed, b.disposed]).toEqual([true, false]);
    b.dispose();
    expect(inUse()).toBe(before);
  });

  test("closing a scope while a later one is open is an error, and loses nothing", () => {
    const before = inUse();
    const outer = new Scope();
    make();
    const inner = new Scope();
    make();
    expect(() => outer.close()).toThrow(ScopeError);
    inner.close();
    expect(inUse()).toBe(before);
  });

  test("many short-lived storages in one scope do not pile up", () => {
    scope(() => {
      for (let i = 0; i < 10_000; i++) make().dispose();
      const s = currentScope() as unknown as { owned: unknown[] };
      expect(s.owned.length).toBeLessThan(200);
    });
  });
});

test("use after free says what happened", () => {
  const s = make();
  s.dispose();
  s.dispose();
  expect(() => s.buffer).toThrow(DisposedError);
  expect(() => s.buffer).toThrowErrorMatchingInlineSnapshot(
    `[DisposedError: the memory of this tensor (512 bytes) has been freed: it was disposed, or created inside a scope that has ended. Return it from the scope, or keep() it]`,
  );
});
