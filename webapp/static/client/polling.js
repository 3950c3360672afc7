// The events that polling stands for, where streams do not pass: text that has grown is a `chunk`, any other change a
// `snapshot`.

import { MillraceError, requestJson } from "./request.js";
import { ConnectionLost, lostBy } from "./stream.js";

/**
 * @import { ConversationSchema, GenerationView } from "../api.js"
 * @import { FeedEvent, GenerationEvent } from "../events.js"
 */

/**
 * Gets each event with its id; `onEnd` is called where the generation has ended and the cursor is at its end.
 * @typedef {object} PollSink
 * @property {(event: GenerationEvent, id: string) => unknown} onEvent
 * @property {() => void} onEnd
 */

/** @type {Partial<GenerationView>} */
const EMPTY = { content: "", reasoning: "", citations: [], tools: [], images: [], outcome: null, title: null, suggestions: [] };

/**
 * How much of a generation has been taken.
 * @typedef {{cursor: string, hasOutcome: boolean}} Place
 */

/**
 * @param {Place} place
 * @param {GenerationEvent} event
 * @param {string | undefined} id
 */
export function advance(place, { type }, id) {
  place.cursor = id || place.cursor;
  place.hasOutcome ||= ["complete", "cancelled", "error"].includes(type);
}

/**
 * Returns JSON; throws ConnectionLost where another try may help.
 * @param {string} url
 * @param {RequestInit} init
 */
export async function poll(url, init) {
  try {
    return await requestJson(url, init);
  } catch (error) {
    if (init.signal?.aborted) throw new ConnectionLost(error);
    throw (error instanceof MillraceError && lostBy(error)) || error;
  }
}

/** What has been seen of one generation. */
export class GenerationPoller {
  /** @type {GenerationView | null} */
  #seen = null;

  /**
   * Takes the events that lead from a place to a state; returns whether the state has changed.
   * @param {GenerationView} state
   * @param {Place} place
   * @param {PollSink} sink
   */
  take(state, { cursor, hasOutcome }, { onEvent, onEnd }) {
    const id = state.last_event_id;
    const isSame = cursor === id;
    const seen = cursor === "" ? EMPTY : this.#seen?.last_event_id === cursor ? this.#seen : isSame ? state : null;
    this.#seen = state;
    const hasEnded = state.done ?? state.outcome !== null;
    if (isSame && hasEnded) onEnd();
    if (isSame) return false;
    for (const event of eventsBetween(seen, state, hasOutcome)) onEvent(event, id);
    if (hasEnded) onEvent(/** @type {GenerationEvent} */ ({ type: "done", status: state.status }), id);
    return true;
  }
}

/**
 * @param {Partial<GenerationView> | null} seen - null if it is unknown
 * @param {GenerationView} state
 * @param {boolean} hasOutcome
 * @returns {Generator<GenerationEvent>}
 */
function* eventsBetween(seen, state, hasOutcome) {
  const { status, content, outcome, title, suggestions } = state;
  if (seen?.status !== status && outcome === null) {
    const { id: generation, conversation_id, message_id, attempt } = state;
    yield /** @type {GenerationEvent} */ ({ type: "status", status, generation, conversation_id, message_id, attempt });
  }
  if (content !== null) {
    const { reasoning, citations, tools, images } = /** @type {import("../events.js").Snapshot} */ (/** @type {unknown} */ (state));
    const [oldText, oldReasoning] = [seen?.content ?? "", seen?.reasoning ?? ""];
    const rest = [citations, tools, images];
    const isGrown = seen && content.startsWith(oldText) && reasoning.startsWith(oldReasoning);
    if (isGrown && JSON.stringify(rest) === JSON.stringify([seen.citations, seen.tools, seen.images])) {
      if (reasoning !== oldReasoning) yield { type: "reasoning", content: reasoning.slice(oldReasoning.length) };
      if (content !== oldText) yield { type: "chunk", content: content.slice(oldText.length) };
    } else yield { type: "snapshot", content, reasoning, citations, tools, images, reason: "gap" };
  }
  if (outcome && !hasOutcome) yield outcome;
  if (title !== null && title !== seen?.title) yield { type: "title", title };
  if (suggestions.length && !seen?.suggestions?.length) yield { type: "suggestions", suggestions };
}

/** What has been seen of the owner's conversations. */
export class FeedPoller {
  /** @type {Map<string, ConversationSchema> | null} */
  #seen = null;

  /**
   * Takes the events that lead to a list of conversations; resolves to whether it has changed.
   * @param {ConversationSchema[]} conversations
   * @param {(event: FeedEvent) => void} onEvent
   * @param {(generation: string) => Promise<GenerationView>} read
   */
  async take(conversations, onEvent, read) {
    const seen = this.#seen;
    const now = new Map(conversations.map((each) => [each.id, each]));
    /** @type {FeedEvent[]} */
    const events = [];
    for (const [id, before] of seen ?? []) {
      const generation = before.active_generation;
      if (generation && now.get(id)?.active_generation !== generation) {
        const { status } = await read(generation).catch(() => ({ status: /** @type {const} */ ("failed") })); // it is deleted
        events.push({ type: "generation_ended", generation, conversation_id: id, status });
      }
      if (!now.has(id)) events.push({ type: "conversation_changed", conversation_id: id });
    }
    for (const [id, { active_generation: generation, ...each }] of seen ? now : []) {
      const before = seen?.get(id);
      if (generation && generation !== before?.active_generation) {
        events.push({ type: "generation_started", generation, conversation_id: id });
      }
      if (each.title !== before?.title || each.updated_at !== before?.updated_at) {
        events.push({ type: "conversation_changed", conversation_id: id });
      }
    }
    this.#seen = now;
    events.forEach(onEvent);
    return events.length > 0;
  }
}
