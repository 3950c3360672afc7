// Notices beside the answers: actions that failed, and a lost connection.

import { h } from "./dom.js";
import { t } from "./strings.js";

export const OUTAGES = [0, 502, 503, 504]; // the server could not be reached, or could not work
const LOST_AFTER_MS = 1500; // a reconnect that takes less is not worth a message

export class Notices {
  connection = h("p", { id: "connection", role: "status" });
  notice = h("p", { id: "notice", role: "alert" });
  /** @type {(action: string, error: any) => void} - called for each failure that is shown */
  onFailure = () => {};
  #failures = new Map(); // by action, the newest last
  #timer = 0; // runs, or has run, since the connection was lost
  #isLost = false;
  #isOffline = false;
  #isStopPending = false;

  /**
   * Show why an action failed, until it succeeds; a failure of the server is over as soon as any action succeeds.
   *
   * @param {string} action
   * @param {any} error
   */
  showFailure(action, error) {
    this.#failures.delete(action);
    this.#failures.set(action, { text: error.message, isOutage: OUTAGES.includes(error.status), isUnreachable: error.status === 0 });
    this.#render();
    this.onFailure(action, error);
  }

  /** @param {string} action */
  clearFailure(action) {
    this.#failures.delete(action);
    for (const [other, { isOutage }] of this.#failures) if (isOutage) this.#failures.delete(other);
    this.#render();
  }

  /** Remove the failures of all actions, because the user goes on to something else. */
  clearFailures() {
    this.#failures.clear();
    this.#render();
  }

  /** @param {boolean} isConnected */
  showConnection(isConnected) {
    if (isConnected) {
      clearTimeout(this.#timer);
      this.#timer = 0;
      this.#isLost = false;
      this.#renderConnection();
    } else
      this.#timer ||= setTimeout(() => {
        this.#isLost = true;
        this.#renderConnection();
      }, LOST_AFTER_MS);
  }

  /**
   * Show whether this device has a network at all.
   *
   * @param {boolean} isOffline
   */
  showOffline(isOffline) {
    this.#isOffline = isOffline;
    this.#renderConnection();
    this.#render();
  }

  /**
   * Show whether an answer is to be stopped as soon as the server can be reached.
   *
   * @param {boolean} isPending
   */
  showStopPending(isPending) {
    this.#isStopPending = isPending;
    this.#renderConnection();
  }

  #renderConnection() {
    const text = this.#isStopPending ? t.stopPending(this.#isOffline) : this.#isOffline ? t.offline : this.#isLost ? t.connectionLost : "";
    if (this.connection.textContent !== text) this.connection.textContent = text;
  }

  #render() {
    const shown = [...this.#failures.values()].filter(({ isUnreachable }) => !(isUnreachable && this.#isOffline)); // one reason is enough
    const text = shown.at(-1)?.text ?? "";
    if (this.notice.textContent !== text) this.notice.textContent = text; // a live region: the same text is not announced twice
  }
}
