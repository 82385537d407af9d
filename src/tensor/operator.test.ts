// Binding of calls, the table, methods, implementations and interceptors.

import { afterEach, describe, expect, it } from "vitest";
import {
  addImplementation,
  bindByName,
  callOperator,
  disable,
  enable,
  operator,
  operatorInfo,
  operators,
  overloads,
  tensor,
  trace,
  useOps,
  withInterceptor,
  type Operator,
  OperatorLog,
  type OperatorRecord,
  type Tensor,
} from "./index.js";
import { add, mul, sum } from "./testing/host-ops.js";

type Any = (...args: unknown[]) => unknown;
/** An operator that gives its bound arguments back. */
const echo = (schema: string, scalars = false): Operator<Any> =>
  operator<Any>({ schema, scalars, run: (...args: unknown[]) => args, derivative: "none" });

const x = tensor([1.5, 2]);
const conv = echo(
  "echo_conv(Tensor input, int[2] kernel_size, int[2] stride=1, *, float eps=1e-5, ScalarType? dtype=None) -> Tensor",
);
const perm = echo("echo_perm(Tensor self, int[] dims) -> Tensor");
const list = echo("echo_list(Tensor[] tensors, Tensor? weight=None, Generator? generator=None) -> Tensor");
const scalar = echo("echo_scalar(Tensor self, Scalar value, bool flag=False, str mode=none) -> Tensor", true);

describe("binding", () => {
  it("fills in defaults, by position and by name", () => {
    expect(conv(x, 3)).toEqual([x, [3, 3], [1, 1], 1e-5, null]);
    expect(conv(x, [3], { stride: [2, 1], dtype: "float16" })).toEqual([x, [3, 3], [2, 1], 1e-5, "f16"]);
    expect(conv({ input: x, kernelSize: [1, 2], eps: 0 })).toEqual([x, [1, 2], [1, 1], 0, null]);
    expect(conv(x, 2, undefined, { eps: 1 })).toEqual([x, [2, 2], [1, 1], 1, null]);
    expect(list([x, x], null)).toEqual([[x, x], null, null]);
    expect(scalar(2, 3n)).toEqual([2, 3n, false, "none"]);
  });

  it("gathers a trailing list of integers", () => {
    expect(perm(x, 2, 0, 1)).toEqual([x, [2, 0, 1]]);
    expect(perm(x, 1)).toEqual([x, [1]]);
  });

  it.each<[() => unknown, RegExp]>([
    [() => conv(x), /`echo_conv` misses its argument `kernelSize` \(a list of 2 integers\)/],
    [() => conv(x, 3, { strides: 1 }), /no argument `strides`; did you mean `stride`\?/],
    [
      () => conv(x, 3, { stride: 1.5 }),
      /argument `stride` of `echo_conv` must be a list of 2 integers \(int\[2\]\), not 1.5/,
    ],
    [
      () => conv(3, 3),
      /argument `input` .* must be a Tensor \(Tensor\), not 3\. Make a tensor of it with tensor/,
    ],
    [() => conv([1, 2], 3), /not \[1, 2\]\. Make a tensor/],
    [
      () => conv(x, 3, 1, 1e-5),
      /at most 3 positional arguments, not 4; pass eps, dtype by name: \{ eps: … \}/,
    ],
    [() => conv(x, 3, { kernelSize: 3 }), /got argument `kernelSize` twice/],
    [() => conv(x, 3, { dtype: "float33" }), /must be a dtype or null.*not "float33"\. Dtypes are named/],
    [() => conv(x, null), /must be a list of 2 integers \(int\[2\]\), not null/],
    [() => list(x), /must be a list of Tensors.*not Tensor\(shape=\[2\], f32, interpreter\)/],
    [() => list([x, 1]), /argument `tensors`/],
    [() => scalar(x, x), /must be a number \(Scalar\).*Read it first: await t\.item\(\)/],
    [() => scalar(x, 1, 1), /argument `flag` .* must be a bool.*not 1/],
    [() => scalar(x, x.at(0).item()), /not a Promise\. Await it first/],
  ])("says what is wrong (%#)", (call, message) => {
    expect(call).toThrow(message);
  });

  it("binds Python's calls by name", () => {
    expect(bindByName(conv.info, x, [], { kernel_size: 3, dtype: "float64" })).toEqual([
      x,
      [3, 3],
      [1, 1],
      1e-5,
      "f64",
    ]);
    expect(bindByName(perm.info, x, [1, 0], {})).toEqual([x, [1, 0]]);
    expect(() => bindByName(conv.info, x, [], { kernelSze: 3 })).toThrow(/did you mean `kernel_size`/);
    expect(() => bindByName(conv.info, x, [], {})).toThrow(/misses its argument `kernelSize`/);
  });
});

