// Finds a function in a TypeScript file by the words of its JavaScript text: compilers drop types and comments
// and change white space, but keep the other words in order.

interface Token {
  readonly text: string;
  readonly at: number;
}

const TOKEN =
  /\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[A-Za-z_$][\w$]*|\.?\d[\w.]*|\S/g;

/**
 * The words of a text, without comments. Quotes are of one kind, a template is one word, and `;`, `,`, `(` and
 * `)` are left out, as tools add and drop them.
 */
function tokens(text: string): Token[] {
  const out: Token[] = [];
  const scanner = new RegExp(TOKEN);
  for (let m = scanner.exec(text); m; m = scanner.exec(text)) {
    const t = m[0];
    const at = m.index;
    if (t.startsWith("//") || t.startsWith("/*") || /^[;,()]$/.test(t)) continue;
    if (t === "`") {
      scanner.lastIndex = templateEnd(text, at + 1);
      out.push({ text: text.slice(at, scanner.lastIndex), at });
    } else if (t.startsWith("'")) out.push({ text: `"${t.slice(1, -1)}"`, at });
    else if (/^\.?\d/.test(t) && Number.isFinite(Number(t))) out.push({ text: String(Number(t)), at });
    else out.push({ text: t, at });
  }
  return out;
}

/** Behind the closing quote of a template whose text starts at `i`. */
function templateEnd(text: string, i: number): number {
  for (let at = i; at < text.length; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === "`") return at + 1;
    else if (text[at] === "$" && text[at + 1] === "{") {
      let depth = 1;
      for (at += 2; at < text.length && depth > 0; at++) {
        if (text[at] === "`") at = templateEnd(text, at + 1) - 1;
        else if (text[at] === "{") depth++;
        else if (text[at] === "}") depth--;
      }
      at--;
    }
  }
  return text.length;
}

/** Between two words of the function the original may have this many more (a type). */
const MAX_SKIP = 24;
/** Of the whole function the original may have so many words more per word. */
const MAX_RATIO = 0.6;

/**
 * The offset in `original` of what stands at `offset` in the function's text, or undefined if the function is not
 * found there. Of several places that fit equally well the one nearest to `line` is taken.
 */
export function align(fnText: string, offset: number, original: string, line: number): number | undefined {
  const words = tokens(fnText);
  const pool = tokens(original);
  if (words.length === 0) return undefined;
  let wanted = words.findLastIndex((t) => t.at <= offset);
  if (wanted < 0) wanted = 0;
  const lineStart = offsetOfLine(original, line);
  let best: { skipped: number; distance: number; at: number } | undefined;
  for (let start = 0; start < pool.length; start++) {
    if (pool[start]!.text !== words[0]!.text) continue;
    const limit = best?.skipped ?? words.length * MAX_RATIO + 4;
    const found = follow(words, pool, start, wanted, limit);
    if (!found) continue;
    const distance = Math.abs(pool[start]!.at - lineStart);
    if (!best || found.skipped < best.skipped || distance < best.distance)
      best = { skipped: found.skipped, distance, at: found.at };
  }
  return best?.at;
}

function follow(
  words: readonly Token[],
  pool: readonly Token[],
  start: number,
  wanted: number,
  limit: number,
): { skipped: number; at: number } | undefined {
  let p = start;
  let skipped = 0;
  let at = pool[start]!.at;
  for (let w = 0; w < words.length; w++) {
    let gap = 0;
    while (p < pool.length && pool[p]!.text !== words[w]!.text) {
      p++;
      if (++gap > MAX_SKIP || ++skipped > limit) return undefined;
    }
    if (p >= pool.length) return undefined;
    if (w === wanted) at = pool[p]!.at;
    p++;
  }
  return { skipped, at };
}

function offsetOfLine(text: string, line: number): number {
  let at = 0;
  for (let n = 1; n < line; n++) {
    const next = text.indexOf("\n", at);
    if (next < 0) break;
    at = next + 1;
  }
  return at;
}
