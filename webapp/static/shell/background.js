// The owner's feed while pages are hidden. A browser opens six connections per host over HTTP/1.1: however many tabs there are,
// one of the hidden ones, the holder of a lock, keeps a connection for the feed, and passes its events on to the others.

import { openChannel } from "./channel.js";

/**
 * @typedef {object} BackgroundHandlers
 * @property {(event: any) => void} onFeed
 * @property {() => void} onMissed - events may have been missed
 */

export class BackgroundFeed {
  #millrace;
  #handlers;
  #name = `millrace feed ${location.pathname}`;
  #channel = openChannel(this.#name);
  /** @type {AbortController | null} */
  #hidden = null; // aborted when the page is visible again

  /**
   * @param {import("../client.js").Millrace} millrace
   * @param {BackgroundHandlers} handlers
   */
  constructor(millrace, handlers) {
    this.#millrace = millrace;
    this.#handlers = handlers;
    this.#channel.addEventListener("message", (/** @type {any} */ { data }) => this.#hidden && isFeedEvent(data) && this.#take(data));
  }

  /** Take part while the page is hidden. A page that holds a lock is also spared when the browser freezes hidden ones. */
  start() {
    if (this.#hidden || !navigator.locks) return; // without HTTPS there are no locks
    this.#hidden = new AbortController();
    const { signal } = this.#hidden;
    navigator.locks.request(this.#name, { signal }, () => this.#hold(signal)).catch(() => {}); // visible before its turn came
  }

  stop() {
    this.#hidden?.abort();
    this.#hidden = null;
  }

  /**
   * Keep the connection until the signal is aborted.
   *
   * @param {AbortSignal} signal
   */
  #hold(signal) {
    const share = (/** @type {any} */ event) => {
      this.#channel.postMessage(event);
      this.#take(event);
    };
    const connection = this.#millrace.connect({ onFeed: share, onMissed: () => share(null) });
    connection.start();
    return new Promise((resolve) =>
      signal.addEventListener("abort", () => {
        connection.close();
        resolve(undefined);
      }),
    );
  }

  /** @param {any} event - null: some may have been missed */
  #take(event) {
    if (event === null) this.#handlers.onMissed();
    else this.#handlers.onFeed(event);
  }
}

/**
 * Any page of this origin may write into the channel.
 *
 * @param {any} data
 */
function isFeedEvent(data) {
  return data === null || (typeof data?.type === "string" && typeof data.conversation_id === "string");
}