describe("the table", () => {
  it("describes every operator", () => {
    const info = operatorInfo("add.Tensor");
    expect(info).toMatchObject({
      name: "add.Tensor",
      method: "add",
      gradient: "declared",
      tensorArgs: [0, 1],
      viewOf: -1,
    });
    expect(info.opinfo).toEqual([{ op: "add" }]);
    expect(operatorInfo("view").viewOf).toBe(0);
    expect(operatorInfo("copy_").writes).toEqual([0]);
    expect(operators().get("select.int")!.stage).toBe("stable");
    expect(() => operatorInfo("ad.Tensor")).toThrow(/did you mean `add.Tensor`/);
    expect(() => operator({ schema: "view(Tensor self) -> Tensor", run: () => null })).toThrow(
      /declared twice/,
    );
  });

  it("calls by name", async () => {
    expect(await (callOperator("add.Tensor", x, 1, { alpha: 2 }) as Tensor).tolist()).toEqual([3.5, 4]);
    expect(() => callOperator("no_such_operator")).toThrow(/there is no operator/);
  });

  it("installs methods with self in its place", () => {
    operator({
      schema: "echo_where(Tensor condition, Tensor self, Tensor other) -> Tensor",
      run: (...args: unknown[]) => args,
      scalars: true,
      derivative: "none",
    });
    const method = (x as unknown as { echoWhere(...a: unknown[]): unknown }).echoWhere;
    const c = tensor([true, false]);
    expect(method.call(x, c, 0)).toEqual([c, x, 0]);
    expect((x as unknown as { add: { name: string } }).add.name).toBe("add");
  });

  it("chooses among overloads by what fits", async () => {
    const one = echo("echo_over.one(Tensor self) -> Tensor");
    const two = echo("echo_over.two(Tensor self, int dim) -> Tensor");
    const three = echo("echo_over.three(Tensor self, Tensor other) -> Tensor");
    const over = overloads<Any>(one, two, three);
    expect([over(x), over(x, 1), over(x, x), over(x, { dim: 2 })]).toEqual([[x], [x, 1], [x, x], [x, 2]]);
    expect(() => over(x, "a")).toThrow(
      /no form of `echoOver` fits the call:\n.*echo_over\.one.*\n.*must be an integer/,
    );
    const method = (x as unknown as { echoOver(...a: unknown[]): unknown }).echoOver;
    expect(method.call(x, 4)).toEqual([x, 4]);
  });
});

