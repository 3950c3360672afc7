// The button that shows earlier messages, page by page.

import { h } from "../base/dom.js";
import { t } from "../base/strings.js";
import { readPage } from "./history.js";

/**
 * @import { Millrace } from "../client.js"
 * @import { StoredMessage, StoredTurn } from "./history.js"
 */

export class OlderButton {
  element = h("button", { type: "button", id: "older", className: "older", hidden: true }, t.showOlder);
  /** @type {string | null} */
  #older = null; // where the page before the first turn begins, see `readPage`
  /** @type {StoredMessage[]} */
  #rest = [];

  /** @param {() => void} onClick */
  constructor(onClick) {
    this.element.addEventListener("click", onClick);
  }

  /**
   * @param {string | null} older
   * @param {StoredMessage[]} rest
   */
  set(older, rest) {
    this.#older = older;
    this.#rest = rest;
    this.element.hidden = older === null;
  }

  /**
   * Return the page of turns before those read so far.
   *
   * @param {Millrace} millrace
   * @param {string} id
   * @returns {Promise<StoredTurn[]>}
   */
  async read(millrace, id) {
    this.element.disabled = true;
    try {
      const { turns, older, rest } = await readPage(millrace, id, this.#older, this.#rest);
      this.set(older, rest);
      return turns;
    } finally {
      this.element.disabled = false;
    }
  }
}
