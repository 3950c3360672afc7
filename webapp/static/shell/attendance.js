// Measures how long the answers of this tab take and how much of that time the page is visible with them; sends only these
// figures, one beacon for each answer, and only where the server wants them.

/** @typedef {{began: number, visible: number, since: number | null}} Attended */

export class Attendance {
  #url;
  #isShown;
  #now;
  /** @type {Map<string, Attended>} */
  #running = new Map(); // by conversation

  /**
   * @param {string | null} url - where the beacons go; null sends none
   * @param {(id: string) => boolean} isShown - whether the page is visible with this conversation open
   * @param {() => number} now - milliseconds
   */
  constructor(url, isShown, now = () => performance.now()) {
    this.#url = url;
    this.#isShown = isShown;
    this.#now = now;
  }

  /**
   * The user has asked in a conversation; a second question before the end of the first answer changes nothing.
   *
   * @param {string} id
   */
  begin(id) {
    if (this.#url === null || this.#running.has(id)) return;
    this.#running.set(id, { began: this.#now(), visible: 0, since: null });
    this.change();
  }

  /** The page has become visible or hidden, or another conversation is open. */
  change() {
    const now = this.#now();
    for (const [id, attended] of this.#running) {
      if (attended.since !== null) attended.visible += now - attended.since;
      attended.since = this.#isShown(id) ? now : null;
    }
  }

  /**
   * The answer in a conversation has ended.
   *
   * @param {string} id
   * @param {string} outcome
   */
  end(id, outcome) {
    this.change();
    const attended = this.#running.get(id);
    if (!attended || this.#url === null) return;
    this.#running.delete(id);
    const seconds = (/** @type {number} */ milliseconds) => Math.round(milliseconds) / 1000;
    const body = {
      outcome,
      streaming_seconds: seconds(this.#now() - attended.began),
      visible_seconds: seconds(attended.visible),
    };
    navigator.sendBeacon(this.#url, new Blob([JSON.stringify(body)], { type: "application/json" }));
  }

  /** The page is closed, or put away. */
  leave() {
    for (const id of [...this.#running.keys()]) this.end(id, "left");
  }
}
