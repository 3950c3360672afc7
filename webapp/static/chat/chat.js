// The chat: one open conversation and the form below it. It knows nothing of the page around it, which may be any page.

import { h } from "../base/dom.js";
import { icon } from "../base/icons.js";
import { Notices } from "../base/notices.js";
import { preferences } from "../base/preferences.js";
import { t } from "../base/strings.js";
import { Announcer } from "./announcer.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { modelReader } from "./models.js";
import { Sender } from "./sender.js";

/**
 * @import { Connection, FeedEvent, GenerationEvent, Millrace, MillraceError } from "../client.js"
 * @import { Turn } from "./turns.js"
 * @import { Queued } from "./unsent.js"
 */

const ASKING = ["ask", "retry", "edit"];
const OUTCOMES = ["complete", "cancelled", "error"];
const KEPT = 10; // conversations that are kept when others are opened, besides those with a running answer

/**
 * @typedef {object} ChatHandlers
 * @property {(id: string | null) => void} onChange - the open conversation, its title, or whether it can be asked, may have changed
 * @property {(id: string) => void} onAsked - a question was accepted in the open conversation
 * @property {() => void} onAbsent - the open conversation does not exist (any more)
 * @property {(answer: {conversation: string, generation: string, status: string, text: string}) => void} [onAnswered] - an
 *   answer has ended, perhaps in another conversation than the open one
 * @property {(generation: string) => void} [onOutcome] - the text of an answer in the open conversation is whole; its title and
 *   suggestions may still come
 */

