// Sends the questions that wait, one at a time in each conversation, and decides about those that are not accepted.

import { OUTAGES } from "../base/notices.js";
import { preferences, setPreferences } from "../base/preferences.js";
import { newKey } from "./unsent.js";

/**
 * @import { MillraceError } from "../client.js"
 * @import { Conversation } from "./conversation.js"
 * @import { Queued } from "./unsent.js"
 */

const TOO_MANY = 429;
const FIRST_PAUSE_MS = 3000;
const MAX_PAUSE_MS = 30_000;

/**
 * @typedef {object} SenderParts
 * @property {import("./composer.js").Composer} composer
 * @property {import("../base/notices.js").Notices} notices
 * @property {() => Iterable<Conversation>} conversations - all that may have questions
 * @property {(conversation: Conversation) => boolean} isOpen
 * @property {(conversation: Conversation) => void} onChange
 * @property {(conversation: Conversation) => void} onAsked - a question was accepted
 * @property {(left: Conversation, error: MillraceError) => void} onAbandoned - the question of a new conversation that was
 *   left was not accepted
 */

export class Sender {
  #parts;
  /** @type {WeakSet<Queued>} */
  #sending = new WeakSet(); // questions whose requests are under way
  #timer = 0; // runs until the questions that the server could not take are sent again
  #pauseMs = FIRST_PAUSE_MS;
  #isClosed = false;

  /** @param {SenderParts} parts */
  constructor(parts) {
    this.#parts = parts;
  }

  /**
   * Send the first question that waits, if it can be sent; resolves to whether it was accepted, null if it waits on.
   *
   * @param {Conversation} conversation
   */
  async sendNext(conversation) {
    const { composer, onChange, onAsked } = this.#parts;
    const { unsent } = conversation;
    const next = unsent.queue[0];
    if (!next || this.#sending.has(next) || conversation.isAsking || !conversation.isLoaded || composer.isCounting) return null;
    // One that was sent before a reload is sent again, with the same key, even while its own answer may be running.
    if (next.state !== "sending" && (next.state !== "waiting" || !conversation.canAsk)) return null;
    if (!next.isDirect && conversation.hasFailed && next.state === "waiting") {
      unsent.change("waiting", "held");
      onChange(conversation);
      return null;
    }
    next.state = "sending";
    unsent.save();
    this.#sending.add(next);
    const error = await conversation.ask(next);
    this.#sending.delete(next);
    if (error === null) {
      this.#pauseMs = FIRST_PAUSE_MS;
      unsent.remove(next);
      onAsked(conversation);
    } else this.#refused(conversation, next, error);
    onChange(conversation);
    return error === null;
  }

  /** Send the questions that the server could not take before. */
  resume() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (!navigator.onLine || this.#isClosed) return; // the browser reports when it is online again
    for (const conversation of this.#parts.conversations()) {
      conversation.unsent.change("later", "waiting");
      this.#parts.onChange(conversation);
    }
  }

  close() {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  /**
   * @param {Conversation} conversation
   * @param {Queued} queued
   * @param {MillraceError} error
   */
  #refused(conversation, queued, error) {
    const { composer, notices, isOpen, onAbandoned } = this.#parts;
    const { unsent } = conversation;
    if (conversation.id === null && !isOpen(conversation)) return onAbandoned(conversation, error);
    if (error.code === "conversation_busy") queued.state = "waiting";
    else if (error.field === "model" && queued.model !== null) forgetModel(queued);
    else if (OUTAGES.includes(error.status)) this.#sendLater(queued); // it may have arrived: it is sent again, with its key
    else if (queued.isDirect && unsent.draft === "") {
      unsent.remove(queued);
      unsent.draft = queued.text;
      if (isOpen(conversation)) composer.text = unsent.draft;
    } else if (error.status === TOO_MANY) this.#sendLater(queued);
    else queued.state = "held";
    unsent.save();
    if (error.status !== TOO_MANY || error.retryAfter <= 0) return;
    composer.countDown(error.retryAfter, () => {
      notices.clearFailure("ask");
      this.resume();
    });
  }

  /** @param {Queued} queued */
  #sendLater(queued) {
    queued.state = "later";
    if (this.#timer) return;
    this.#timer = setTimeout(() => this.resume(), this.#pauseMs);
    this.#pauseMs = Math.min(2 * this.#pauseMs, MAX_PAUSE_MS);
  }
}

/**
 * The server does not offer the chosen model any more: its own choice answers, from now on.
 *
 * @param {Queued} queued
 */
function forgetModel(queued) {
  if (preferences().model === queued.model) setPreferences({ model: null });
  Object.assign(queued, { model: null, key: newKey(), state: "waiting" });
}
