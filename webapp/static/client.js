// Asks questions, and follows and stops their answers: a client of Millrace without dependencies and without DOM.
//
//     const millrace = new Millrace({ base: "chat/" });
//     const { id } = await millrace.ask("What is a millrace?");
//     let answer = START;
//     await millrace.follow(id, { onEvent: (event) => show((answer = fold(answer, event)).text) });
//
// It resumes after the last event received, whatever happens to the connection.

const HEARTBEAT_MS = 15_000; // the server's default
const MAX_MISSED_HEARTBEATS = 2.5;
const MAX_PAUSE_MS = 15_000;
const MAX_RETRY_AFTER_MS = 300_000;
const MAX_TRIES = 3;

// A failed call. `status` is the HTTP status, 0 if the server could not be reached; `code` is the problem's stable code;
// `retryAfter` is in seconds; `message` can be shown to the user.
export class MillraceError extends Error {
  constructor(status, message, { code = "", field = "", retryAfter = 0 } = {}) {
    super(message);
    Object.assign(this, { status, code, field, retryAfter });
  }
}

export class Millrace {
  #base;
  #request;

  // `base` is the address of the mount, with its final slash; "" is the page's own. `headers`, such as `Authorization`,
  // may be a function. All other options, such as `credentials`, are passed to fetch.
  constructor({ base = "", headers = {}, ...request } = {}) {
    this.#base = base;
    this.headers = typeof headers === "function" ? headers : () => headers;
    this.#request = request;
  }

  // Returns the address of a path of the API, such as that of an image.
  url(path) {
    return this.#base + path;
  }