describe("implementations", () => {
  const plain = operator<(self: Tensor, n: number) => string>({
    schema: "test_impl(Tensor self, int n) -> str",
    run: () => "own",
    derivative: "none",
  });
  addImplementation("test_impl", {
    name: "vendor",
    supports: ([, n]) => (n as number) > 2,
    run: () => "vendor's",
  });
  afterEach(() => enable("vendor", "test_impl"));

  it("are chosen by what they support", () => {
    expect([plain(x, 1), plain(x, 3)]).toEqual(["own", "vendor's"]);
    expect(() => addImplementation("test_impl", { name: "vendor", run: () => null })).toThrow(/already has/);
  });

  it("can be left out, chosen and watched", () => {
    const ran: OperatorRecord[] = [];
    expect(useOps({ exclude: ["vendor"], record: ran }, () => plain(x, 3))).toBe("own");
    expect(useOps({ exclude: ["test_impl:vendor"] }, () => plain(x, 3))).toBe("own");
    expect(useOps({ include: ["testImpl:vendor"] }, () => plain(x, 3))).toBe("vendor's");
    expect(() => useOps({ include: ["test_impl:vendor"] }, () => plain(x, 1))).toThrow(
      /no implementation of `test_impl` may run/,
    );
    expect(
      useOps({ exclude: ["vendor"] }, () => useOps({ record: (r) => ran.push(r) }, () => plain(x, 3))),
    ).toBe("own");
    expect(ran).toEqual([
      { operator: "test_impl", implementation: "vexil" },
      { operator: "test_impl", implementation: "vexil" },
    ]);
    expect(plain(x, 3)).toBe("vendor's");
  });

  it("can be switched off everywhere", () => {
    disable("vendor");
    expect(plain(x, 3)).toBe("own");
    enable("vendor");
    expect(plain(x, 3)).toBe("vendor's");
    disable("test_impl");
    expect(() => plain(x, 1)).toThrow(/may run/);
  });

  it("include a reference, which runs only where the own one may not", () => {
    const twice = operator<(self: Tensor) => string>({
      schema: "test_reference(Tensor self) -> str",
      run: () => "own",
      derivative: "none",
    });
    addImplementation("test_reference", { name: "plain", kind: "reference", run: () => "plain" });
    addImplementation("test_reference", { name: "openblas", run: () => "library" });
    expect(twice(x)).toBe("library");
    expect(useOps({ exclude: ["vendor"] }, () => twice(x))).toBe("own");
    expect(useOps({ exclude: ["vendor", "vexil"] }, () => twice(x))).toBe("plain");
    expect(useOps({ include: ["reference"] }, () => twice(x))).toBe("plain");
    expect(useOps({ include: ["test_reference:vexil"] }, () => twice(x))).toBe("own");
    disable("vendor", "test_reference:vexil");
    expect(twice(x)).toBe("plain");
    enable("vendor", "test_reference:vexil");
    expect(twice(x)).toBe("library");
  });

  it("are counted and timed by a log, inner calls apart", async () => {
    const outer = operator<(self: Tensor) => string>({
      schema: "test_outer(Tensor self) -> str",
      run: (t: Tensor) => {
        plain(t, 1);
        return plain(t, 3);
      },
      derivative: "none",
    });
    const later = operator<(self: Tensor) => Promise<string>>({
      schema: "test_later(Tensor self) -> str",
      run: async () => "later",
      derivative: "none",
    });
    const log = new OperatorLog();
    useOps({ record: log }, () => [outer(x), outer(x)]);
    await useOps({ record: log }, () => later(x));
    const rows = log.rows();
    expect(rows.map((r) => `${r.operator}:${r.implementation} ${r.count}`).sort()).toEqual([
      "test_impl:vendor 2",
      "test_impl:vexil 2",
      "test_later:vexil 1",
      "test_outer:vexil 2",
    ]);
    const of = (name: string) => rows.find((r) => r.operator === name)!;
    expect(of("test_outer").self).toBeLessThan(of("test_outer").total);
    expect(log.table()).toMatch(/operator\s+implementation\s+count\s+self ms\s+total ms\n/);
    log.clear();
    expect(log.rows()).toEqual([]);
  });

  it("are chosen over awaits too", async () => {
    const ran: OperatorRecord[] = [];
    await useOps({ record: ran }, async () => {
      await Promise.resolve();
      plain(x, 1);
    });
    plain(x, 1);
    expect(ran.length).toBe(1);
  });
});

describe("interceptors", () => {
  it("see calls, may change them, and unwind", async () => {
    const names: string[] = [];
    const y = withInterceptor(
      (op, args, next) => {
        names.push(`outer ${op.name}`);
        return next(args);
      },
      () =>
        withInterceptor(
          (op, args, next) => {
            names.push(`inner ${op.name}`);
            return op.name === "add.Tensor" ? next([args[0], 10, 1]) : next();
          },
          () => add(x, 1),
        ),
    );
    expect(names).toEqual(["inner add.Tensor", "outer add.Tensor"].concat(names.slice(2)));
    expect(await y.tolist()).toEqual([11.5, 12]);
    expect(await add(x, 1).tolist()).toEqual([2.5, 3]);
  });

  it("stand above the recording of gradients", async () => {
    const w = tensor([1.5, 2], { requiresGrad: true });
    const seen: string[] = [];
    const loss = trace(
      (op) => seen.push(op.name),
      () => sum(mul(w, w)),
    );
    loss.backward();
    expect(seen).toContain("mul.Tensor");
    expect(seen.at(-1)).toBe("sum.dim_IntList");
    expect(await w.grad!.tolist()).toEqual([3, 4]);
  });

  it("are taken off when the function throws", () => {
    expect(() =>
      withInterceptor(
        () => {
          throw new Error("stop");
        },
        () => add(x, 1),
      ),
    ).toThrow("stop");
    expect(add(x, 1).shape).toEqual([2]);
  });
});
