// One turn on the page: a question and its answer.

import { h } from "../base/dom.js";
import { t } from "../base/strings.js";
import { fold, START } from "../client.js";
import { MarkdownView } from "../text/markdown.js";
import { Actions } from "./actions.js";
import { QuestionView } from "./question.js";
import { ReasoningView } from "./reasoning.js";
import { SourcesView, sourcesOf } from "./sources.js";
import { ToolsView } from "./tools.js";

/**
 * @typedef {object} TurnHandlers
 * @property {(text: string) => void} onSuggestion
 * @property {(generation: string, image: string) => string} imageUrl
 * @property {(text: string) => Promise<boolean>} onEdit
 * @property {(model?: string) => void} onRetry
 * @property {() => Promise<string[]>} readModels
 */

/** The view of a turn. It shows an answer as `fold` of client.js makes it. */
export class TurnView {
  #question;
  #reasoning = new ReasoningView();
  #sources = new SourcesView();
  #tools = new ToolsView();
  #answer = h("div", { className: "answer", dir: "auto" });
  #images = h("div", { className: "images" });
  #status = h("p", { className: "status" });
  #actions;
  #suggestions = h("div", { className: "suggestions", hidden: true });
  #markdown = new MarkdownView(this.#answer);
  #handlers;
  #answered = START; // as `fold` makes it
  #generation = "";

  /**
   * @param {string} question
   * @param {TurnHandlers} handlers
   */
  constructor(question, handlers) {
    this.#handlers = handlers;
    this.#question = new QuestionView(question, handlers.onEdit);
    this.#actions = new Actions(handlers);
    this.element = h(
      "article",
      { className: "turn" },
      h("h2", { className: "visually-hidden" }, t.question),
      ...this.#question.elements,
      h("h2", { className: "visually-hidden" }, t.answer),
      this.#reasoning.element,
      this.#sources.element,
      this.#tools.element,
      this.#answer,
      this.#images,
      this.#status,
      this.#actions.element,
      this.#suggestions,
    );
    this.allow({ canEdit: false, canRetry: false });
    this.setStatus("queued");
  }

  get text() {
    return this.#answered.text;
  }

  get state() {
    return this.element.dataset.state;
  }

  setStatus(state, label = t[state] ?? state) {
    if (this.element.dataset.state !== state) this.element.dataset.state = state;
    if (this.#status.textContent !== label) this.#status.textContent = label;
    this.#status.toggleAttribute("data-plain", state === "completed" && label === t.completed); // is not displayed
  }

  /** Say which actions are possible now. */
  allow({ canEdit, canRetry }) {
    this.#question.allow(canEdit);
    this.#actions.allowRetry(canRetry);
  }

  /**
   * Empty the turn for the events of an answer from its start.
   *
   * @param {string} generation
   */
  restart(generation) {
    this.#generation = generation;
    this.#answer.ariaBusy = "true";
    this.#status.setAttribute("role", "status");
    this.#show(START);
  }

  apply(event) {
    if (event.type === "done") {
      const { usage_by = this.#answered.outcome?.usage_by, usage_total = this.#answered.outcome?.usage_total } = event;
      this.#answered = { ...this.#answered, outcome: { ...this.#answered.outcome, usage_by, usage_total } };
    } else this.#show(fold(this.#answered, event));
  }

  end() {
    this.#markdown.finish();
    this.#tools.finish();
    this.#answer.ariaBusy = "false";
    this.#showPhase(null);
    this.#actions.show(this.#answered);
  }

  /** Show a stored answer with its outcome; null if there is none. */
  showStored(stored) {
    if (stored === null) {
      this.setStatus("failed", t.notStored);
      this.#actions.show(this.#answered);
      return;
    }
    const { content: text, outcome, suggestions, images, reasoning, citations, tools } = stored;
    this.#generation = stored.generation;
    this.#show({ ...START, text, outcome, suggestions, images, reasoning, citations, tools, context: contextOf(stored) });
    this.end();
    this.addStored(stored);
  }

  /** Add what only the stored answer knows, such as how long the model has reasoned. */
  addStored({ reasoning, reasoning_ms: duration }) {
    if (reasoning !== "" && duration != null) this.#reasoning.showDuration(duration);
  }

  #show(answer) {
    const before = this.#answered;
    this.#answered = answer;
    const { text, outcome, images, suggestions, context, citations, tools } = answer;
    this.#markdown.set(text);
    if (outcome !== null) this.#markdown.finish(); // before the state says that this is all
    this.#reasoning.show(answer.reasoning, text !== "" || outcome !== null);
    if (context !== before.context || citations !== before.citations) this.#sources.show(sourcesOf(context, citations));
    if (tools !== before.tools) this.#tools.show(tools);
    if (this.#images.childElementCount !== images.length) this.#showImages(images);
    if (this.#suggestions.childElementCount !== suggestions.length) this.#showSuggestions(suggestions);
    if (outcome === null) this.#showProgress(answer);
    else if (outcome.type === "error") this.setStatus("failed", t.failed(outcome.message));
    else if (outcome.type === "cancelled") this.setStatus("cancelled");
    else this.setStatus("completed", outcome.stop_reason === "max_tokens" ? t.completedAtLimit : t.completed);
    if (outcome !== null) this.#showPhase(null);
  }

  #showProgress({ status, progress, text, reasoning }) {
    const isThinking = text === "" && reasoning !== "";
    const { provider, code } = progress ?? {};
    if (status === "retrying") this.setStatus(status, t.retryingWith(provider ?? null, t.reasons[code] ?? null));
    else this.setStatus(status, status === "running" && isThinking ? t.thinking : t[status]);
    if (text !== "") this.#showPhase("writing");
    else this.#showPhase(isThinking ? "thinking" : null);
  }

  #showPhase(phase) {
    if (phase === null) delete this.element.dataset.phase;
    else if (this.element.dataset.phase !== phase) this.element.dataset.phase = phase;
    if (phase !== null || this.#answered.outcome === null) this.#actions.show(null);
  }

  #showImages(images) {
    const elements = images.map(({ id }, index) => {
      const src = this.#handlers.imageUrl(this.#generation, id);
      const isForeign = new URL(src, document.baseURI).origin !== location.origin;
      return h("img", { alt: t.imageOfAnswer(index + 1), crossOrigin: isForeign ? "use-credentials" : null, src });
    });
    this.#images.replaceChildren(...elements);
  }

  #showSuggestions(suggestions) {
    const buttons = suggestions.map((text) =>
      h("button", { type: "button", className: "chip", dir: "auto", on: { click: () => this.#handlers.onSuggestion(text) } }, text),
    );
    this.#suggestions.replaceChildren(...buttons);
    this.#suggestions.hidden = suggestions.length === 0;
  }
}

function contextOf({ sources }) {
  return sources ? { sources } : null;
}
