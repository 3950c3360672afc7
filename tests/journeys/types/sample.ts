// A program of a user of the package: it must compile as it stands.

import { fold, follow, Millrace, MillraceError, START, type Answer, type GenerationEvent, type MessagePage } from "millrace-client";

const millrace = new Millrace({ base: "https://example.com/chat/", headers: async () => ({ Authorization: "Bearer x" }), credentials: "include" });
millrace.streaming = "auto";

export async function ask(question: string, signal: AbortSignal): Promise<Answer> {
  const { id, conversation_id } = await millrace.ask({ message: question, search: false, model: null }, { signal });
  let answer = START;
  await millrace.follow(id, { signal, onEvent: (event: GenerationEvent, cursor: string) => (answer = cursor ? fold(answer, event) : answer) });
  const page: MessagePage = await millrace.call(`api/conversations/${conversation_id}/messages`);
  const [first] = page.messages;
  if (first?.outcome?.type === "complete") console.log(first.outcome.usage.output_tokens);
  await millrace.edit(conversation_id, first!.id, "Again?");
  await millrace.stop(id).catch((error) => error instanceof MillraceError && error.retryAfter);
  return answer;
}

const connection = millrace.connect({ onFeed: (event) => event.type === "generation_ended" && event.status });
connection.start();
connection.follow("x", { take: (event) => event.type === "chunk" && event.content.length, reject: ({ code }) => code });
void follow(() => millrace.url("api/events?follow=x"), { onEvent: () => {}, streaming: false, silenceMs: 1 });

// @ts-expect-error: text is a string
export const wrong: number = START.text;
// @ts-expect-error: there is no such field
void millrace.ask({ mesage: "x" });
