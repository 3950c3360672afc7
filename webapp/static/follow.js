// Follows one generation with a native EventSource, which reconnects by itself and sends its cursor.

const QUIET_MS = 10_000; // a tab that comes back may hold a dead socket; a heartbeat is no message
const PAUSES_MS = [500, 1000, 2000, 4000, 8000];

// Calls `onEvent(event)` with each event, in order, from the start of the log; `onEnd()` once after `done`, and
// `onGone()` where there is no such generation any more. Returns a function that stops following.
export function follow(eventsUrl, { onEvent, onEnd, onGone }) {
  let source = null;
  let cursor = "";
  let heardAt = 0;
  let timer = 0;
  let refusals = 0;

  function open() {
    source?.close();
    heardAt = Date.now();
    source = new EventSource(cursor ? `${eventsUrl}?after=${encodeURIComponent(cursor)}` : eventsUrl);
    source.onmessage = (message) => {
      cursor = message.lastEventId;
      heardAt = Date.now();
      refusals = 0;
      const event = JSON.parse(message.data);
      onEvent(event);
      if (event.type === "done") {
        stop();
        onEnd();
      }
    };
    source.onerror = () => {
      if (source?.readyState === EventSource.CLOSED) refused(); // else it comes back by itself
    };
  }

  // EventSource gives up after any answer but 200: ask why.
  async function refused() {
    source = null;
    try {
      const answer = await fetch(eventsUrl.replace(/\/events$/, ""), { cache: "no-store" });
      if (answer.status === 404) {
        stop();
        onGone();
        return;
      }
    } catch {
      // away; tried again like a 503
    }
    timer = setTimeout(open, PAUSES_MS[Math.min(refusals++, PAUSES_MS.length - 1)] * (0.5 + Math.random()));
  }

  function check() {
    if (document.visibilityState === "visible" && source && Date.now() - heardAt > QUIET_MS) open();
  }

  function stop() {
    source?.close();
    source = null;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", check);
    window.removeEventListener("online", check);
  }

  document.addEventListener("visibilitychange", check);
  window.addEventListener("online", check);
  open();
  return stop;
}
