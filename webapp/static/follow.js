// Follows one generation with a native EventSource, which reconnects by itself and sends its cursor.

const QUIET_MS = 10_000; // a tab that becomes visible may have a dead connection; heartbeats cause no message event
const PAUSES_MS = [500, 1000, 2000, 4000, 8000];

// Calls `onEvent(event)` with each event, in order, from the start of the log; `onEnd()` once after `done`; `onGone()` if
// the generation no longer exists. Returns a function that stops following.
export function follow(eventsUrl, { onEvent, onEnd, onGone }) {
  let source = null;
  let cursor = "";
  let lastEventAt = 0;
  let timer = 0;
  let failures = 0;

  function open() {
    source?.close();
    lastEventAt = Date.now();
    source = new EventSource(cursor ? `${eventsUrl}?after=${encodeURIComponent(cursor)}` : eventsUrl);
    source.onmessage = (message) => {
      cursor = message.lastEventId;
      lastEventAt = Date.now();
      failures = 0;
      const event = JSON.parse(message.data);
      onEvent(event);
      if (event.type === "done") {
        stop();
        onEnd();
      }
    };
    source.onerror = () => {
      if (source?.readyState === EventSource.CLOSED) retryOrGiveUp(); // otherwise it reconnects by itself
    };
  }

  // EventSource gives up after every status but 200 and does not expose it: a 404 ends the following, others are retried.
  async function retryOrGiveUp() {
    source = null;
    try {
      const response = await fetch(eventsUrl.replace(/\/events$/, ""), { cache: "no-store" });
      if (response.status === 404) {
        stop();
        onGone();
        return;
      }
    } catch {
      // the server cannot be reached: retried like a 503
    }
    timer = setTimeout(open, PAUSES_MS[Math.min(failures++, PAUSES_MS.length - 1)] * (0.5 + Math.random()));
  }

  function reconnectIfQuiet() {
    if (document.visibilityState === "visible" && source && Date.now() - lastEventAt > QUIET_MS) open();
  }

  function stop() {
    source?.close();
    source = null;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", reconnectIfQuiet);
    window.removeEventListener("online", reconnectIfQuiet);
  }

  document.addEventListener("visibilitychange", reconnectIfQuiet);
  window.addEventListener("online", reconnectIfQuiet);
  open();
  return stop;
}
