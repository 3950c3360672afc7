// A conversation on the page: its turns, the answer that runs in it, and the questions that are asked in it. It goes on in
// the background while another one is shown, and then shows its text at once when it is opened again.

import { h } from "../base/dom.js";
import { t } from "../base/strings.js";
import { readNewest, readPage } from "./history.js";
import { Scrolling } from "./scrolling.js";
import { TurnView } from "./turn.js";
import { newKey, Unsent } from "./unsent.js";

const RETRY_MS = 3000;

/**
 * @typedef {object} Turn
 * @property {TurnView} view
 * @property {string} text - the question
 * @property {string | null} question - the question's id; null until it is known
 * @property {string | null} generation
 * @property {boolean} isEnded
 * @property {boolean} isStopping
 */

/**
 * @typedef {object} ConversationHandlers
 * @property {(conversation: Conversation) => void} onChange - `id`, `canAsk`, `canStop` or the title may have changed
 * @property {(conversation: Conversation) => void} onCreated - it has its id, and exists from now on
 * @property {(conversation: Conversation, turn: Turn, event: any) => void} onEvent - of the answer that runs
 * @property {(conversation: Conversation) => void} onAbsent - there is no such conversation
 * @property {(conversation: Conversation, action: string, error: unknown) => void} onFailure
 * @property {(conversation: Conversation, action: string) => void} onSuccess
 * @property {(text: string) => void} onSuggestion
 * @property {(conversation: Conversation, change: {isAtEnd: boolean, hasGrown: boolean}) => void} onScroll
 */

