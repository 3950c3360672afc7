// node openai_chat.mjs URL CUT_URL KEY MESSAGES: use the openai package; the stream at CUT_URL is cut once.
// Print {whole, streamed, usage, helper, errors, received, resumed, cancelled, headers}. MESSAGES has a message per use.
import OpenAI from "openai";

const [url, cutUrl, apiKey, given] = process.argv.slice(2);
const messages = JSON.parse(given);
const headers = new Set(); // of all requests
const recordingFetch = (address, init) => {
  for (const [name] of new Headers(init.headers)) headers.add(name);
  return fetch(address, init);
};
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0, fetch: recordingFetch });
const model = (await client.models.list()).data[0].id;

function asking(message, more = {}) {
  return { model, messages: [{ role: "user", content: message }], ...more };
}

async function read(stream, chunks = []) {
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

function textOf(chunks) {
  return chunks.map((chunk) => chunk.choices[0]?.delta?.content ?? "").join("");
}

async function nameOf(promise) {
  try {
    await promise;
    return "none";
  } catch (error) {
    return `${error.constructor.name} ${error.code} ${error.param}`;
  }
}

function follow(id, after) {
  const query = { stream: true, starting_after: after };
  return client.get(`/chat/completions/${id}`, { query, stream: true });
}

const found = {};
found.whole = (await client.chat.completions.create(asking(messages.text))).choices[0].message.content;

const options = { stream: true, stream_options: { include_usage: true } };
const streamed = await read(await client.chat.completions.create(asking(messages.text, options)));
found.streamed = textOf(streamed);
found.usage = streamed.at(-1).usage.completion_tokens > 0;

const helper = client.chat.completions.stream(asking(messages.text));
found.helper = [await helper.finalContent(), (await helper.finalChatCompletion()).choices[0].finish_reason];

const create = (body) => client.chat.completions.create(body);
const stranger = new OpenAI({ baseURL: `${url}/v1`, apiKey: "mr-wrong", maxRetries: 0 });
found.errors = {
  refused: await nameOf(create(asking(messages.text, { n: 2 }))),
  model: await nameOf(create({ ...asking(messages.text), model: "none" })),
  key: await nameOf(stranger.models.list()),
  throttled: await nameOf(create(asking(messages.throttled))),
  midstream: await nameOf(create(asking(messages.broken, { stream: true })).then((stream) => read(stream))),
};

const cut = new OpenAI({ baseURL: `${cutUrl}/v1`, apiKey, maxRetries: 0 });
const received = [];
try {
  await read(await cut.chat.completions.create(asking(messages.slow, { stream: true })), received);
} catch {
  found.received = received.length;
}
const rest = await read(await follow(received[0].id, received.length));
found.resumed = [textOf([...received, ...rest]), rest.at(-1).choices[0].finish_reason];

const endless = await client.chat.completions.create(asking(messages.endless, { stream: true }));
const chunks = [];
for await (const chunk of endless) {
  if (!chunks.length) await client.post(`/chat/completions/${chunk.id}/cancel`);
  chunks.push(chunk);
}
found.cancelled = [chunks.at(-1).choices[0].finish_reason, chunks.at(-1).cancelled_by];

found.headers = [...headers];
console.log(JSON.stringify(found));
process.exit(0);
