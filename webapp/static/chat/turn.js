// One turn on the page: a question and its answer.

import { h } from "../base/dom.js";
import { t } from "../base/strings.js";
import { fold, START } from "../client.js";
import { MarkdownView } from "../text/markdown.js";

/**
 * The view of a turn. It shows an answer as `fold` of client.js makes it.
 */
export class TurnView {
  #answer = h("div", { className: "answer", dir: "auto" });
  #images = h("div", { className: "images" });
  #status = h("p", { className: "status" });
  #suggestions = h("div", { className: "suggestions" });
  #markdown = new MarkdownView(this.#answer);
  #handlers;
  #state = START;

  /**
   * @param {string} question
   * @param {{onSuggestion: (text: string) => void, imageUrl: (generation: string, image: string) => string}} handlers
   */
  constructor(question, handlers) {
    this.#handlers = handlers;
    this.question = h("p", { className: "question", dir: "auto" }, question);
    this.element = h(
      "article",
      { className: "turn" },
      h("h2", { className: "visually-hidden" }, t.question),
      this.question,
      h("h2", { className: "visually-hidden" }, t.answer),
      this.#answer,
      this.#images,
      this.#status,
      this.#suggestions,
    );
    this.setStatus("queued");
  }

  setStatus(state, label = t[state] ?? state) {
    this.element.dataset.state = state;
    this.#status.textContent = label;
  }

  /** Empty the turn for the events of an answer from its start. */
  restart() {
    this.#show(START);
    // A screen reader reports the status while the text arrives, and reads the answer once it is whole.
    this.#answer.ariaLive = "polite";
    this.#answer.ariaBusy = "true";
    this.#status.setAttribute("role", "status");
  }

  apply(event, generation) {
    this.#show(fold(this.#state, event), generation);
  }

  end() {
    this.#markdown.finish();
    this.#answer.ariaBusy = "false";
  }

  /** Show a stored answer with its outcome; null if there is none. */
  showStored(stored) {
    if (stored === null) return this.setStatus("failed", t.notStored);
    const { content: text, outcome, suggestions, images } = stored;
    this.#show({ ...START, text, outcome, suggestions, images }, stored.generation);
    this.#markdown.finish();
  }

  #show(state, generation) {
    this.#state = state;
    this.#markdown.set(state.text);
    if (this.#images.childElementCount !== state.images.length) this.#showImages(generation, state.images);
    if (this.#suggestions.childElementCount !== state.suggestions.length) this.#showSuggestions(state.suggestions);
    const { outcome } = state;
    if (outcome === null) this.setStatus(state.status);
    else if (outcome.type === "error") this.setStatus("failed", t.failed(outcome.message));
    else if (outcome.type === "cancelled") this.setStatus("cancelled");
    else this.setStatus("completed", outcome.stop_reason === "max_tokens" ? t.completedAtLimit : t.completed);
  }

  #showImages(generation, images) {
    const elements = images.map(({ id }, index) =>
      h("img", { alt: t.imageOfAnswer(index + 1), src: this.#handlers.imageUrl(generation, id) }),
    );
    this.#images.replaceChildren(...elements);
  }

  #showSuggestions(suggestions) {
    const buttons = suggestions.map((text) =>
      h("button", { type: "button", dir: "auto", on: { click: () => this.#handlers.onSuggestion(text) } }, text),
    );
    this.#suggestions.replaceChildren(...buttons);
  }
}
