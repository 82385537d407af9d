// Grammars over bytes, and the automaton that follows them byte by byte: what may an answer go on with? It knows neither
// JSON (`schema.ts`) nor tokens (`tokens.ts`).

/** A part of a grammar. Made by the functions below. */
export type Part = { readonly id: number } & (
  | { readonly kind: "byte" /** 256 entries: 1 where the byte may stand. */; readonly set: Uint8Array }
  | { readonly kind: "sequence"; readonly parts: readonly Part[] }
  | { readonly kind: "choice"; readonly parts: readonly Part[] }
  | { readonly kind: "repeat"; readonly part: Part; readonly min: number; readonly max: number }
  | { readonly kind: "reference"; readonly target: () => Part }
);

let parts = 0;
const utf8 = new TextEncoder();

/** One byte out of inclusive ranges. */
export function bytes(...ranges: readonly (readonly [number, number])[]): Part {
  const set = new Uint8Array(256);
  for (const [low, high] of ranges) set.fill(1, low, high + 1);
  return { id: parts++, kind: "byte", set };
}

export const sequence = (...list: readonly Part[]): Part =>
  list.length === 1 ? list[0]! : { id: parts++, kind: "sequence", parts: list };

/** Any one of the parts. None at all matches nothing. */
export const choice = (...list: readonly Part[]): Part =>
  list.length === 1 ? list[0]! : { id: parts++, kind: "choice", parts: list };

export const repeat = (part: Part, min: number, max = Number.POSITIVE_INFINITY): Part => ({
  id: parts++,
  kind: "repeat",
  part,
  min,
  max,
});

export const optional = (part: Part): Part => repeat(part, 0, 1);

/** A part that is made when it is first reached, for grammars that contain themselves. */
export const reference = (target: () => Part): Part => ({ id: parts++, kind: "reference", target });

/** The bytes of a text, one after the other. */
export const text = (s: string): Part => sequence(...Array.from(utf8.encode(s), (b) => bytes([b, b])));

/** Where a match stands inside one part, and what follows that part. Equal places are one object. */
interface Place {
  readonly id: number;
  readonly part: Part;
  /** Parts of a sequence that are done, or rounds of a repetition. */
  readonly done: number;
  readonly next: Place | undefined;
}

/** A byte that may come now, and the place after it; undefined is the end of the grammar. */
interface Edge {
  readonly set: Uint8Array;
  readonly to: Place | undefined;
}

/** All places where a text may stand after the bytes so far. Equal states are one object. */
export class State {
  /** What was computed for this state by others, such as the tokens that may follow. */
  readonly notes = new Map<object, unknown>();
  readonly #steps: (State | null | undefined)[] = [];

  constructor(
    private readonly grammar: Grammar,
    private readonly edges: readonly Edge[],
    /** Whether the text may end here. */
    readonly isComplete: boolean,
  ) {}

  /** Whether anything may follow. */
  get isOpen(): boolean {
    return this.edges.length > 0;
  }

  /** The state after one more byte, or null where it may not stand. */
  step(byte: number): State | null {
    const known = this.#steps[byte];
    if (known !== undefined) return known;
    const places = new Set<Place | undefined>();
    for (const e of this.edges) if (e.set[byte]) places.add(e.to);
    const state = places.size ? this.grammar.state(places) : null;
    this.#steps[byte] = state;
    return state;
  }
}

/** A grammar with its automaton, whose states are made as texts reach them. */
export class Grammar {
  readonly start: State;
  readonly #places = new Map<string, Place>();
  readonly #states = new Map<string, State>();
  readonly #edges = new Map<Place, { readonly edges: readonly Edge[]; readonly ends: boolean }>();

  constructor(root: Part) {
    this.start = this.state(new Set([this.#place(root, 0, undefined)]));
  }

  /** The state of a set of places. */
  state(places: ReadonlySet<Place | undefined>): State {
    const ids = [...places].map((p) => p?.id ?? -1).sort((a, b) => a - b);
    const key = ids.join();
    let state = this.#states.get(key);
    if (!state) {
      const edges: Edge[] = [];
      let ends = false;
      for (const p of places) {
        const found = p ? this.#expand(p) : { edges: [], ends: true };
        edges.push(...found.edges);
        ends ||= found.ends;
      }
      state = new State(this, edges, ends);
      this.#states.set(key, state);
    }
    return state;
  }

  #place(part: Part, done: number, next: Place | undefined): Place {
    const key = `${part.id},${done},${next?.id ?? -1}`;
    let place = this.#places.get(key);
    if (!place) {
      place = { id: this.#places.size, part, done, next };
      this.#places.set(key, place);
    }
    return place;
  }

  /** What may come at a place, without consuming anything; `ends` when the grammar may end there. */
  #expand(place: Place): { readonly edges: readonly Edge[]; readonly ends: boolean } {
    const known = this.#edges.get(place);
    if (known) return known;
    const edges: Edge[] = [];
    let ends = false;
    // A part that may be empty can come back to a place it passed; once is enough.
    const seen = new Set<Place>();
    const visit = (p: Place | undefined): void => {
      if (!p) {
        ends = true;
        return;
      }
      if (seen.has(p)) return;
      seen.add(p);
      const { part, done, next } = p;
      switch (part.kind) {
        case "byte":
          edges.push({ set: part.set, to: next });
          return;
        case "sequence": {
          const inner = part.parts[done];
          if (!inner) visit(next);
          else
            visit(
              this.#place(inner, 0, done + 1 < part.parts.length ? this.#place(part, done + 1, next) : next),
            );
          return;
        }
        case "choice":
          for (const inner of part.parts) visit(this.#place(inner, 0, next));
          return;
        case "repeat": {
          if (done >= part.min) visit(next);
          if (done >= part.max) return;
          // Without an upper bound, rounds beyond the lower one need no counting.
          const rounds = part.max === Number.POSITIVE_INFINITY ? Math.min(done + 1, part.min) : done + 1;
          visit(this.#place(part.part, 0, this.#place(part, rounds, next)));
          return;
        }
        case "reference":
          visit(this.#place(part.target(), 0, next));
      }
    };
    visit(place);
    const found = { edges, ends };
    this.#edges.set(place, found);
    return found;
  }
}
