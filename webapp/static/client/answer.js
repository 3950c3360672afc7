// The answer that events make: see `Answer` in client.d.ts.

/** @import { Answer, GenerationEvent } from "../client.js" */

/** @type {Answer} */
export const START = {
  status: "queued",
  text: "",
  reasoning: "",
  citations: [],
  tools: [],
  images: [],
  context: null,
  outcome: null,
  title: null,
  suggestions: [],
  isDone: false,
};

/**
 * @param {Answer} answer
 * @param {GenerationEvent} event
 * @returns {Answer}
 */
export function fold(answer, event) {
  switch (event.type) {
    case "status":
      return { ...answer, status: event.status, progress: event };
    case "context":
      return { ...answer, context: event };
    case "snapshot": {
      const { content: text, reasoning, citations, tools, images = [] } = event;
      return { ...answer, text, reasoning, citations, tools, images };
    }
    case "chunk":
      return { ...answer, text: answer.text + event.content };
    case "reasoning":
      return { ...answer, reasoning: answer.reasoning + event.content };
    case "citation":
      return { ...answer, citations: [...answer.citations, event] };
    case "image":
      return { ...answer, images: [...answer.images, event] };
    case "tool_use":
    case "tool_result":
      return { ...answer, tools: [...answer.tools, event] };
    case "complete":
    case "cancelled":
    case "error":
      return { ...answer, outcome: event };
    case "title":
      return { ...answer, title: event.title };
    case "suggestions":
      return { ...answer, suggestions: event.suggestions };
    case "done":
      return { ...answer, status: event.status, isDone: true };
    default:
      return answer; // an event of a newer server
  }
}
