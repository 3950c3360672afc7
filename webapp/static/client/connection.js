// One connection for many generations and the owner's feed: see `Connection` in client.d.ts.

import { follow } from "./follow.js";
import { advance, FeedPoller, GenerationPoller, poll } from "./polling.js";
import { MillraceError } from "./request.js";

/**
 * @import { ConnectionHandlers, FollowOptions } from "../client.js"
 * @import { FeedEvent, GenerationEvent } from "../events.js"
 * @import { PollSink } from "./polling.js"
 */

const FEED_POLL_MS = 4000;

/**
 * @typedef {object} Followed
 * @property {string} cursor
 * @property {boolean} hasOutcome
 * @property {(event: GenerationEvent, id: string) => void} take
 * @property {(error: MillraceError) => void} reject
 * @property {GenerationPoller} poller
 */

export class Connection {
  #base;
  #options;
  #handlers;
  #memory;
  #isStarted = false;
  #isPaused = false;
  #isDue = false; // is opened at the end of the current task
  /** @type {AbortController | null} */
  #open = null;
  /** @type {string | null} */
  #position = null; // the last event of the feed; null if there is none, or if later ones may have been missed
  /** @type {Map<string, Followed>} */
  #followed = new Map();

  /**
   * @param {string} base
   * @param {() => Omit<FollowOptions, "onEvent">} options
   * @param {ConnectionHandlers} handlers
   * @param {import("./follow.js").Memory} memory
   */
  constructor(base, options, handlers, memory) {
    this.#base = base;
    this.#options = options;
    this.#handlers = handlers;
    this.#memory = memory;
  }

  start() {
    this.#isStarted = true;
    if (!this.#open) this.#reopen();
  }

  /**
   * @param {string} generation
   * @param {{take: (event: GenerationEvent, id: string) => void, reject?: (error: MillraceError) => void, after?: string}} handlers
   */
  follow(generation, { take, reject = () => {}, after = "" }) {
    this.#followed.set(generation, { cursor: after, hasOutcome: false, take, reject, poller: new GenerationPoller() });
    this.#isStarted = true;
    this.#reopen();
  }

  /** @param {string} generation */
  unfollow(generation) {
    this.#followed.delete(generation);
  }

  pause() {
    this.#isPaused = true;
    this.#position = null;
    this.#close();
    this.#handlers.onConnection?.(true); // it is not lost
  }

  resume() {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    if (this.#isStarted) this.#reopen();
    else this.#handlers.onMissed?.();
  }

  close() {
    this.#isStarted = false;
    this.#position = null;
    this.#followed.clear();
    this.#close();
  }

  #close() {
    this.#open?.abort();
    this.#open = null;
  }

  // Opens one connection for all generations that are followed in one task.
  #reopen() {
    this.#close();
    if (this.#isDue) return;
    this.#isDue = true;
    queueMicrotask(() => {
      this.#isDue = false;
      if (!this.#isStarted || this.#isPaused || this.#open) return;
      this.#open = new AbortController();
      this.#run(this.#open.signal);
    });
  }

  #address() {
    const query = new URLSearchParams({ feed: this.#position ?? "1" });
    for (const [id, { cursor }] of this.#followed) query.append("follow", [id, cursor].filter(Boolean).join("@"));
    return `${this.#base}api/events?${query}`;
  }

  /** @param {AbortSignal} signal */
  async #run(signal) {
    const feed = new FeedPoller();
    let feedDueAt = 0;
    /** @type {import("./follow.js").PollOnce} */
    const pollOnce = async (_, { onEvent }, init) => {
      let hasChanged = await this.#pollFollowed(onEvent, init);
      if (performance.now() < feedDueAt) return hasChanged;
      feedDueAt = performance.now() + FEED_POLL_MS;
      const { conversations } = await poll(`${this.#base}api/conversations`, init);
      const take = (/** @type {FeedEvent} */ event) => signal.aborted || this.#handlers.onFeed?.(event);
      const read = (/** @type {string} */ id) => poll(this.#stateUrl(id), init);
      return (await feed.take(conversations, take, read)) || hasChanged;
    };
    const options = {
      ...this.#options(),
      signal,
      // The next connection may begin while this one still has events: they come again on the next one.
      onEvent: (/** @type {any} */ event, /** @type {string} */ id) => signal.aborted || this.#apply(event, id),
      onConnection: (/** @type {boolean} */ isConnected) => signal.aborted || this.#changeConnection(isConnected),
    };
    try {
      await follow(() => this.#address(), options, pollOnce, this.#memory);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof MillraceError)) throw error;
      this.#refuse(error);
    }
  }

  /** @param {string} generation */
  #stateUrl(generation) {
    return `${this.#base}api/generations/${generation}`;
  }

  /**
   * @param {PollSink["onEvent"]} onEvent
   * @param {RequestInit} init
   */
  async #pollFollowed(onEvent, init) {
    let hasChanged = false;
    for (const [generation, followed] of [...this.#followed]) {
      try {
        const state = await poll(this.#stateUrl(generation), init);
        const sink = {
          onEvent: (/** @type {GenerationEvent} */ event, /** @type {string} */ id) =>
            onEvent(/** @type {any} */ ({ ...event, generation }), `${generation}@${id}`),
          onEnd: () => this.unfollow(generation),
        };
        hasChanged = followed.poller.take(state, followed, sink) || hasChanged;
      } catch (error) {
        if (!(error instanceof MillraceError && error.status === 404)) throw error;
        this.#reject(generation, error);
      }
    }
    return hasChanged;
  }

  /**
   * @param {any} event
   * @param {string} id
   */
  #apply(event, id) {
    const [source, cursor] = id.split("@");
    if (source === "feed") {
      this.#position = cursor;
      this.#handlers.onFeed?.(event);
      return;
    }
    const followed = this.#followed.get(source);
    if (!followed) return;
    advance(followed, event, cursor);
    if (event.type === "done") this.#followed.delete(source);
    followed.take(event, cursor);
  }

  /** @param {boolean} isConnected */
  #changeConnection(isConnected) {
    this.#handlers.onConnection?.(isConnected);
    if (!isConnected) this.#position = null;
    else if (this.#position === null) this.#handlers.onMissed?.();
  }

  /**
   * @param {string} generation
   * @param {MillraceError} error
   */
  #reject(generation, error) {
    const followed = this.#followed.get(generation);
    this.#followed.delete(generation);
    followed?.reject(error);
  }

  /**
   * One generation that does not exist refuses all: it alone is rejected, if the server names it, and the others go on.
   * @param {MillraceError} error
   */
  #refuse(error) {
    this.#open = null;
    if (error.status !== 404 || !this.#followed.size) {
      this.#handlers.onConnection?.(true); // there is nothing to wait for
      this.#handlers.onRefused?.(error);
      return;
    }
    const unknown = this.#followed.has(error.generation) ? [error.generation] : [...this.#followed.keys()];
    this.#reopen();
    for (const each of unknown) this.#reject(each, error);
  }
}