export class Chat {
  notices = new Notices();
  head = h("header", { className: "chat-head" });
  #parts;
  #handlers;
  #newest = h("button", { type: "button", className: "newest", hidden: true, on: { click: () => this.#open.scrolling.toEnd() } }, icon("down"), t.newest);
  #announcer = new Announcer();
  #composer;
  #sender;
  /** @type {Map<string, Conversation>} */
  #kept = new Map(); // by id, the one that was opened last at the end
  /** @type {Conversation} */
  #open;
  #isClosed = false;
  #showNetwork = () => {
    this.notices.showOffline(!navigator.onLine);
    this.#sender.resume();
  };

  /**
   * @param {{millrace: Millrace, connection: Connection, scope?: string}} parts - `scope` tells several chats on one page apart
   * @param {ChatHandlers} handlers
   */
  constructor({ millrace, connection, scope = "" }, handlers) {
    this.#parts = { millrace, connection, scope, readModels: modelReader(millrace) };
    this.#handlers = handlers;
    this.#composer = new Composer({
      notices: this.notices,
      onSend: () => this.#send(),
      onStop: () => this.stop(),
      onInput: (text) => this.#keepDraft(text),
      queue: {
        onEdit: (queued) => this.#editQueued(queued),
        onSendNow: (queued) => this.#sendNow(queued),
        onWithdraw: (queued) => this.#withdraw(queued),
      },
    });
    this.#sender = new Sender({
      composer: this.#composer,
      notices: this.notices,
      conversations: () => this.#conversations,
      isOpen: (conversation) => conversation === this.#open,
      onChange: (conversation) => this.#changed(conversation),
      onAsked: (conversation) => conversation === this.#open && conversation.id !== null && this.#handlers.onAsked(conversation.id),
      onAbandoned: (left, error) => this.#keepRefused(left, error),
    });
    this.#open = this.#make(null);
    this.head.append(this.#open.title);
    this.element = h(
      "main",
      { className: "chat" },
      this.head,
      this.#open.scroller,
      h("div", { className: "newest-holder" }, this.#newest),
      this.#composer.element,
      this.#announcer.element,
    );
    for (const type of ["online", "offline"]) addEventListener(type, this.#showNetwork);
    this.notices.showOffline(!navigator.onLine);
  }

  get id() {
    return this.#open.id;
  }

  /** The open conversation's title, or null. */
  get title() {
    return this.#open.title.textContent || null;
  }

  get isRunning() {
    return this.#open.isRunning;
  }

  /** The messages that are shown, oldest first: `{role, content}`. */
  get messages() {
    return this.#open.messages;
  }

  /**
   * Open a conversation, or a new one for null.
   *
   * @param {string | null} id
   */
  open(id) {
    const left = this.#open;
    if (id === null || id !== left.id) {
      if (left.id === null && left.isAsking) left.unsent.leave();
      const next = (id !== null && this.#kept.get(id)) || this.#make(id);
      this.#open = next;
      left.isOpen = false;
      next.isOpen = true;
      left.title.replaceWith(next.title);
      left.scroller.replaceWith(next.scroller);
      next.scrolling.keep();
      this.#announcer.begin(next.runningText);
      this.notices.clearFailures();
      this.#composer.text = next.unsent.draft;
    }
    if (id !== null) this.#keep(id, this.#open);
    this.#changed(this.#open);
    this.#open.refresh();
    this.#composer.focusOpened();
  }

  /** Read the open conversation again: some of its changes may have been missed. */
  refresh() {
    this.#open.refresh();
  }

  /**
   * Take an event of the owner's feed.
   *
   * @param {FeedEvent} event
   */
  takeFeed(event) {
    const conversation = event.conversation_id === this.id ? this.#open : this.#kept.get(event.conversation_id);
    if (!conversation || conversation.knows(event)) return;
    // Another one than the open one is read when it is opened; it may have been deleted.
    if (conversation === this.#open || event.type === "generation_started") conversation.refresh();
  }

  /**
   * Ask a question, or let it wait until the running answer has ended; resolves to whether it was accepted.
   *
   * @param {string} message
   */
  async ask(message) {
    const conversation = this.#open;
    const { unsent } = conversation;
    const isDirect = conversation.canAsk && unsent.queue.every(({ state }) => state === "held");
    const queued = unsent.add(message, { model: preferences().model, isDirect });
    if (isDirect) unsent.putFirst(queued);
    const isAccepted = (await this.#sender.sendNext(conversation)) ?? true;
    this.#changed(conversation);
    return isAccepted;
  }

  /** Stop the running answer, if one runs; what it has written stays. */
  stop() {
    this.#open.stop();
    this.#composer.focusIfIdle();
  }

  focus() {
    this.#composer.focus();
  }

  /** Follow nothing any more; the chat is of no use afterwards. */
  close() {
    this.#isClosed = true;
    this.#sender.close();
    for (const type of ["online", "offline"]) removeEventListener(type, this.#showNetwork);
    for (const conversation of this.#conversations) conversation.close();
  }

  get #conversations() {
    return new Set([...this.#kept.values(), this.#open]);
  }

  /**
   * @param {string | null} id
   * @returns {Conversation}
   */
  #make(id) {
    return new Conversation(this.#parts, id, {
      onChange: (conversation) => this.#changed(conversation),
      onCreated: (conversation, created) => this.#keep(created, conversation),
      onEvent: (conversation, turn, event) => this.#take(conversation, turn, event),
      onAbsent: (conversation) => this.#forget(conversation),
      onFailure: (conversation, action, error) => conversation === this.#open && this.notices.showFailure(action, error),
      onSuccess: (conversation, action) => conversation === this.#open && this.#succeeded(action),
      onSuggestion: (text) => this.#open.canAsk && this.ask(text),
      onScroll: (conversation, change) => conversation === this.#open && this.#showNewest(change),
    });
  }

  /**
   * @param {string} id
   * @param {Conversation} conversation
   */
  #keep(id, conversation) {
    if (conversation !== this.#kept.get(id)) conversation.unsent.rename(id);
    this.#kept.delete(id);
    this.#kept.set(id, conversation);
    for (const [other, each] of this.#kept) {
      if (this.#kept.size <= KEPT) return;
      if (each === this.#open || each.isRunning || each.isAsking || each.unsent.queue.length > 0) continue;
      each.close();
      this.#kept.delete(other);
    }
  }

  /** @param {Conversation} conversation */
  #forget(conversation) {
    if (conversation.id !== null) this.#kept.delete(conversation.id);
    if (conversation !== this.#open) return conversation.close();
    this.#handlers.onAbsent();
    this.#adopt(conversation);
    const isStranger = !conversation.isFound && conversation.messages.length > 0; // asked here, and yet not this visitor's
    this.notices.showFailure("open", new Error(isStranger ? t.cookiesBlocked : t.conversationGone));
  }

  /** @param {Conversation} conversation */
  #changed(conversation) {
    if (this.#isClosed) return;
    if (conversation === this.#open) {
      this.#composer.show(conversation);
      this.notices.showStopPending(conversation.isStopPending);
      this.#handlers.onChange(conversation.id);
    }
    this.#sender.sendNext(conversation);
  }

  /**
   * @param {Conversation} conversation
   * @param {Turn} turn
   * @param {GenerationEvent} event
   */
  #take(conversation, turn, event) {
    if (event.type === "done") {
      const answer = { conversation: conversation.id ?? "", generation: turn.generation ?? "", text: turn.view.text };
      this.#handlers.onAnswered?.({ ...answer, status: event.status });
    }
    if (conversation !== this.#open) return;
    if (OUTCOMES.includes(event.type)) this.#handlers.onOutcome?.(turn.generation ?? "");
    if (event.type === "done") {
      this.#announcer.finish();
      this.#composer.focusIfIdle();
    } else if (event.type === "chunk" || event.type === "snapshot") this.#announcer.take(turn.view.text);
    else if (event.type === "status" && event.status === "queued") this.#announcer.begin();
  }

  /** @param {{isAtEnd: boolean, hasGrown: boolean}} change */
  #showNewest({ isAtEnd, hasGrown }) {
    this.#newest.hidden = isAtEnd;
    if (isAtEnd) delete this.#newest.dataset.state;
    else if (hasGrown) this.#newest.dataset.state = "new";
  }

  /** @param {string} text */
  #keepDraft(text) {
    this.#open.unsent.draft = text;
    this.#open.unsent.save();
  }

  /** @param {string} text */
  #setText(text) {
    this.#composer.text = text;
    this.#keepDraft(text);
  }

  #send() {
    const message = this.#composer.text;
    if (message.trim() === "" || this.#composer.isCounting) return;
    this.#setText("");
    this.ask(message);
  }

  /**
   * Keep the texts of a conversation that does not exist in the next new one.
   *
   * @param {Conversation} absent
   */
  #adopt(absent) {
    const next = this.#open.id === null ? this.#open : this.#make(null);
    next.unsent.adopt(absent.unsent);
    absent.close();
    if (next === this.#open) this.#composer.text = next.unsent.draft;
    this.#changed(this.#open);
  }

  /**
   * A new conversation that was left does not come to exist: its question waits until the user sends it.
   *
   * @param {Conversation} left
   * @param {MillraceError} error
   */
  #keepRefused(left, error) {
    this.#adopt(left);
    const { status, code, field, retryAfter } = error;
    this.notices.showFailure("ask", Object.assign(new Error(t.refusedElsewhere(error.message)), { status, code, field, retryAfter }));
  }

  /** @param {string} action */
  #succeeded(action) {
    for (const each of ASKING.includes(action) ? ASKING : [action]) this.notices.clearFailure(each);
  }

  /** @param {Queued} queued */
  #editQueued(queued) {
    this.#open.unsent.remove(queued);
    this.#setText([queued.text, this.#composer.text].filter((each) => each !== "").join("\n"));
    this.#changed(this.#open);
    this.#composer.focus();
  }

  /** @param {Queued} queued */
  #withdraw(queued) {
    this.#open.unsent.remove(queued);
    this.#changed(this.#open);
    this.#composer.focus();
  }

  /** @param {Queued} queued */
  #sendNow(queued) {
    this.#open.unsent.putFirst(queued);
    this.#open.stop();
    this.#changed(this.#open);
    this.#composer.focus();
  }
}
