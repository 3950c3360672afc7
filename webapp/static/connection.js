// The page's only lasting connection: it carries the owner's feed and the events of the answer that is shown.
//
// Over HTTP/1.1 a browser opens six connections per host, all tabs together. A hidden tab therefore closes its
// connection. A visible one opens it again after the last event that it received.

import { follow } from "./client.js";

export class Connection {
  #handlers;
  #isStarted = false;
  #open = null; // aborts the open connection
  #position = null; // the last event of the feed; null if there is none, or if later ones may have been missed
  #followed = null; // the generation whose events are wanted: {id, cursor, take, reject}
  #requested = null; // the one that was wanted when the connection was opened

  // `onFeed(event)` is called for each event of the feed, and `onMissed()` when some may have been missed: read again then.
  // `onConnection(isConnected)` is called when that changes, and `onRefused(error)` when the server refuses for good.
  constructor(handlers) {
    this.#handlers = handlers;
    document.addEventListener("visibilitychange", () => this.#changeVisibility());
  }

  // Opens the connection, now or as soon as the page is visible.
  start() {
    if (this.#open) return;
    this.#isStarted = true;
    this.#reopen();
  }

  // Calls `take(event)` for each event of one generation, in place of any other, or `reject()` if it does not exist.
  follow(id, { take, reject }) {
    this.#followed = { id, cursor: "", take, reject };
    this.#isStarted = true;
    this.#reopen();
  }

  // Follows no generation any more, and ignores its events that still arrive.
  unfollow() {
    this.#followed = null;
  }

  #changeVisibility() {
    this.#position = null;
    if (document.visibilityState !== "visible") {
      this.#close();
      this.#handlers.onConnection(true); // it is not lost
    } else if (this.#isStarted) this.#reopen();
    else this.#handlers.onMissed();
  }

  #close() {
    this.#open?.abort();
    this.#open = null;
  }

  #reopen() {
    this.#close();
    if (!this.#isStarted || document.visibilityState !== "visible") return;
    this.#open = new AbortController();
    this.#run(this.#open.signal);
  }

  #address() {
    const query = new URLSearchParams({ feed: this.#position ?? "1" });
    this.#requested = this.#followed;
    if (this.#followed) query.append("follow", [this.#followed.id, this.#followed.cursor].filter(Boolean).join("@"));
    return `api/events?${query}`;
  }

  async #run(signal) {
    try {
      await follow(() => this.#address(), {
        signal,
        // The next connection may begin while this one still has events: they come again on the next one.
        onEvent: (event, id) => signal.aborted || this.#apply(event, id),
        onConnection: (isConnected) => this.#changeConnection(isConnected),
      });
    } catch (error) {
      if (!signal.aborted) this.#refuse(error);
    }
  }

  #apply(event, id) {
    const [source, cursor] = id.split("@");
    const followed = this.#followed;
    if (source === "feed") {
      this.#position = cursor;
      this.#handlers.onFeed(event);
    } else if (source === followed?.id) {
      followed.cursor = cursor;
      if (event.type === "done") this.#followed = null;
      followed.take(event);
    }
  }

  #changeConnection(isConnected) {
    this.#handlers.onConnection(isConnected);
    if (!isConnected) this.#position = null;
    else if (this.#position === null) this.#handlers.onMissed();
  }

  #refuse(error) {
    const absent = error.status === 404 ? this.#requested : null;
    const isWanted = absent === this.#followed;
    this.#open = null;
    if (absent !== null) {
      if (isWanted) this.#followed = null;
      this.#reopen();
      if (isWanted) absent.reject();
    } else {
      this.#handlers.onConnection(true); // there is nothing to wait for
      this.#handlers.onRefused(error);
    }
  }
}
