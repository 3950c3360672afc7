// A conversation on the page: its turns, the answer that runs in it, and the questions that are asked in it. It goes on in
// the background while another one is shown, and then shows its text at once when it is opened again.

import { h } from "../base/dom.js";
import { t } from "../base/strings.js";
import { readNewest } from "./history.js";
import { imageOf } from "./images.js";
import { OlderButton } from "./older.js";
import { Scrolling } from "./scrolling.js";
import { stopAnswer } from "./stopping.js";
import { TurnView } from "./turn.js";
import { Turns } from "./turns.js";
import { Unsent } from "./unsent.js";

/**
 * @import { Connection, GenerationEvent, Millrace, MillraceError, Receipt } from "../client.js"
 * @import { StoredMessage, TurnPage } from "./history.js"
 * @import { Turn } from "./turns.js"
 */

const RETRY_MS = 3000;

/**
 * @typedef {object} ConversationHandlers
 * @property {(conversation: Conversation) => void} onChange - `id`, `canAsk`, `canStop` or the title may have changed
 * @property {(conversation: Conversation, id: string) => void} onCreated - it has its id, and exists from now on
 * @property {(conversation: Conversation, turn: Turn, event: GenerationEvent) => void} onEvent - of the answer that runs
 * @property {(conversation: Conversation) => void} onAbsent - there is no such conversation
 * @property {(conversation: Conversation, action: string, error: MillraceError) => void} onFailure
 * @property {(conversation: Conversation, action: string) => void} onSuccess
 * @property {(text: string) => void} onSuggestion
 * @property {(conversation: Conversation, change: {isAtEnd: boolean, hasGrown: boolean}) => void} onScroll
 */

