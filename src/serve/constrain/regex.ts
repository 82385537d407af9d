// Regular expressions of JSON Schema's `pattern` as grammars: ECMAScript's syntax without what no automaton can follow
// (look-around, back references, word boundaries).

import { complement, jsonCharacters, type Ranges } from "./characters.js";
import { choice, type Part, repeat, sequence } from "./grammar.js";

/** A pattern that cannot be followed; the message says which part of it. */
export class PatternError extends Error {
  override name = "PatternError";
}

const DIGIT: Ranges = [[0x30, 0x39]];
const WORD: Ranges = [[0x30, 0x39], [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]]; // biome-ignore format: a list
const SPACE: Ranges = [[0x09, 0x0d], [0x20, 0x20], [0xa0, 0xa0], [0x1680, 0x1680], [0x2000, 0x200a], [0x2028, 0x2029], [0x202f, 0x202f], [0x205f, 0x205f], [0x3000, 0x3000], [0xfeff, 0xfeff]]; // biome-ignore format: a list
const NEWLINE: Ranges = [[0x0a, 0x0a], [0x0d, 0x0d], [0x2028, 0x2029]]; // biome-ignore format: a list
const CLASSES: Readonly<Record<string, Ranges>> = { d: DIGIT, w: WORD, s: SPACE };
const CONTROL: Readonly<Record<string, number>> = { n: 10, r: 13, t: 9, f: 12, v: 11, "0": 0 };
/** Bounds above this would make automata of no use. */
const MOST_ROUNDS = 1000;

const ANY: Ranges = [[0, 0x10ffff]];

class Parser {
  #at = 0;
  constructor(private readonly source: readonly string[]) {}

  whole(): Part {
    const options: Part[] = [];
    do options.push(this.#anchored());
    while (this.#take("|"));
    if (this.#at < this.source.length) this.#fail(`"${this.#peek}" without its opening`);
    return choice(...options);
  }

  /** One alternative at the top, where `^` and `$` may stand; without them anything may stand before or behind. */
  #anchored(): Part {
    const anything = repeat(jsonCharacters(ANY), 0);
    const start = this.#take("^") ? [] : [anything];
    const middle = this.#terms(true);
    const end = this.#take("$") ? [] : [anything];
    return sequence(...start, middle, ...end);
  }

  #terms(isTop = false): Part {
    const list: Part[] = [];
    while (this.#at < this.source.length && this.#peek !== "|" && this.#peek !== ")") {
      if (isTop && this.#peek === "$") break;
      list.push(this.#quantified(this.#atom()));
    }
    return sequence(...list);
  }

  #atom(): Part {
    const c = this.#next();
    switch (c) {
      case "(": {
        if (this.#take("?") && !this.#take(":")) this.#fail("look-around and named groups");
        const options: Part[] = [];
        do options.push(this.#terms());
        while (this.#take("|"));
        if (!this.#take(")")) this.#fail("a group without its end");
        return choice(...options);
      }
      case "[":
        return jsonCharacters(this.#set());
      case ".":
        return jsonCharacters(complement(NEWLINE));
      case "\\":
        return jsonCharacters(this.#escape());
      case "^":
      case "$":
        return this.#fail(`"${c}" inside an expression`);
      case "*":
      case "+":
      case "?":
      case "{":
        return this.#fail(`"${c}" with nothing to repeat`);
      default:
        return jsonCharacters(one(c));
    }
  }

  #quantified(part: Part): Part {
    let [min, max] = [1, 1];
    if (this.#take("*")) [min, max] = [0, Number.POSITIVE_INFINITY];
    else if (this.#take("+")) [min, max] = [1, Number.POSITIVE_INFINITY];
    else if (this.#take("?")) [min, max] = [0, 1];
    else if (this.#take("{")) {
      min = this.#number();
      max = this.#take(",") ? (this.#peek === "}" ? Number.POSITIVE_INFINITY : this.#number()) : min;
      if (!this.#take("}")) this.#fail("a repetition without its end");
      if (max < min) this.#fail(`{${min},${max}}`);
    } else return part;
    // Lazy repetition matches the same texts.
    this.#take("?");
    return repeat(part, min, max);
  }

  #set(): Ranges {
    const isNegated = this.#take("^");
    const ranges: (readonly [number, number])[] = [];
    while (!this.#take("]")) {
      const low = this.#member();
      if (
        low.length === 1 &&
        low[0]![0] === low[0]![1] &&
        this.#peek === "-" &&
        this.source[this.#at + 1] !== "]"
      ) {
        this.#at++;
        const high = this.#member();
        if (high.length !== 1 || high[0]![1] < low[0]![0]) this.#fail("a range that runs backwards");
        ranges.push([low[0]![0], high[0]![1]]);
      } else ranges.push(...low);
    }
    return isNegated ? complement(ranges) : ranges;
  }

  #member(): Ranges {
    const c = this.#next();
    return c === "\\" ? this.#escape() : one(c);
  }

  #escape(): Ranges {
    const c = this.#next();
    const known = CLASSES[c.toLowerCase()];
    if (known) return c === c.toLowerCase() ? known : complement(known);
    const control = CONTROL[c];
    if (control !== undefined) return [[control, control]];
    if (c === "u" || c === "x") {
      const digits = this.source.slice(this.#at, this.#at + (c === "u" ? 4 : 2)).join("");
      if (!/^(?:[0-9a-f]{2}){1,2}$/i.test(digits)) this.#fail(`\\${c}${digits}`);
      this.#at += digits.length;
      const code = Number.parseInt(digits, 16);
      return [[code, code]];
    }
    if (/[A-Za-z1-9]/.test(c)) this.#fail(`\\${c}`);
    return one(c);
  }

  #number(): number {
    let digits = "";
    while (/[0-9]/.test(this.#peek ?? "")) digits += this.#next();
    const n = Number(digits);
    if (digits === "" || n > MOST_ROUNDS) this.#fail(`{${digits || this.#peek || ""}`);
    return n;
  }

  get #peek(): string | undefined {
    return this.source[this.#at];
  }

  #next(): string {
    const c = this.source[this.#at++];
    return c === undefined ? this.#fail("an end too soon") : c;
  }

  #take(c: string): boolean {
    if (this.#peek !== c) return false;
    this.#at++;
    return true;
  }

  #fail(what: string): never {
    throw new PatternError(
      `the pattern ${JSON.stringify(this.source.join(""))} has ${what}, which is not supported`,
    );
  }
}

const one = (c: string): Ranges => [[c.codePointAt(0)!, c.codePointAt(0)!]];

/**
 * The texts that a pattern finds itself in, as they stand inside a JSON string.
 * @throws PatternError for syntax that is not supported
 */
export const patternPart = (pattern: string): Part => new Parser([...pattern]).whole();
