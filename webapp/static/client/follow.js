// Follows a stream through lost connections, and polls where streams do not pass: see `follow` in client.d.ts.

import { advance, GenerationPoller, poll } from "./polling.js";
import { pause } from "./request.js";
import { ConnectionLost, readEventSource, readFetch, Watch } from "./stream.js";

/**
 * @import { FollowOptions } from "../client.js"
 * @import { GenerationEvent } from "../events.js"
 * @import { Place, PollSink } from "./polling.js"
 */

const HEARTBEAT_MS = 15_000; // the server's default
const MAX_MISSED_HEARTBEATS = 2.5;
const PAUSE_MS = 1500;
const MAX_PAUSE_MS = 15_000;
const FIRST_BYTE_MS = 5000; // a stream begins with some bytes at once; where none arrive, a proxy may be buffering them
const QUICK_MS = 2500; // such a proxy passes other responses on
const STREAM_AGAIN_MS = 300_000;
const POLL_MS = 500;
const MAX_POLL_MS = 8000;

/**
 * What the streams of one `Millrace` have learned: the server's heartbeats, and until when streams do not pass.
 * @typedef {object} Memory
 * @property {number} heartbeatMs
 * @property {number} streamsAgainAt by `performance.now()`: changes of the computer's clock change nothing
 */

/** @returns {Memory} */
export const newMemory = () => ({ heartbeatMs: HEARTBEAT_MS, streamsAgainAt: 0 });

/**
 * Polls once; resolves to whether anything has changed.
 * @typedef {(place: Place, sink: PollSink, init: RequestInit) => Promise<boolean>} PollOnce
 */

/**
 * @param {string | (() => string)} url
 * @param {FollowOptions} options
 * @param {PollOnce | null} [pollOnce]
 * @param {Memory} [memory]
 */
export function follow(url, options, pollOnce, memory) {
  return new Follower(url, options, pollOnce, memory).run();
}

/** @param {string | (() => string)} url */
function statePollerOf(url) {
  if (typeof url !== "string" || !url.endsWith("/events")) return null;
  const poller = new GenerationPoller();
  /** @type {PollOnce} */
  return async (place, sink, init) => poller.take(await poll(url.slice(0, -"/events".length), init), place, sink);
}

class Follower {
  #url;
  #options;
  #request;
  #pollOnce;
  #memory;
  #place;
  #firstPauseMs;
  #pollMs = POLL_MS;
  #failures = 0;
  #isDone = false;
  /** @type {boolean | null} */
  #isConnected = null;
  #isPatient = false; // about the first byte
  #mayListen = true; // by EventSource: not after one that has got nothing, since only fetch sees why

  /**
   * @param {string | (() => string)} url
   * @param {FollowOptions} options
   * @param {PollOnce | null} pollOnce
   */
  constructor(url, options, pollOnce = statePollerOf(url), memory = newMemory()) {
    const { onEvent, onConnection, after, signal, silenceMs, pauseMs, headers, streaming = "auto", ...request } = options;
    this.#url = url;
    this.#options = { onEvent, onConnection, signal, silenceMs, pauseMs, headers, streaming };
    this.#request = request;
    this.#pollOnce = pollOnce;
    this.#memory = memory;
    this.#place = { cursor: after ?? "", hasOutcome: false };
    this.#firstPauseMs = pauseMs ?? PAUSE_MS;
  }

  /** @returns {Promise<void>} */
  async run() {
    const { signal } = this.#options;
    while (!this.#isDone) {
      const startedAt = performance.now();
      const mustPoll = this.#mustPoll;
      const isHasty = !mustPoll && this.#isHasty;
      const watch = new Watch(Math.min(isHasty ? FIRST_BYTE_MS : Infinity, this.#silenceMs), signal, () => this.#report(false));
      let pauseMs = 0;
      try {
        if (mustPoll) pauseMs = await this.#poll(watch.signal);
        else await this.#read(watch);
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof ConnectionLost)) throw error;
        if (isHasty && watch.isExpired && !watch.hasHeard) pauseMs = await this.#findOutWhetherItIsBuffered();
        // An EventSource that has given up cannot say why: fetch finds out at once.
        else if (!error.isFinal) pauseMs = this.#lose(watch, startedAt, error.retryAfterMs);
      } finally {
        watch.stop();
      }
      if (!this.#isDone) await pause(pauseMs, signal);
    }
  }

  get #silenceMs() {
    return this.#options.silenceMs ?? MAX_MISSED_HEARTBEATS * this.#memory.heartbeatMs;
  }

  get #mustPoll() {
    const { streaming } = this.#options;
    if (streaming === true || !this.#pollOnce) return false;
    return streaming === false || this.#memory.streamsAgainAt > performance.now() || !("ReadableStream" in globalThis || "EventSource" in globalThis);
  }