export class Conversation {
  title = h("h2", { id: "title", className: "chat-title", dir: "auto", hidden: true });
  #older = new OlderButton(() => this.#showOlder());
  #turns = new Turns((text) => this.unsent.keep(text));
  scroller = h("div", { className: "scroller", tabIndex: 0, role: "region", "aria-label": t.messages }, this.#older.element, this.#turns.element);
  scrolling = new Scrolling(this.scroller, this.#turns.element, (change) => this.#handlers.onScroll(this, change));
  isLoaded = true;
  isOpen = false; // shown; in the background only its running answer is followed
  isAsking = false;
  isFound = false; // the server has given something of it to this browser
  #millrace;
  #connection;
  #readModels;
  #handlers;
  /** @type {Turn | null} */
  #running = null; // the turn that is being answered
  #isBusy = false; // the server has said that an answer runs, which is not known here yet
  #isClosed = false;
  #isReading = false;
  #isStale = false; // has changed since the last call that reads it began

  /**
   * @param {{millrace: Millrace, connection: Connection, readModels: () => Promise<string[]>, scope: string}} parts
   * @param {string | null} id - null for a new conversation, until its first question is accepted
   * @param {ConversationHandlers} handlers
   */
  constructor({ millrace, connection, readModels, scope }, id, handlers) {
    this.#millrace = millrace;
    this.#connection = connection;
    this.#readModels = readModels;
    this.#handlers = handlers;
    this.id = id;
    this.unsent = new Unsent(millrace.url(""), id, scope);
    this.#setLoaded(id === null);
  }

  get canAsk() {
    return this.isLoaded && !this.isAsking && !this.#isBusy && this.#running === null;
  }

  get canStop() {
    return this.#running !== null && !this.#running.isStopping;
  }

  /** Whether the running answer is to be stopped as soon as the server can be reached. */
  get isStopPending() {
    return this.#running?.isStopPending ?? false;
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
    return this.#turns.last?.view.state === "failed";
  }

  /** The messages that are shown, oldest first. */
  get messages() {
    return this.#turns.messages;
  }

  /**
   * Ask a question, which is shown at once; resolves to null, or to the error if it was not accepted.
   *
   * @param {{text: string, key: string, model: string | null}} question
   */
  async ask({ text, key, model }) {
    const turn = this.#turns.append(this.#build(text));
    this.scrolling.toEnd();
    const request = { message: text, ...(this.id !== null && { conversation_id: this.id }), ...(model && { model }) };
    const error = await this.#create(
      "ask",
      () => this.#millrace.ask(request, { key }),
      (created) => {
        // It may have been sent before a reload, and be shown already.
        if (this.#turns.findByGeneration(created.id)) return this.#turns.remove(turn);
        const isNew = this.id === null;
        this.id = created.conversation_id;
        this.#start(turn, created);
        if (isNew) this.#handlers.onCreated(this, this.id);
      },
    );
    if (error) this.#turns.remove(turn);
    return error;
  }

  /** Stop the running answer; its stream shows when it has ended. */
  async stop() {
    const turn = this.#running;
    if (turn === null || turn.isStopping) return;
    const send = (/** @type {string} */ generation) => this.#millrace.stop(generation);
    const error = await stopAnswer(turn, send, () => this.#changed());
    if (error === null) this.#handlers.onSuccess(this, "stop");
    else this.#handlers.onFailure(this, "stop", error);
  }

  /**
   * Whether an event of the feed reports nothing new: its generation is running here, or its answer is shown.
   *
   * @param {import("../client.js").FeedEvent} event
   */
  knows(event) {
    return "generation" in event && this.#turns.findByGeneration(event.generation) !== undefined;
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
    } catch (caught) {
      const error = /** @type {MillraceError} */ (caught);
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

  /**
   * Call `send`, and then `onCreated` with the created generation; resolves to null, or to the error.
   *
   * @param {"ask" | "retry" | "edit"} action
   * @param {() => Promise<Receipt>} send
   * @param {(created: Receipt) => void} onCreated
   */
  async #create(action, send, onCreated) {
    this.isAsking = true;
    this.#changed();
    try {
      const created = await send();
      if (this.#isClosed) return null;
      onCreated(created);
      this.#handlers.onSuccess(this, action);
      return null;
    } catch (caught) {
      const error = /** @type {MillraceError} */ (caught);
      const isBusy = error.code === "conversation_busy"; // another tab has asked; a question then waits
      if (isBusy) this.#waitForOther();
      if (error.status === 404 && action !== "ask") error.message = t.changedElsewhere;
      this.#isStale ||= error.status === 404;
      if (!isBusy || action !== "ask") this.#handlers.onFailure(this, action, error);
      return error;
    } finally {
      this.isAsking = false;
      this.#changed();
      if (this.#isStale) this.refresh();
    }
  }

  /**
   * @param {Turn} turn
   * @param {string} [model]
   */
  #retry(turn, model) {
    const message = /** @type {string} */ (turn.question);
    const send = () => this.#millrace.retry(this.id ?? "", message, model ? { model } : {});
    return this.#create("retry", send, (created) => this.#start(turn, created));
  }

  /**
   * Replace a question and all that follows it; resolves to whether that was accepted.
   *
   * @param {Turn} turn
   * @param {string} text
   */
  async #edit(turn, text) {
    const question = /** @type {string} */ (turn.question);
    const error = await this.#create(
      "edit",
      () => this.#millrace.edit(this.id ?? "", question, text),
      (created) => {
        this.#turns.removeFrom(turn);
        this.#start(this.#turns.append(this.#build(text)), created);
        this.scrolling.toEnd();
      },
    );
    return error === null;
  }

  /** @param {TurnPage & {title: string | null}} page */
  #update({ title, turns, running, older, rest }) {
    this.isFound = true;
    if (!turns.some((stored) => this.#turns.find(stored))) {
      if ([...this.#turns].some((turn) => turn.isEnded)) this.#clear(); // more than a page was added, or all was replaced
      this.#older.set(older, rest);
    }
    this.#showTitle(title);
    this.#turns.removeMissing(turns);
    let previous = undefined; // a turn that another tab has added may belong before one that was asked here
    for (const stored of turns) {
      const turn = (previous = this.#turns.find(stored) ?? this.#turns.append(this.#build(stored.question), previous));
      turn.question = stored.id;
      if (running !== null && stored === turns.at(-1)) this.#follow(turn, running);
      else if (turn !== this.#running) this.#settle(turn, stored.answer);
    }
  }

  /**
   * @param {Turn} turn
   * @param {Receipt & {question_id?: string}} created
   */
  #start(turn, created) {
    turn.question = created.question_id || turn.question;
    this.#follow(turn, created.id);
  }

  /**
   * @param {Turn} turn
   * @param {string} generation
   */
  #follow(turn, generation) {
    if (turn.generation === generation) return;
    turn.generation = generation;
    turn.isEnded = this.#isBusy = false;
    turn.view.restart(generation);
    this.#running = turn;
    this.#connection.follow(generation, {
      take: (event) => {
        this.isFound = true;
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

  // Accepts no question until the answer of another tab is found, or for a time.
  #waitForOther() {
    this.#isBusy = true;
    this.#isStale = true;
    setTimeout(() => {
      this.#isBusy = false;
      this.#handlers.onSuccess(this, "ask");
      this.#changed();
    }, RETRY_MS);
  }

  /** @param {Turn} turn */
  #end(turn) {
    turn.isEnded = true;
    turn.isStopping = turn.isStopPending = false;
    turn.view.end();
    if (this.#running === turn) this.#running = null;
    this.#changed();
  }

  /**
   * Show the stored answer of a turn that is not running, unless it is shown already.
   *
   * @param {Turn} turn
   * @param {StoredMessage | null} answer
   */
  #settle(turn, answer) {
    if (turn.isEnded && answer === null) return;
    if (turn.isEnded && answer?.generation === turn.generation) return;
    turn.generation = answer?.generation ?? null;
    turn.isEnded = true;
    turn.view.showStored(answer);
  }

  /**
   * @param {string} text
   * @param {string | null} [question]
   * @returns {Turn}
   */
  #build(text, question = null) {
    const view = new TurnView(text, {
      onSuggestion: this.#handlers.onSuggestion,
      showImage: (generation, image, alt) => imageOf(this.#millrace, `api/generations/${generation}/images/${image}`, alt),
      onEdit: (edited) => this.#edit(turn, edited),
      onRetry: (model) => this.#retry(turn, model),
      readModels: this.#readModels,
    });
    /** @type {Turn} */
    const turn = { view, text, question, generation: null, isEnded: false, isStopping: false, isStopPending: false };
    return turn;
  }

  #clear() {
    this.#unfollow();
    this.#turns.clear();
    this.#older.set(null, []);
  }

  async #showOlder() {
    try {
      const added = (await this.#older.read(this.#millrace, this.id ?? "")).map(({ id, question, answer }) => {
        const turn = this.#build(question, id);
        this.#settle(turn, answer);
        return turn;
      });
      this.#turns.prepend(added);
      this.scrolling.keep();
      this.#changed();
      this.#handlers.onSuccess(this, "older");
    } catch (error) {
      this.#handlers.onFailure(this, "older", /** @type {MillraceError} */ (error));
    }
  }

  /** @param {boolean} isLoaded */
  #setLoaded(isLoaded) {
    this.isLoaded = isLoaded;
    this.scroller.ariaBusy = String(!isLoaded);
  }

  /** @param {string | null} title */
  #showTitle(title) {
    this.title.textContent = title ?? "";
    this.title.hidden = title === null;
  }

  #changed() {
    const { last } = this.#turns;
    for (const turn of this.#turns) {
      const canChange = this.canAsk && turn.question !== null;
      turn.view.allow({ canEdit: canChange, canRetry: canChange && turn === last });
    }
    this.#handlers.onChange(this);
  }
}
