// The official SDK with /v1/responses: its helper, a dropped stream that is resumed, a cancel, and an error.
import OpenAI from "openai";

const [baseURL, apiKey, question, endless] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const found = {};

const helper = client.responses.stream({ input: question });
const final = await helper.finalResponse();
found.helper = { text: final.output_text, status: final.status, kinds: final.output.map((item) => item.type) };

const received = [];
const first = await client.responses.create({ input: question, background: true, stream: true });
for await (const event of first) {
  received.push(event);
  if (event.type === "response.output_text.delta") break;
}
const id = received[0].response.id;
while (received.at(-1).type !== "response.completed") {
  const startingAfter = received.at(-1).sequence_number;
  const rest = await client.responses.retrieve(id, { stream: true, starting_after: startingAfter });
  for await (const event of rest) {
    received.push(event);
    if (received.length % 3 === 0) break;
  }
}
found.resumed = {
  numbers: received.map((event) => event.sequence_number),
  text: received.map((event) => (event.type === "response.output_text.delta" ? event.delta : "")).join(""),
};
const again = client.responses.stream({ response_id: id, starting_after: 3 });
found.again = (await again.finalResponse()).output_text;

const running = await client.responses.create({ input: endless, background: true, stream: true });
const states = [];
for await (const event of running) {
  if (event.response) states.push(event);
  if (event.type === "response.output_text.delta" && !found.cancelled) {
    found.cancelled = [(await client.responses.cancel(states[0].response.id)).status];
  }
}
found.cancelled.push(states.at(-1).type, states.at(-1).response.status);

try {
  await client.responses.create({ input: "a", tools: [{ type: "web_search" }] });
} catch (error) {
  found.error = [error.status, error.param, error.code];
}
console.log(JSON.stringify(found).replaceAll("\u2028", "\\u2028")); // the reader of this line splits at U+2028
