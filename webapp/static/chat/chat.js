// The chat: one open conversation and the form below it. It knows nothing of the page around it, which may be any page.

import { h } from "../base/dom.js";
import { Notices } from "../base/notices.js";
import { t } from "../base/strings.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";

/**
 * @typedef {object} ChatHandlers
 * @property {(id: string | null) => void} onChange - the open conversation, or whether it can be asked, may have changed
 * @property {(id: string) => void} onAsked - a question was accepted in this conversation
 * @property {() => void} onAbsent - the open conversation does not exist (any more)
 */

export class Chat {
  notices = new Notices();
  #composer;
  #conversation;

  /**
   * @param {{millrace: import("../client.js").Millrace, connection: import("../client.js").Connection}} parts
   * @param {ChatHandlers} handlers
   */
  constructor(parts, handlers) {
    this.#composer = new Composer({ notices: this.notices, onSend: () => this.#send(), onStop: () => this.stop() });
    this.#conversation = new Conversation(
      { ...parts, notices: this.notices },
      {
        onChange: () => {
          this.#composer.show(this.#conversation);
          handlers.onChange(this.#conversation.id);
        },
        onEnd: () => this.#composer.focusIfIdle(),
        onAbsent: () => {
          handlers.onAbsent();
          this.notices.showFailure("open", new Error(t.conversationGone));
        },
        onSuggestion: (text) => this.#conversation.canAsk && this.ask(text),
      },
    );
    this.onAsked = handlers.onAsked;
    this.element = h("main", { className: "chat" }, this.#conversation.title, this.#conversation.scroller, this.#composer.element);
  }

  get id() {
    return this.#conversation.id;
  }

  /** Open a conversation, or a new one for null. */
  open(id) {
    this.#conversation.open(id);
    this.#composer.focus();
  }

  /** Read the conversation again: some of its changes may have been missed. */
  refresh() {
    this.#conversation.refresh();
  }

  /** Take an event of the owner's feed. */
  takeFeed(event) {
    if (event.conversation_id === this.id && !this.#conversation.knows(event)) this.#conversation.refresh();
  }

  /** Ask a question; resolves to whether it was accepted. */
  async ask(message) {
    const isAccepted = await this.#conversation.ask(message);
    if (isAccepted && this.id !== null) this.onAsked(this.id);
    return isAccepted;
  }

  /** Stop the running answer, if one runs; what it has written stays. */
  stop() {
    this.#conversation.stop();
    this.#composer.focusIfIdle();
  }

  async #send() {
    const { input } = this.#composer;
    const message = input.value;
    if (!message.trim() || !this.#conversation.canAsk) return;
    input.value = "";
    if (!(await this.ask(message))) input.value ||= message;
  }
}