export class Conversation {
  title = h("h2", { id: "title", className: "chat-title", dir: "auto", hidden: true });
  older = h("button", { type: "button", id: "older", className: "older", hidden: true, on: { click: () => this.#showOlder() } }, t.showOlder);
  list = h("div", { id: "turns", className: "turns" });
  scroller = h("div", { className: "scroller", tabIndex: 0, role: "region", "aria-label": t.messages }, this.older, this.list);
  scrolling = new Scrolling(this.scroller, this.list, (change) => this.#handlers.onScroll(this, change));
  isLoaded = true;
  isOpen = false; // shown; in the background only its running answer is followed
  isAsking = false;
  #millrace;
  #connection;
  #readModels;
  #handlers;
  /** @type {Turn[]} */
  #turns = []; // oldest first
  /** @type {Turn | null} */
  #running = null; // the turn that is being answered
  #isClosed = false;
  #isReading = false;
  #isStale = false; // has changed since the last call that reads it began
  #older = null; // where the page before the first turn begins, see `readPage`
  #rest = [];

  /**
   * @param {{millrace: import("../client.js").Millrace, connection: import("../client.js").Connection, readModels: () => Promise<any[]>}} parts
   * @param {string | null} id - null for a new conversation, until its first question is accepted
   * @param {ConversationHandlers} handlers
   */
  constructor({ millrace, connection, readModels }, id, handlers) {
    this.#millrace = millrace;
    this.#connection = connection;
    this.#readModels = readModels;
    this.#handlers = handlers;
    this.id = id;
    this.unsent = new Unsent(millrace.url(""), id);
    this.#setLoaded(id === null);
  }

  get canAsk() {
    return this.isLoaded && !this.isAsking && this.#running === null;
  }

  get canStop() {
    return this.#running !== null && !this.#running.isStopping;
  }

  get isRunning() {
    return this.#running !== null;
  }

  /** The text of the running answer so far. */
  get runningText() {
    return this.#running?.view.text ?? "";
  }

  /** Whether the newest answer has failed. */
  get hasFailed() {
    return this.#turns.at(-1)?.view.state === "failed";
  }

  /** The messages that are shown, oldest first. */
  get messages() {
    return this.#turns.flatMap(({ text, view }) => [
      { role: "user", content: text },
      { role: "assistant", content: view.text },
    ]);
  }

  /**
   * Ask a question, which is shown at once; resolves to null, or to the error if it was not accepted.
   *
   * @param {{text: string, key: string, model: string | null}} question
   */
  async ask({ text, key, model }) {
    const turn = this.#append(text);
    this.scrolling.toEnd();
    const request = { message: text, ...(this.id !== null && { conversation_id: this.id }), ...(model && { model }) };
    const error = await this.#create(
      "ask",
      () => this.#millrace.ask(request, { key }),
      (created) => {
        const isKnown = this.#turns.some((each) => each !== turn && each.generation === created.id);
        if (isKnown) return this.#remove(turn); // it was sent before a reload, and is shown already
        const isNew = this.id === null;
        this.id = created.conversation_id;
        this.#follow(turn, created.id);
        if (isNew) this.#handlers.onCreated(this);
      },
    );
    if (error) this.#remove(turn);
    return error;
  }

  /** Stop the running answer; its stream shows when it has ended. */
  async stop() {
    const turn = this.#running;
    if (turn === null || turn.isStopping) return;
    turn.isStopping = true;
    this.#changed();
    try {
      await this.#millrace.stop(/** @type {string} */ (turn.generation));
      this.#handlers.onSuccess(this, "stop");
    } catch (error) {
      this.#handlers.onFailure(this, "stop", error);
      turn.isStopping = false;
      this.#changed();
    }
  }

  /** Whether an event of the feed reports nothing new: its generation is running here, or its answer is shown. */
  knows({ generation }) {
    return generation !== undefined && this.#turns.some((turn) => turn.generation === generation);
  }

  /** Read the conversation and show what has changed. While a call is under way it waits for its end. */
  async refresh() {
    this.#isStale = true;
    if (this.id === null || this.#isReading || this.isAsking || this.#isClosed) return;
    this.#isReading = true;
    this.#isStale = false;
    try {
      const found = await readNewest(this.#millrace, this.id);
      if (this.#isClosed) return;
      if (this.isAsking) this.#isStale = true;
      else this.#update(found);
      this.#setLoaded(true);
      this.unsent.change("later", "waiting");
      this.#handlers.onSuccess(this, "open");
    } catch (error) {
      if (this.#isClosed) return;
      if (error.status !== 404) {
        this.#handlers.onFailure(this, "open", error);
        this.refreshLater();
      } else if (this.#running === null) return this.#handlers.onAbsent(this);
    } finally {
      this.#isReading = false;
    }
    this.#changed();
    if (this.#isStale) this.refresh();
  }

  refreshLater() {
    setTimeout(() => this.isOpen && this.refresh(), RETRY_MS);
  }

  /** Follow nothing and change nothing any more. */
  close() {
    this.#isClosed = true;
    this.#unfollow();
  }

  // Calls `send`, and then `onCreated` with the created generation; resolves to null, or to the error.
  async #create(action, send, onCreated) {
    this.isAsking = true;
    this.#changed();
    try {
      const created = await send();
      if (this.#isClosed) return null;
      onCreated(created);
      this.#handlers.onSuccess(this, action);
      return null;
    } catch (error) {
      const isBusy = error.code === "conversation_busy"; // another tab has asked; a question then waits
      if (isBusy) this.#isStale = true;
      if (!isBusy || action !== "ask") this.#handlers.onFailure(this, action, error);
      return error;
    } finally {
      this.isAsking = false;
      this.#changed();
      if (this.#isStale) this.refresh();
    }
  }

  /** @param {Turn} turn */
  #retry(turn, model) {
    const message = /** @type {string} */ (turn.question);
    const send = () => this.#millrace.retry(this.id ?? "", message, model ? { model } : {});
    return this.#create("retry", send, (created) => this.#follow(turn, created.id));
  }

  /**
   * Replace a question and all that follows it; resolves to whether that was accepted.
   *
   * @param {Turn} turn
   * @param {string} text
   */
  async #edit(turn, text) {
    const path = `api/conversations/${this.id}/messages/${turn.question}/edit`;
    const options = { method: "POST", body: { message: text }, headers: { "Idempotency-Key": newKey() } };
    const error = await this.#create(
      "edit",
      () => this.#millrace.call(path, options),
      (created) => {
        for (const each of this.#turns.slice(this.#turns.indexOf(turn))) this.#remove(each);
        this.#follow(this.#append(text), created.id);
        this.scrolling.toEnd();
      },
    );
    return error === null;
  }

  #update({ title, turns, running, older, rest }) {
    if (!turns.some((stored) => this.#find(stored))) {
      if (this.#turns.some((turn) => turn.isEnded)) this.#clear(); // more than a page was added, or all was replaced
      this.#setOlder(older, rest);
    }
    this.#showTitle(title);
    this.#removeMissing(turns);
    for (const stored of turns) {
      const turn = this.#find(stored) ?? this.#append(stored.question);
      turn.question = stored.id;
      if (running !== null && stored === turns.at(-1)) this.#follow(turn, running);
      else if (turn !== this.#running) this.#settle(turn, stored.answer);
    }
  }

  // Removes the turns that were stored and no longer are, because a question before them was edited elsewhere.
  #removeMissing(turns) {
    const stored = new Set(turns.map(({ id }) => id));
    const first = this.#turns.findIndex(({ question }) => question !== null && stored.has(question));
    if (first < 0) return;
    for (const turn of this.#turns.slice(first)) {
      if (turn.question !== null && !stored.has(turn.question) && turn !== this.#running) this.#remove(turn);
    }
  }

  // Returns the shown turn of a stored one. The id of a question that was asked here is not known at first.
  #find({ id, question }) {
    return this.#turns.find((turn) => turn.question === id || (turn.question === null && turn.text === question));
  }

  /**
   * @param {Turn} turn
   * @param {string} generation
   */
  #follow(turn, generation) {
    if (turn.generation === generation) return;
    turn.generation = generation;
    turn.isEnded = false;
    turn.view.restart(generation);
    this.#running = turn;
    this.#connection.follow(generation, {
      take: (event) => {
        if (event.type === "title") this.#showTitle(event.title);
        turn.view.apply(event);
        if (event.type === "done") this.#end(turn);
        this.#handlers.onEvent(this, turn, event);
        if (event.type === "done" && this.isOpen) this.refresh();
      },
      reject: () => {
        turn.generation = null;
        turn.view.setStatus("failed", t.answerGone);
        this.#end(turn);
        this.refreshLater(); // or it does not exist yet
      },
    });
  }

  #unfollow() {
    for (const { generation, isEnded } of this.#turns) if (!isEnded && generation) this.#connection.unfollow(generation);
    this.#running = null;
  }

  #end(turn) {
    turn.isEnded = true;
    turn.isStopping = false;
    turn.view.end();
    if (this.#running === turn) this.#running = null;
    this.#changed();
  }

  // Shows the stored answer of a turn that is not running, unless it is shown already.
  #settle(turn, answer) {
    if (turn.isEnded && answer === null) return;
    if (turn.isEnded && answer.generation === turn.generation) return turn.view.addStored(answer);
    turn.generation = answer?.generation ?? null;
    turn.isEnded = true;
    turn.view.showStored(answer);
  }

  /** @returns {Turn} */
  #build(text, question = null) {
    const view = new TurnView(text, {
      onSuggestion: this.#handlers.onSuggestion,
      imageUrl: (generation, image) => this.#millrace.url(`api/generations/${generation}/images/${image}`),
      onEdit: (edited) => this.#edit(turn, edited),
      onRetry: (model) => this.#retry(turn, model),
      readModels: this.#readModels,
    });
    const turn = { view, text, question, generation: null, isEnded: false, isStopping: false };
    return turn;
  }

  #append(text) {
    const turn = this.#build(text);
    this.#turns.push(turn);
    this.list.append(turn.view.element);
    return turn;
  }

  #remove(turn) {
    this.#turns = this.#turns.filter((each) => each !== turn);
    turn.view.element.remove();
  }

