// Tells a user who looks elsewhere that an answer is ready: the tab's title and icon, and a notification where it is wanted.

import { t } from "../base/strings.js";
import { preferences } from "../base/preferences.js";

const ICON_READY = new URL("../icon-ready.svg", import.meta.url).href;

export class Attention {
  #onOpen;
  #icon = /** @type {HTMLLinkElement} */ (document.querySelector("link[rel=icon]"));
  #usualIcon = this.#icon.href;
  #title = "";
  #ready = 0; // answers since the page was hidden
  /** @type {Set<string>} */
  #awaited = new Set(); // conversations whose answer this page waits for

  /** @param {(id: string) => void} onOpen - the user has chosen a notification of this conversation */
  constructor(onOpen) {
    this.#onOpen = onOpen;
  }

  /** @param {string | null | undefined} title - the open conversation's, if it has one */
  showTitle(title) {
    this.#title = title ?? "";
    this.#show();
  }

  /** @param {string} id */
  await(id) {
    this.#awaited.add(id);
  }

  /** @param {string} id */
  isAwaiting(id) {
    return this.#awaited.has(id);
  }

  /** The conversations whose answer the page waits for. */
  get awaited() {
    return [...this.#awaited];
  }

  /**
   * The answer in a conversation has ended.
   *
   * @param {string} id
   * @param {string} name
   */
  end(id, name) {
    if (!this.#awaited.delete(id) || document.visibilityState === "visible") return;
    this.#ready++;
    this.#show();
    this.#notify(id, name);
  }

  /** The page is visible again. */
  reset() {
    this.#ready = 0;
    this.#show();
  }

  #show() {
    const name = this.#title ? `${this.#title} \u2013 ${t.appName}` : t.appName;
    document.title = this.#ready ? t.answersReady(this.#ready, name) : name;
    this.#icon.href = this.#ready ? ICON_READY : this.#usualIcon;
  }

  /**
   * @param {string} id
   * @param {string} name
   */
  #notify(id, name) {
    if (!preferences().notifications || !("Notification" in window) || Notification.permission !== "granted") return;
    try {
      // The same tag: two tabs that wait for one answer show one notification.
      const notification = new Notification(t.answerReady, { body: name, tag: `millrace ${id}`, icon: ICON_READY });
      notification.addEventListener("click", () => {
        window.focus();
        notification.close();
        this.#onOpen(id);
      });
    } catch {
      // Chromium on Android allows notifications to service workers only
    }
  }
}