  get #isHasty() {
    return this.#options.streaming === "auto" && this.#pollOnce !== null && !this.#isPatient;
  }

  /** @param {boolean} isConnected */
  #report(isConnected) {
    if (this.#isConnected === isConnected) return;
    this.#isConnected = isConnected;
    this.#options.onConnection?.(isConnected);
  }

  /**
   * Returns how long to wait before the next try.
   * @param {Watch} watch
   * @param {number} startedAt
   * @param {number} retryAfterMs
   */
  #lose(watch, startedAt, retryAfterMs) {
    this.#report(false);
    if (watch.isOnlineAgain) return 0;
    if (performance.now() - startedAt > 2 * MAX_PAUSE_MS) this.#failures = 0; // it was a good connection, though nothing happened on it
    const first = this.#firstPauseMs;
    const backoffMs = Math.max(first, Math.min(first * 2 ** this.#failures++, MAX_PAUSE_MS));
    return Math.max(backoffMs * (0.5 + Math.random() / 2), retryAfterMs);
  }

  /**
   * @param {GenerationEvent} event
   * @param {string | undefined} id
   */
  #take(event, id) {
    this.#options.signal?.throwIfAborted();
    this.#failures = 0;
    advance(this.#place, event, id);
    this.#options.onEvent(event, this.#place.cursor);
    this.#isDone ||= event.type === "done" && !("generation" in event);
    return this.#isDone;
  }

  async #init() {
    const { headers } = this.#options;
    return { ...this.#request, headers: { ...(typeof headers === "function" ? await headers() : headers) } };
  }

  /** @param {Watch} watch */
  async #read(watch) {
    const url = typeof this.#url === "string" ? this.#url : this.#url();
    const cursor = typeof this.#url === "string" ? this.#place.cursor : "";
    const init = await this.#init();
    const sink = {
      onOpen: (/** @type {number} */ heartbeatSeconds) => {
        this.#memory.heartbeatMs = heartbeatSeconds * 1000 || this.#memory.heartbeatMs;
        if (watch.hasHeard) watch.limit(this.#silenceMs);
        this.#report(true);
      },
      onHeard: () => {
        if (!watch.hasHeard) watch.limit(this.#silenceMs);
        watch.hear();
        this.#report(true);
      },
      onRetry: (/** @type {number} */ milliseconds) => {
        this.#firstPauseMs = this.#options.pauseMs ?? milliseconds;
      },
      onEvent: (/** @type {string} */ data, /** @type {string | undefined} */ id) => this.#take(JSON.parse(data), id),
    };
    if (this.#mayListen && canListen(init)) {
      this.#mayListen = false;
      const after = cursor && `${url.includes("?") ? "&" : "?"}after=${cursor}`;
      try {
        await readEventSource(url + after, init.credentials === "include", watch.signal, sink);
      } finally {
        this.#mayListen = watch.hasHeard;
      }
    } else {
      this.#mayListen = true;
      const headers = { ...init.headers, Accept: "text/event-stream", ...(cursor && { "Last-Event-ID": cursor }) };
      this.#isDone = await readFetch(url, { ...init, headers, cache: "no-store", signal: watch.signal }, sink);
    }
    if (!this.#isDone) throw new ConnectionLost("the stream has ended");
  }

  /**
   * Polls once, and returns how long to wait before the next time.
   * @param {AbortSignal} signal
   */
  async #poll(signal) {
    const sink = {
      onEvent: (/** @type {GenerationEvent} */ event, /** @type {string} */ id) => this.#take(event, id),
      onEnd: () => (this.#isDone = true),
    };
    const poll = /** @type {PollOnce} */ (this.#pollOnce);
    const hasChanged = await poll(this.#place, sink, { ...(await this.#init()), signal });
    this.#report(true);
    this.#pollMs = hasChanged ? POLL_MS : Math.min(this.#pollMs * 1.5, MAX_POLL_MS);
    return this.#pollMs;
  }

  // Polls once: where that succeeds and a stream brings nothing, a proxy buffers the stream. Returns how long to wait.
  async #findOutWhetherItIsBuffered() {
    const { signal } = this.#options;
    const watch = new Watch(QUICK_MS, signal, () => this.#report(false));
    try {
      const pauseMs = await this.#poll(watch.signal);
      this.#memory.streamsAgainAt = performance.now() + STREAM_AGAIN_MS;
      return pauseMs;
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof ConnectionLost)) throw error;
      this.#isPatient = true;
      this.#report(false);
      return 0;
    } finally {
      watch.stop();
    }
  }
}

/** @param {RequestInit & {headers: object}} init */
function canListen({ headers, credentials = "same-origin", ...rest }) {
  return "EventSource" in globalThis && credentials !== "omit" && !Object.keys({ ...headers, ...rest }).length;
}