  #clear() {
    this.#unfollow();
    this.#turns = [];
    this.#setOlder(null, []);
    this.list.replaceChildren();
  }

  async #showOlder() {
    this.older.disabled = true;
    try {
      const { turns, older, rest } = await readPage(this.#millrace, this.id, this.#older, this.#rest);
      const added = turns.map(({ id, question, answer }) => {
        const turn = this.#build(question, id);
        this.#settle(turn, answer);
        return turn;
      });
      this.#turns.unshift(...added);
      this.list.prepend(...added.map(({ view }) => view.element));
      this.#setOlder(older, rest);
      this.scrolling.keep();
      this.#changed();
      this.#handlers.onSuccess(this, "older");
    } catch (error) {
      this.#handlers.onFailure(this, "older", error);
    } finally {
      this.older.disabled = false;
    }
  }

  #setOlder(older, rest) {
    this.#older = older;
    this.#rest = rest;
    this.older.hidden = older === null;
  }

  #setLoaded(isLoaded) {
    this.isLoaded = isLoaded;
    this.scroller.ariaBusy = String(!isLoaded);
  }

  #showTitle(title) {
    this.title.textContent = title ?? "";
    this.title.hidden = title === null;
  }

  #changed() {
    const last = this.#turns.at(-1);
    for (const turn of this.#turns) {
      const canChange = this.canAsk && turn.question !== null;
      turn.view.allow({ canEdit: canChange, canRetry: canChange && turn === last });
    }
    this.#handlers.onChange(this);
  }
}
