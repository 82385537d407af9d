// What the soak's clients do: requests of every kind, each with what it must give. Seeded ones are asked alone first, and
// must give the same under load.

import { APIUserAbortError } from "openai";

const WORDS =
  "a def return class import the tensor kernel of shape and int value list for in if not self".split(" ");
const text = (seed, n) =>
  Array.from({ length: n }, (_, i) => WORDS[(seed * 7 + i * i * 3 + i) % WORDS.length]).join(" ");

export const WEATHER = {
  type: "function",
  function: {
    name: "weather",
    parameters: {
      type: "object",
      properties: { city: { enum: ["Rome", "Oslo"] }, days: { type: "integer", minimum: 1, maximum: 9 } },
      required: ["city", "days"],
      additionalProperties: false,
    },
  },
};

const user = (content) => [{ role: "user", content }];
const FORM = { type: "json_schema", json_schema: { name: "w", schema: WEATHER.function.parameters } };

/** Joins the pieces of a streamed answer. `pause` ms after each piece; stops after `most` pieces. */
async function joined(stream, { pause = 0, most = Infinity } = {}) {
  let all = "";
  let reason;
  let pieces = 0;
  for await (const chunk of stream) {
    const choice = chunk.choices[0];
    all += choice?.text ?? choice?.delta?.content ?? "";
    reason = choice?.finish_reason ?? reason;
    if (++pieces >= most) {
      stream.controller.abort();
      break;
    }
    if (pause) await new Promise((r) => setTimeout(r, pause));
  }
  return `${reason}:${all}`;
}

const whole = (r) => r.choices.map((c) => `${c.finish_reason}:${c.text ?? c.message.content}`).join("|");

function checkedJson(answer) {
  const { city, days } = JSON.parse(answer);
  if (!["Rome", "Oslo"].includes(city) || !(days >= 1 && days <= 9))
    throw new Error(`does not fit: ${answer}`);
}

/** Requests whose answer follows from their seed: `run` gives a text that is the same every time. */
export function seededWorks(client, model) {
  const { completions, chat } = client;
  const works = [];
  for (let i = 0; i < 4; i++) {
    const sampled = { model, temperature: i === 0 ? 0 : 1, seed: 100 + i };
    const prompt = text(i, 6 + i);
    works.push(
      {
        kind: "completion",
        run: async () => whole(await completions.create({ ...sampled, prompt, max_tokens: 24 })),
      },
      {
        kind: "chat",
        run: async () =>
          whole(await chat.completions.create({ ...sampled, messages: user(prompt), max_tokens: 20 })),
      },
      {
        kind: "chat stream",
        run: async () =>
          joined(
            await chat.completions.create({
              ...sampled,
              messages: user(prompt),
              max_tokens: 40,
              stream: true,
            }),
          ),
      },
      {
        kind: "slow reader",
        run: async () =>
          joined(await completions.create({ ...sampled, prompt, max_tokens: 60, stream: true }), {
            pause: 15,
          }),
      },
      {
        kind: "n = 3",
        run: async () => whole(await completions.create({ ...sampled, prompt, max_tokens: 12, n: 3 })),
      },
      // The first 60 words are the same for all.
      {
        kind: "shared prefix",
        run: async () =>
          whole(await completions.create({ ...sampled, prompt: `${text(9, 60)} ${prompt}`, max_tokens: 12 })),
      },
      {
        kind: "schema",
        run: async () => {
          const answer = whole(
            await chat.completions.create({ ...sampled, messages: user(prompt), response_format: FORM }),
          );
          checkedJson(answer.replace(/^stop:/, ""));
          return answer;
        },
      },
      {
        kind: "tools",
        run: async () => {
          const body = { ...sampled, messages: user(prompt), tools: [WEATHER], tool_choice: "required" };
          const [choice] = (await chat.completions.create(body)).choices;
          const call = choice.message.tool_calls[0].function;
          checkedJson(call.arguments);
          return `${choice.finish_reason}:${call.name}:${call.arguments}`;
        },
      },
      {
        kind: "embeddings",
        run: async () => {
          const { data } = await client.embeddings.create({
            model,
            input: [prompt, text(i + 5, 9)],
            encoding_format: "float",
          });
          return JSON.stringify(data.map((d) => d.embedding));
        },
      },
    );
  }
  return works;
}

/** Requests that must be refused, with the status. */
export function badWorks(client, model) {
  const { completions, chat } = client;
  const sample = { model, prompt: "a", max_tokens: 4 };
  const cases = [
    [400, () => completions.create({ ...sample, temperature: 9 })],
    [400, () => completions.create({ ...sample, prompt: "" })],
    [400, () => completions.create({ ...sample, n: 99 })],
    [400, () => completions.create({ ...sample, prompt: text(1, 900) })],
    [
      400,
      () =>
        chat.completions.create({
          model,
          messages: user("a"),
          response_format: { type: "json_schema", json_schema: { name: "x", schema: { type: "no" } } },
        }),
    ],
    [400, () => chat.completions.create({ model, messages: [] })],
    [404, () => completions.create({ ...sample, model: "another" })],
    [404, () => client.get("/nothing")],
    [413, () => completions.create({ ...sample, prompt: "x".repeat(5 * 1024 * 1024) })],
  ];
  return cases.map(([status, ask]) => ({
    kind: `bad: ${status}`,
    run: async () => {
      const error = await ask().then(
        () => undefined,
        (e) => e,
      );
      if (error?.status === 429) throw error;
      if (error?.status !== status)
        throw new Error(
          `wanted status ${status}, got ${error ? (error.status ?? error.message) : "an answer"}`,
        );
    },
  }));
}

/** Requests whose client leaves. Nothing is expected of them but that they harm nobody. */
export function abortedWorks(client, model, random) {
  const { completions, chat } = client;
  const ignore = (e) => {
    if (!(e instanceof APIUserAbortError) && e?.name !== "AbortError") throw e;
  };
  const body = () => ({
    model,
    prompt: text(Math.floor(random() * 50), 12),
    max_tokens: 200,
    temperature: 1,
  });
  return [
    {
      kind: "abort in a stream",
      run: async () =>
        joined(await completions.create({ ...body(), stream: true }), {
          most: 1 + Math.floor(random() * 12),
        }).catch(ignore),
    },
    {
      kind: "abort while waiting",
      run: async () =>
        completions
          .create(body(), { signal: AbortSignal.timeout(1 + Math.floor(random() * 60)) })
          .catch(ignore),
    },
    {
      kind: "abort of several",
      run: async () =>
        chat.completions
          .create(
            { model, messages: user("x"), n: 4, max_tokens: 100 },
            { signal: AbortSignal.timeout(5 + Math.floor(random() * 80)) },
          )
          .catch(ignore),
    },
    {
      // A client that asks, reads nothing, and goes away later.
      kind: "deaf reader",
      run: async () => {
        const stream = await completions.create({ ...body(), stream: true }).catch(ignore);
        await new Promise((r) => setTimeout(r, 300));
        stream?.controller.abort();
      },
    },
  ];
}
