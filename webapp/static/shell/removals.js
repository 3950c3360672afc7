// Deletes conversations in a way that can be undone: the server is asked after some seconds, or when the page closes.

import { t } from "../base/strings.js";

const UNDO_MS = 8000;

/**
 * @typedef {object} RemovalParts
 * @property {import("../client.js").Millrace} millrace
 * @property {import("./conversations.js").Conversations} conversations
 * @property {import("./toasts.js").Toasts} toasts
 * @property {import("../base/notices.js").Notices} notices
 */

export class Removals {
  #parts;
  /** @type {Map<string, () => void>} ends the toast of a removed conversation */
  #pending = new Map();
  #isClosing = false;

  /** @param {RemovalParts} parts */
  constructor(parts) {
    this.#parts = parts;
    addEventListener("pagehide", () => {
      this.#isClosing = true;
      for (const end of [...this.#pending.values()]) end();
      this.#isClosing = false;
    });
  }

  /**
   * Remove a conversation from the list, and delete it when the time for a second thought is over.
   *
   * @param {string} id
   * @param {string} name
   * @param {() => void} onUndo
   */
  remove(id, name, onUndo) {
    if (this.#pending.has(id)) return;
    const { conversations, toasts } = this.#parts;
    conversations.remove(id);
    const end = toasts.show({
      text: t.deleted(name),
      action: t.undo,
      milliseconds: UNDO_MS,
      onAction: () => {
        this.#pending.delete(id);
        conversations.restore(id);
        onUndo();
      },
      onEnd: () => {
        this.#pending.delete(id);
        this.#delete(id);
      },
    });
    this.#pending.set(id, end);
  }

  /** @param {string} id */
  async #delete(id) {
    const { millrace, conversations, notices } = this.#parts;
    try {
      await millrace.call(`api/conversations/${id}`, { method: "DELETE", keepalive: this.#isClosing });
      notices.clearFailure("delete");
      conversations.drop(id);
    } catch (/** @type {any} */ error) {
      if (error.status === 404) return conversations.drop(id); // another tab was faster
      notices.showFailure("delete", error);
      conversations.restore(id);
    }
  }
}
