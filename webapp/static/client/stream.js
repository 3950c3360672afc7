// One connection that carries an event stream: by EventSource, which costs no decoding in JavaScript, or by fetch.

import { errorOf } from "./request.js";

const MAX_RETRY_AFTER_MS = 300_000;
const TICK_MS = 5000;

/**
 * The connection failed or was lost; never leaves this folder. `isFinal`: an EventSource has given up, and cannot say why.
 */
export class ConnectionLost extends Error {
  /**
   * @param {unknown} cause
   * @param {{retryAfterMs?: number, isFinal?: boolean}} [how]
   */
  constructor(cause, { retryAfterMs = 0, isFinal = false } = {}) {
    super(String(cause));
    this.retryAfterMs = retryAfterMs;
    this.isFinal = isFinal;
  }
}

/**
 * Aborts its signal when nothing was heard for a time, when the browser is online again, which may have left the
 * connection dead, and with the caller's signal. It reads the clock: timers stand still while a computer sleeps.
 */
export class Watch {
  hasHeard = false;
  isExpired = false;
  isOnlineAgain = false;
  #controller = new AbortController();
  #heardAt = Date.now();
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;
  #abort = () => this.#controller.abort();
  #expire = () => {
    this.isExpired = true;
    this.#abort();
  };
  #goOnline = () => {
    this.isOnlineAgain = true;
    this.#abort();
  };

  /**
   * @param {number} silenceMs
   * @param {AbortSignal | undefined} outer
   * @param {() => void} onOffline
   */
  constructor(silenceMs, outer, onOffline) {
    outer?.throwIfAborted();
    this.outer = outer;
    this.onOffline = onOffline;
    this.limit(silenceMs);
    outer?.addEventListener("abort", this.#abort);
    globalThis.addEventListener?.("online", this.#goOnline);
    globalThis.addEventListener?.("offline", onOffline);
  }

  get signal() {
    return this.#controller.signal;
  }

  /** @param {number} silenceMs */
  limit(silenceMs) {
    clearInterval(this.#timer);
    const tick = () => Math.abs(Date.now() - this.#heardAt) > silenceMs && this.#expire();
    this.#timer = setInterval(tick, Math.min(silenceMs / 5, TICK_MS));
  }

  hear() {
    this.#heardAt = Date.now();
    this.hasHeard = true;
  }

  stop() {
    clearInterval(this.#timer);
    this.outer?.removeEventListener("abort", this.#abort);
    globalThis.removeEventListener?.("online", this.#goOnline);
    globalThis.removeEventListener?.("offline", this.onOffline);
    this.#abort();
  }
}

/**
 * `onOpen` gets the heartbeats' seconds, NaN if they are not stated. `onEvent` returns whether it was the last one.
 * @typedef {object} Sink
 * @property {(heartbeatSeconds: number) => void} onOpen
 * @property {() => void} onHeard - bytes have arrived
 * @property {(milliseconds: number) => void} onRetry
 * @property {(data: string, id: string | undefined) => boolean} onEvent
 */

/**
 * Reads a stream by EventSource to its last event; throws ConnectionLost where it ends before, or what a handler throws.
 * @param {string} url
 * @param {boolean} withCredentials
 * @param {AbortSignal} signal
 * @param {Sink} sink
 * @returns {Promise<void>}
 */
export function readEventSource(url, withCredentials, signal, sink) {
  const source = new EventSource(url, { withCredentials });
  /** @type {Promise<void>} */
  const read = new Promise((resolve, reject) => {
    /** @param {() => void} act */
    const guarded = (act) => {
      try {
        act();
      } catch (error) {
        reject(error);
      }
    };
    source.addEventListener("open", () => guarded(() => sink.onOpen(NaN)));
    source.addEventListener("ping", ({ data }) =>
      guarded(() => {
        sink.onHeard();
        const { seconds, retry } = JSON.parse(data); // as the headers and `retry:`, which EventSource does not show
        if (seconds) sink.onOpen(seconds);
        if (retry) sink.onRetry(retry);
      }),
    );
    source.addEventListener("message", ({ data, lastEventId }) =>
      guarded(() => {
        sink.onHeard();
        if (sink.onEvent(data, lastEventId)) resolve();
      }),
    );
    const lose = () => reject(new ConnectionLost("lost", { isFinal: source.readyState === 2 }));
    source.addEventListener("error", lose);
    signal.addEventListener("abort", lose);
  });
  return read.finally(() => source.close());
}

/**
 * Does the same by fetch; resolves to whether the stream is complete, which 204 says as well.
 * Throws a MillraceError for a status that no other try would change.
 * @param {string} url
 * @param {RequestInit & {signal: AbortSignal}} init
 * @param {Sink} sink
 */
export async function readFetch(url, init, sink) {
  const response = await fetch(url, init).catch((error) => {
    throw new ConnectionLost(error);
  });
  if (response.status === 204) return true;
  if (response.status !== 200 || !response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
    const error = await errorOf(response);
    throw lostBy(error) ?? error;
  }
  sink.onOpen(Number(response.headers.get("Millrace-Heartbeat-Seconds")));
  for await (const { event, data, id, retry } of framesOf(/** @type {ReadableStream<Uint8Array>} */ (response.body), sink)) {
    if (/^[0-9]+$/.test(retry)) sink.onRetry(Number(retry));
    if (data !== undefined && event === undefined && sink.onEvent(data, id)) return true; // else a heartbeat
  }
  return false;
}

/**
 * Returns the ConnectionLost that stands for a failure which another try may change, else undefined.
 * @param {import("./request.js").MillraceError} error
 */
export function lostBy({ status, retryAfter, message }) {
  if (![0, 200, 408, 425, 429].includes(status) && status < 500) return undefined;
  return new ConnectionLost(message, { retryAfterMs: Math.min(retryAfter * 1000, MAX_RETRY_AFTER_MS) });
}

/**
 * Yields the fields of each whole frame; a frame that was cut short comes again after the reconnect.
 * @param {ReadableStream<Uint8Array>} body
 * @param {Sink} sink
 */
async function* framesOf(body, sink) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error) => {
        throw new ConnectionLost(error);
      });
      if (done) return;
      sink.onHeard();
      const frames = (rest + decoder.decode(value, { stream: true })).split("\n\n");
      rest = frames.pop() ?? "";
      yield* frames.map(fieldsOf);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/**
 * @param {string} frame
 * @returns {{[name: string]: string}}
 */
function fieldsOf(frame) {
  return Object.fromEntries(frame.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
}
