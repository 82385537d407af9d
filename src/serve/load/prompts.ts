// Prompts for measuring a server: random words, each prompt with as many tokens as was asked for, some with a common
// beginning. The same seed gives the same prompts.

export interface PromptOptions {
  /** Tokens of a prompt, a chat template's included where the server counts them. */
  readonly inputTokens: number;
  /** Lengths lie within this share of `inputTokens`, evenly; 0: all the same. */
  readonly spread: number;
  /** Tokens at the beginning that prompts have in common. */
  readonly sharedTokens: number;
  /** How many different common beginnings there are; prompts take them in turn. */
  readonly prefixes: number;
  readonly seed: number;
}

/** Counts the tokens of a prompt. */
export type Count = (text: string) => Promise<number> | number;

/** About what English takes, for servers that do not say. */
export const CHARACTERS_PER_TOKEN = 4;
export const estimate: Count = (text) => Math.ceil(text.length / CHARACTERS_PER_TOKEN);

/** Numbers in [0, 1) that follow from a seed: xorshift with 32 bits, whose state is never 0. */
export function numbers(seed: number): () => number {
  let x = Math.imul(seed + 1, 0x9e3779b1) | 0 || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) / 2 ** 32;
  };
}

const WORDS =
  "the of and to a in is that for it as was with be by on not he his but at are this have from or had an they which one you were her all she there would their we him been has when who will more no if out so said what up its about into than them can only other new some could time these two may then do first any my now such like our over man me even most made after also did many before must through years where much your way well down should because each just those people how too little state good very make world still own see men work long get here between both life being under never day same another know while last might us great old year off come since against go came right used take three".split(
    " ",
  );

/** Random words without end. */
function* words(next: () => number): Generator<string> {
  for (;;) yield WORDS[Math.floor(next() * WORDS.length)]!;
}

/** How often a length is corrected; with words of one token and more it settles after a few. */
const TRIES = 8;

/** `before` and as many words as bring it to `tokens` tokens: exactly, or as near as whole words come without going over. */
async function grow(before: string, tokens: number, count: Count, next: () => number): Promise<string> {
  const source = words(next);
  const list: string[] = [];
  const join = (n: number) => [...(before === "" ? [] : [before]), ...list.slice(0, n)].join(" ");
  let have = 0;
  let counted = before === "" ? 0 : await count(before);
  let perWord = 1;
  for (let i = 0; i < TRIES && counted < tokens; i++) {
    const step = Math.max(1, Math.floor((tokens - counted) / perWord));
    while (list.length < have + step) list.push(source.next().value!);
    const n = await count(join(have + step));
    perWord = Math.max(0.25, (n - counted) / step);
    if (n <= tokens) {
      have += step;
      counted = n;
    } else if (step === 1) break;
  }
  return join(have);
}

/** Makes prompts one after the other. */
export async function* prompts(options: PromptOptions, count: Count): AsyncGenerator<string> {
  const { inputTokens, spread, sharedTokens, seed } = options;
  const next = numbers(seed);
  const shared: string[] = [];
  if (sharedTokens > 0)
    for (let i = 0; i < options.prefixes; i++) shared.push(await grow("", sharedTokens, count, next));
  for (let i = 0; ; i++) {
    const tokens = Math.round(inputTokens * (1 + spread * (2 * next() - 1)));
    yield await grow(shared[i % shared.length] ?? "", tokens, count, next);
  }
}
