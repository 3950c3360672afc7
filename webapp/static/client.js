// Follows a stream of Millrace with fetch. It resumes after the last event received, whatever happens to the connection.

const HEARTBEAT_MS = 15_000; // the server's default
const MAX_MISSED_HEARTBEATS = 2.5;
const MAX_PAUSE_MS = 15_000;
const MAX_RETRY_AFTER_MS = 300_000;

// The server refused for good: `status` is the HTTP status, and `message` can be shown to the user.
export class FollowError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// The connection failed or was lost; never leaves this file.
class ConnectionLost extends Error {}

// Calls `onEvent(event, id)` with each event after the cursor `after`, in order and once. Resolves after `done`, or when
// the generation has ended and nothing follows the cursor.
//
// `url` is the stream's address. It may be a function, called before each connection, that returns an address with the
// cursors in it, as several streams on one connection need them; `Last-Event-ID` is then not sent.
//
// Reconnects when the network fails, when the server answers 429, 5xx or something that is no event stream, and when
// nothing has arrived for `silenceMs`: by default two and a half of the server's heartbeats, whose interval it states in
// `Millrace-Heartbeat-Seconds`. Honours `Retry-After` and `retry:`.
// `onConnection(isConnected)` is called when that changes.
//
// Rejects with a FollowError for any other status (404: no such generation), with whatever `onEvent` throws, and with the
// reason of `signal` when it is aborted. `pauseMs` is the first pause before a reconnect, by default the one that the
// server asks for; it doubles up to 15 s. All other options, such as `headers` and `credentials`, are passed to fetch.
export async function follow(url, options) {
  const { onEvent, onConnection = () => {}, after = "", signal, silenceMs, pauseMs, ...request } = options;
  let cursor = after;
  let firstPauseMs = pauseMs ?? 500;
  for (let failures = 0; ; failures++) {
    let retryAfterMs = 0;
    const startedAt = Date.now();
    const watchdog = new Watchdog(silenceMs ?? MAX_MISSED_HEARTBEATS * HEARTBEAT_MS, signal);
    try {
      const isFixed = typeof url !== "function";
      const headers = { ...request.headers, Accept: "text/event-stream", ...(isFixed && cursor && { "Last-Event-ID": cursor }) };
      const response = await open(isFixed ? url : url(), { ...request, headers, cache: "no-store", signal: watchdog.signal });
      if (response.status === 204) return;
      retryAfterMs = await retryAfterOf(response);
      if (retryAfterMs === 0) {
        onConnection(true);
        watchdog.reset(silenceMs ?? MAX_MISSED_HEARTBEATS * heartbeatMsOf(response));
        for await (const { event, data, id, retry } of framesOf(response.body, watchdog)) {
          firstPauseMs = pauseMs ?? retry ?? firstPauseMs;
          if (data === undefined || event !== undefined) continue; // a heartbeat
          cursor = id ?? cursor;
          failures = 0;
          const parsed = JSON.parse(data);
          onEvent(parsed, cursor);
          if (parsed.type === "done" && parsed.generation === undefined) return;
        }
      }
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof ConnectionLost)) throw error;
    } finally {
      watchdog.stop();
    }
    onConnection(false);
    if (Date.now() - startedAt > 2 * MAX_PAUSE_MS) failures = 0; // it was a good connection, though nothing happened on it
    const backoffMs = Math.max(firstPauseMs, Math.min(firstPauseMs * 2 ** failures, MAX_PAUSE_MS));
    await pause(Math.max(backoffMs * (0.5 + Math.random() / 2), retryAfterMs), signal);
  }
}

async function open(url, request) {
  try {
    return await fetch(url, request);
  } catch (error) {
    throw new ConnectionLost(String(error));
  }
}

// Returns 0 for an event stream, else how long to wait before the next try; throws a FollowError if none would help.
async function retryAfterOf(response) {
  const isStream = response.headers.get("Content-Type")?.startsWith("text/event-stream");
  if (response.status === 200 && isStream) return 0;
  const text = await response.text().catch(() => "");
  if (![200, 408, 425, 429].includes(response.status) && response.status < 500) {
    throw new FollowError(response.status, detailOf(text) ?? `The server responded with status ${response.status}.`);
  }
  const seconds = Number(response.headers.get("Retry-After") ?? 0);
  return Math.min(Math.max(seconds * 1000 || 0, 1), MAX_RETRY_AFTER_MS);
}

function heartbeatMsOf(response) {
  return Number(response.headers.get("Millrace-Heartbeat-Seconds")) * 1000 || HEARTBEAT_MS;
}

function detailOf(text) {
  try {
    return JSON.parse(text).detail;
  } catch {
    return undefined; // not one of our problem documents
  }
}

// Yields the fields of each whole frame; a frame that was cut short comes again after the reconnect.
async function* framesOf(body, watchdog) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error) => {
        throw new ConnectionLost(String(error));
      });
      if (done) return;
      watchdog.reset();
      const frames = (rest + decoder.decode(value, { stream: true })).split("\n\n");
      rest = frames.pop();
      yield* frames.map(fieldsOf);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function fieldsOf(frame) {
  const fields = Object.fromEntries(frame.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
  const retry = /^[0-9]+$/.test(fields.retry) ? Number(fields.retry) : undefined;
  return { event: fields.event, data: fields.data, id: fields.id, retry };
}

// Aborts its signal when `reset` has not been called for a time, or when the caller's signal is aborted.
class Watchdog {
  #controller = new AbortController();
  #abort = () => this.#controller.abort();
  #timer = 0;

  constructor(silenceMs, outer) {
    this.silenceMs = silenceMs;
    this.outer = outer;
    outer?.throwIfAborted();
    outer?.addEventListener("abort", this.#abort);
    this.reset();
  }

  get signal() {
    return this.#controller.signal;
  }

  reset(silenceMs = this.silenceMs) {
    this.silenceMs = silenceMs;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#abort, this.silenceMs);
  }

  stop() {
    clearTimeout(this.#timer);
    this.outer?.removeEventListener("abort", this.#abort);
  }
}

// Waits; a browser that is online again does not wait any longer.
function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const end = (finish) => () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      globalThis.removeEventListener?.("online", onOnline);
      finish();
    };
    const onAbort = end(() => reject(signal.reason));
    const onOnline = end(resolve);
    const timer = setTimeout(onOnline, milliseconds);
    signal?.addEventListener("abort", onAbort);
    globalThis.addEventListener?.("online", onOnline);
  });
}
