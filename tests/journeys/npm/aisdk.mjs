// node aisdk.mjs: read one case per line, JSON {"version", "streams"}, and print the chat of Vercel's AI SDK as JSON.
// The first stream answers a message; each further one is what the chat gets when it resumes. Its `parts` are the last
// message's; its `errors`, `data` and `finished` are what the app's callbacks got.
import { createInterface } from "node:readline";
import { Chat as Chat7 } from "@ai-sdk/react";
import { DefaultChatTransport as Transport7 } from "ai";
import { Chat as Chat6 } from "ai-react6";
import { DefaultChatTransport as Transport6 } from "ai6";

async function run({ version, streams }) {
  const [Chat, Transport] = version === 7 ? [Chat7, Transport7] : [Chat6, Transport6];
  const errors = [];
  const data = [];
  const finished = [];
  const fetch = async () => new Response(streams.shift(), { headers: { "content-type": "text/event-stream" } });
  const chat = new Chat({
    id: "chat",
    transport: new Transport({ fetch }),
    onData: (part) => data.push(part.type),
    onError: (error) => errors.push(error.message),
    onFinish: ({ isAbort, isError, finishReason }) => finished.push({ isAbort, isError, finishReason }),
  });
  await chat.sendMessage({ text: "question" });
  while (streams.length > 0) await chat.resumeStream();
  const { id, parts, metadata } = chat.messages.at(-1);
  return { id, parts, metadata, count: chat.messages.length, status: chat.status, errors, data, finished };
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await run(JSON.parse(line))));
}