  // Returns the JSON of a response, or null for 204; throws a MillraceError for a status that is no success.
  async call(path, { method = "GET", body, headers = {}, signal, keepalive } = {}) {
    const json = body === undefined ? {} : { "Content-Type": "application/json" };
    const init = { ...this.#request, method, signal, keepalive, cache: "no-store", headers: { ...json, ...(await this.headers()), ...headers } };
    if (body !== undefined) init.body = JSON.stringify(body);
    const response = await fetch(this.url(path), init).catch((error) => {
      signal?.throwIfAborted();
      throw new MillraceError(0, "The server cannot be reached. Check your connection and try again.", { code: String(error) });
    });
    if (response.status === 204) return null;
    const result = await response.json().catch(() => null); // not JSON: the message names the status
    if (response.ok) return result;
    const retryAfter = Number(response.headers.get("Retry-After")) || 0;
    const message = result?.detail ?? `The server responded with status ${response.status}.`;
    throw new MillraceError(response.status, message, { ...result, retryAfter });
  }

  // Creates a generation from a question or a whole request; returns its `id`, `conversation_id` and `message_id`.
  // Repeats the request with the same key if it is unknown whether it arrived, so that there is only one generation.
  ask(request, options) {
    return this.#create("api/generations", typeof request === "string" ? { message: request } : request, options);
  }

  // Answers a question once more; `fields` may name another `model`.
  retry(conversation, message, fields = {}, options) {
    return this.#create(`api/conversations/${conversation}/messages/${message}/retry`, fields, options);
  }

  // Cancels a generation; what it has written so far stays.
  stop(generation) {
    return this.call(`api/generations/${generation}/cancel`, { method: "POST" });
  }

  // Follows one generation, see `follow`.
  follow(generation, options) {
    return follow(`${this.#base}api/generations/${generation}/events`, { ...this.#request, ...options });
  }

  // Opens one connection for any number of generations and the owner's feed, see `Connection`.
  connect(handlers) {
    return new Connection(`${this.#base}api/events`, { ...this.#request }, handlers);
  }

  async #create(path, body, { key = newKey(), signal } = {}) {
    for (let tries = 1; ; tries++) {
      try {
        return await this.call(path, { method: "POST", body, headers: { "Idempotency-Key": key }, signal });
      } catch (error) {
        if (tries === MAX_TRIES || ![0, 503].includes(error.status)) throw error;
        await pause(1000 * Math.max(tries, error.retryAfter), signal);
      }
    }
  }
}

function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// An answer before its first event.
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

// Returns the answer after one more event.
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

// One connection that carries the owner's feed and the events of any number of generations.
//
// `onFeed(event)` is called for each event of the feed, and `onMissed()` when some may have been missed: read again then.
// `onConnection(isConnected)` is called when that changes, and `onRefused(error)` when the server refuses for good.
export class Connection {
  #url;
  #request;
  #handlers;
  #isStarted = false;
  #isPaused = false;
  #open = null; // aborts the open connection
  #position = null; // the last event of the feed; null if there is none, or if later ones may have been missed
  #followed = new Map(); // by generation: {cursor, take, reject}

  constructor(url, request, handlers) {
    this.#url = url;
    this.#request = request;
    this.#handlers = { onFeed() {}, onMissed() {}, onConnection() {}, onRefused() {}, ...handlers };
  }

  // Opens the connection for the feed, now or when it is no longer paused.
  start() {
    this.#isStarted = true;
    if (!this.#open) this.#reopen();
  }

  // Calls `take(event)` for each event of a generation after `after`, the last time with its `done`, or `reject(error)` if
  // it does not exist.
  follow(generation, { take, reject = () => {}, after = "" }) {
    this.#followed.set(generation, { cursor: after, take, reject });
    this.#isStarted = true;
    this.#reopen();
  }

  unfollow(generation) {
    this.#followed.delete(generation);
  }

  // Closes the connection for a time, such as while a page is hidden; `resume` goes on after the last events.
  pause() {
    this.#isPaused = true;
    this.#position = null;
    this.#close();
    this.#handlers.onConnection(true); // it is not lost
  }

  resume() {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    if (this.#isStarted) this.#reopen();
    else this.#handlers.onMissed();
  }

  close() {
    this.#isStarted = false;
    this.#followed.clear();
    this.#close();
  }

  #close() {
    this.#open?.abort();
    this.#open = null;
  }

  #reopen() {
    this.#close();
    if (!this.#isStarted || this.#isPaused) return;
    this.#open = new AbortController();
    this.#run(this.#open.signal);
  }

  #address() {
    const query = new URLSearchParams({ feed: this.#position ?? "1" });
    for (const [id, { cursor }] of this.#followed) query.append("follow", [id, cursor].filter(Boolean).join("@"));
    return `${this.#url}?${query}`;
  }

  async #run(signal) {
    try {
      await follow(() => this.#address(), {
        ...this.#request,
        signal,
        // The next connection may begin while this one still has events: they come again on the next one.
        onEvent: (event, id) => signal.aborted || this.#apply(event, id),
        onConnection: (isConnected) => signal.aborted || this.#changeConnection(isConnected),
      });
    } catch (error) {
      if (!signal.aborted) this.#refuse(error);
    }
  }

  #apply(event, id) {
    const [source, cursor] = id.split("@");
    if (source === "feed") {
      this.#position = cursor;
      return this.#handlers.onFeed(event);
    }
    const followed = this.#followed.get(source);
    if (!followed) return;
    followed.cursor = cursor;
    if (event.type === "done") this.#followed.delete(source);
    followed.take(event);
  }

  #changeConnection(isConnected) {
    this.#handlers.onConnection(isConnected);
    if (!isConnected) this.#position = null;
    else if (this.#position === null) this.#handlers.onMissed();
  }

  // One generation that does not exist refuses all: each is then rejected, and those that exist are followed again.
  #refuse(error) {
    this.#open = null;
    if (error.status !== 404 || !this.#followed.size) {
      this.#handlers.onConnection(true); // there is nothing to wait for
      return this.#handlers.onRefused(error);
    }
    const all = [...this.#followed.values()];
    this.#followed.clear();
    this.#reopen();
    for (const { reject } of all) reject(error);
  }
}

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
// Rejects with a MillraceError for any other status (404: no such generation), with whatever `onEvent` throws, and with the
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

// The connection failed or was lost; never leaves this file.
class ConnectionLost extends Error {}

async function open(url, request) {
  try {
    return await fetch(url, request);
  } catch (error) {
    throw new ConnectionLost(String(error));
  }
}

// Returns 0 for an event stream, else how long to wait before the next try; throws a MillraceError if none would help.
async function retryAfterOf(response) {
  const isStream = response.headers.get("Content-Type")?.startsWith("text/event-stream");
  if (response.status === 200 && isStream) return 0;
  const text = await response.text().catch(() => "");
  if (![200, 408, 425, 429].includes(response.status) && response.status < 500) {
    throw new MillraceError(response.status, detailOf(text) ?? `The server responded with status ${response.status}.`);
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
