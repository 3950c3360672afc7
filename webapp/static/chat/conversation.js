// The open conversation: its turns, the answer that is running in it, and the questions that are asked in it.

import { h } from "../base/dom.js";
import { t } from "../base/strings.js";
import { readNewest, readPage } from "./history.js";
import { TurnView } from "./turn.js";

const RETRY_MS = 3000;
const NEAR_END_PX = 40;

export class Conversation {
  id = null; // null for a new conversation, until its first question is accepted
  title = h("h2", { id: "title", dir: "auto", hidden: true });
  older = h("button", { type: "button", id: "older", hidden: true, on: { click: () => this.#showOlder() } }, t.showOlder);
  list = h("div", { id: "turns" });
  scroller = h("div", { className: "scroller", tabIndex: 0, role: "region", "aria-label": t.messages }, this.older, this.list);
  #millrace;
  #connection;
  #notices;
  #handlers;
  #visit = 0; // incremented when another conversation is opened: results of earlier calls are then ignored
  #turns = []; // oldest first: {view, text, question, generation, isEnded, isStopping}; unknown ids are null
  #running = null; // the turn that is being answered
  #isLoaded = true;
  #isAsking = false;
  #isReading = false;
  #isStale = false; // has changed since the last call that reads it began
  #older = null; // where the page before the first turn begins, see `readPage`
  #rest = [];

  // `onChange()` is called when `id`, `canAsk` or `canStop` may have changed, `onEnd()` when an answer has ended,
  // `onAbsent()` when there is no such conversation, and `onSuggestion(text)` when a suggested question is chosen.
  constructor({ millrace, connection, notices }, handlers) {
    this.#millrace = millrace;
    this.#connection = connection;
    this.#notices = notices;
    this.#handlers = handlers;
  }

  get canAsk() {
    return this.#isLoaded && !this.#isAsking && this.#running === null;
  }

  get canStop() {
    return this.#running !== null && !this.#running.isStopping;
  }

  // Opens a conversation, or a new one for null.
  open(id) {
    this.#visit++;
    this.id = id;
    this.#isLoaded = id === null;
    this.#isAsking = this.#isReading = this.#isStale = false;
    this.#clear();
    this.#showTitle(null);
    this.#notices.clearFailures();
    this.#handlers.onChange();
    this.refresh();
  }

  // Asks a question; resolves to whether it was accepted.
  async ask(message) {
    const here = this.#visit;
    const turn = this.#append(message);
    this.#isAsking = true;
    this.#notices.clearFailures();
    this.#handlers.onChange();
    try {
      const created = await this.#millrace.ask({ message, ...(this.id !== null && { conversation_id: this.id }) });
      if (here !== this.#visit) return true; // the user has opened another conversation; this one is in the list
      this.id = created.conversation_id;
      this.#follow(turn, created.id);
      return true;
    } catch (error) {
      this.#notices.showFailure("ask", error);
      turn.view.element.remove();
      this.#turns = this.#turns.filter((each) => each !== turn);
      return false;
    } finally {
      if (here === this.#visit) {
        this.#isAsking = false;
        this.#handlers.onChange();
        if (this.#isStale) this.refresh();
      }
    }
  }

  // Stops the running answer; its stream shows when it has ended.
  async stop() {
    if (!this.canStop) return;
    const turn = this.#running;
    turn.isStopping = true;
    this.#handlers.onChange();
    try {
      await this.#millrace.stop(turn.generation);
      this.#notices.clearFailure("stop");
    } catch (error) {
      this.#notices.showFailure("stop", error);
      turn.isStopping = false;
      this.#handlers.onChange();
    }
  }

  // Whether an event of the feed reports nothing new: its generation is running here, or its answer is shown.
  knows({ generation }) {
    return generation !== undefined && this.#turns.some((turn) => turn.generation === generation);
  }

  // Reads the conversation and shows what has changed. While a call is under way it waits for its end.
  async refresh() {
    this.#isStale = true;
    if (this.id === null || this.#isReading || this.#isAsking) return;
    const here = this.#visit;
    this.#isReading = true;
    this.#isStale = false;
    try {
      const found = await readNewest(this.#millrace, this.id);
      if (here !== this.#visit) return;
      if (!this.#isAsking) this.#update(found);
      this.#isLoaded = true;
      this.#notices.clearFailure("open");
    } catch (error) {
      if (here !== this.#visit) return;
      if (error.status !== 404) {
        this.#notices.showFailure("open", error);
        this.#refreshLater();
      } else if (this.#running === null) return this.#handlers.onAbsent();
    } finally {
      if (here === this.#visit) this.#isReading = false;
    }
    this.#handlers.onChange();
    if (this.#isStale) this.refresh();
  }

  #update({ title, turns, running, older, rest }) {
    if (!turns.some((stored) => this.#find(stored))) {
      if (this.#turns.some((turn) => turn.isEnded)) this.#clear(); // more than a page was added
      this.#setOlder(older, rest);
    }
    this.#showTitle(title);
    for (const stored of turns) {
      const turn = this.#find(stored) ?? this.#append(stored.question);
      turn.question = stored.id;
      if (running !== null && stored === turns.at(-1)) this.#follow(turn, running);
      else if (turn !== this.#running) this.#settle(turn, stored.answer);
    }
  }

  // Returns the shown turn of a stored one. The id of a question that was asked here is not known at first.
  #find({ id, question }) {
    return this.#turns.find((turn) => turn.question === id || (turn.question === null && turn.text === question));
  }

  #follow(turn, generation) {
    if (turn.generation === generation) return;
    turn.generation = generation;
    turn.isEnded = false;
    turn.view.restart();
    this.#running = turn;
    this.#connection.follow(generation, {
      take: (event) => {
        if (event.type === "title") this.#showTitle(event.title);
        else if (event.type === "done") {
          this.#end(turn);
          this.refresh();
        } else this.#keepAtEnd(() => turn.view.apply(event, turn.generation));
      },
      reject: () => {
        turn.generation = null;
        turn.view.setStatus("failed", t.answerGone);
        this.#end(turn);
        this.#refreshLater(); // or it does not exist yet
      },
    });
  }

  #keepAtEnd(change) {
    const { scrollTop, clientHeight, scrollHeight } = this.scroller;
    const isAtEnd = scrollTop + clientHeight >= scrollHeight - NEAR_END_PX;
    change();
    if (isAtEnd) this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  #end(turn) {
    turn.isEnded = true;
    turn.isStopping = false;
    turn.view.end();
    this.#running = null;
    this.#handlers.onChange();
    this.#handlers.onEnd();
  }

  #refreshLater() {
    const here = this.#visit;
    setTimeout(() => here === this.#visit && this.refresh(), RETRY_MS);
  }

  // Shows the stored answer of a turn that is not running, unless it is shown already.
  #settle(turn, answer) {
    if (turn.isEnded && (answer === null || answer.generation === turn.generation)) return;
    turn.generation = answer?.generation ?? null;
    turn.isEnded = true;
    turn.view.showStored(answer);
  }

  #create(text) {
    const imageUrl = (generation, image) => this.#millrace.url(`api/generations/${generation}/images/${image}`);
    const view = new TurnView(text, { onSuggestion: this.#handlers.onSuggestion, imageUrl });
    return { view, text, question: null, generation: null, isEnded: false, isStopping: false };
  }

  #append(text) {
    const turn = this.#create(text);
    this.#turns.push(turn);
    this.list.append(turn.view.element);
    this.scroller.scrollTop = this.scroller.scrollHeight;
    return turn;
  }

  #clear() {
    this.#turns = [];
    if (this.#running) this.#connection.unfollow(this.#running.generation);
    this.#running = null;
    this.#setOlder(null, []);
    this.list.replaceChildren();
  }

  async #showOlder() {
    const here = this.#visit;
    this.older.disabled = true;
    try {
      const { turns, older, rest } = await readPage(this.#millrace, this.id, this.#older, this.#rest);
      if (here !== this.#visit) return;
      const added = turns.map(({ id, question, answer }) => {
        const turn = { ...this.#create(question), question: id };
        this.#settle(turn, answer);
        return turn;
      });
      const { scrollHeight } = this.scroller;
      this.#turns.unshift(...added);
      this.list.prepend(...added.map(({ view }) => view.element));
      this.#setOlder(older, rest);
      this.scroller.scrollTop += this.scroller.scrollHeight - scrollHeight; // what the user was reading stays in place
      this.#notices.clearFailure("older");
    } catch (error) {
      if (here === this.#visit) this.#notices.showFailure("older", error);
    } finally {
      this.older.disabled = false;
    }
  }

  #setOlder(older, rest) {
    this.#older = older;
    this.#rest = rest;
    this.older.hidden = older === null;
  }

  #showTitle(title) {
    this.title.textContent = title ?? "";
    this.title.hidden = title === null;
  }
}
