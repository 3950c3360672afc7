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

const LABELS = {
  queued: () => t.queued,
  running: () => t.running,
  searching: () => t.searching,
  retrying: () => t.retrying,
  completed: () => t.completed,
  cancelled: () => t.cancelled,
  failed: () => t.failed(""),
};

/**
 * @typedef {object} TurnHandlers
 * @property {(text: string) => void} onSuggestion
 * @property {(generation: string, image: string, alt: string) => HTMLImageElement} showImage
 * @property {(text: string) => Promise<boolean>} onEdit
 * @property {(model?: string) => void} onRetry
 * @property {() => Promise<string[]>} readModels
 */

/**
 * @import { Answer, GenerationEvent, Latency } from "../client.js"
 * @import { StoredMessage } from "./history.js"
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
  #isAnswering = false; // a part of the answer has arrived since the last status, which is not repeated

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
    this.setStatus("queued", t.sending); // until the server has accepted it
  }

  get text() {
    return this.#answered.text;
  }

  /** The text of an edited question that is not sent yet, "" if there is none. */
  get edited() {
    return this.#question.edited;
  }

  /** As in the attribute `data-state`. */
  get state() {
    return this.element.dataset.state;
  }

  /**
   * @param {keyof typeof LABELS} state
   * @param {string} [label]
   */
  setStatus(state, label = LABELS[state]()) {
    if (this.element.dataset.state !== state) this.element.dataset.state = state;
    if (this.#status.textContent !== label) this.#status.textContent = label;
    this.#status.toggleAttribute("data-plain", state === "completed" && label === t.completed); // is not displayed
  }

  /**
   * Say which actions are possible now.
   *
   * @param {{canEdit: boolean, canRetry: boolean}} possible
   */
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

  /** @param {GenerationEvent} event */
  apply(event) {
    const { outcome } = this.#answered;
    if (event.type === "chunk" || event.type === "reasoning") this.#isAnswering = true;
    else if (event.type === "status") this.#isAnswering = false;
    if (event.type !== "done") this.#show(fold(this.#answered, event));
    else if (outcome !== null && event.usage_by) {
      const { usage_by, usage_total } = event; // with the calls after the outcome
      const whole = /** @type {Answer["outcome"]} */ ({ ...outcome, usage_by, usage_total });
      this.#answered = { ...this.#answered, outcome: whole };
    }
  }

  end() {
    this.#markdown.finish();
    this.#tools.finish();
    this.#answer.ariaBusy = "false";
    this.#showPhase(null);
    this.#actions.show(this.#answered);
  }

  /**
   * Show a stored answer with its outcome; null if there is none.
   *
   * @param {StoredMessage | null} stored
   */
  showStored(stored) {
    if (stored === null) {
      this.setStatus("failed", t.notStored);
      this.#actions.show(this.#answered);
      return;
    }
    const { content: text, outcome, suggestions, images, reasoning, sources = [], latency } = stored;
    const [citations, tools] = /** @type {[Answer["citations"], Answer["tools"]]} */ ([stored.citations, stored.tools]);
    const context = /** @type {Answer["context"]} */ (sources.length > 0 ? { type: "context", sources } : null);
    this.#generation = stored.generation ?? "";
    this.#show({ ...START, text, outcome, suggestions, images, reasoning, citations, tools, context });
    this.#reasoning.showDuration(latency?.reasoning_ms ?? null);
    this.end();
  }

  /** @param {Answer} answer */
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
    if (outcome === null || before.outcome !== null) return;
    this.#showPhase(null);
    const { latency } = /** @type {{latency?: Latency & {reasoning_ms?: number}}} */ (outcome);
    if (latency?.reasoning_ms !== undefined) this.#reasoning.showDuration(latency.reasoning_ms);
  }

  /** @param {Answer} answer */
  #showProgress({ status, progress, text, reasoning }) {
    const isThinking = text === "" && reasoning !== "";
    const { provider, code } = progress ?? {};
    if (this.#isAnswering) return this.#showAnswering(text, isThinking);
    const reason = /** @type {Record<string, string>} */ (t.reasons)[code ?? ""] ?? null;
    if (status === "retrying") this.setStatus(status, t.retryingWith(provider ?? null, reason));
    else this.setStatus(status);
    this.#showPhase(null);
  }

  /**
   * @param {string} text
   * @param {boolean} isThinking
   */
  #showAnswering(text, isThinking) {
    this.setStatus("running", isThinking ? t.thinking : t.running);
    if (text !== "") this.#showPhase("writing");
    else this.#showPhase(isThinking ? "thinking" : null);
  }

  /** @param {"thinking" | "writing" | null} phase */
  #showPhase(phase) {
    if (phase === null) delete this.element.dataset.phase;
    else if (this.element.dataset.phase !== phase) this.element.dataset.phase = phase;
    if (phase !== null || this.#answered.outcome === null) this.#actions.show(null);
  }

  /** @param {Answer["images"]} images */
  #showImages(images) {
    const { showImage } = this.#handlers;
    this.#images.replaceChildren(...images.map(({ id }, index) => showImage(this.#generation, id, t.imageOfAnswer(index + 1))));
  }

  /** @param {Answer["suggestions"]} suggestions */
  #showSuggestions(suggestions) {
    const buttons = suggestions.map((text) =>
      h("button", { type: "button", className: "chip", dir: "auto", on: { click: () => this.#handlers.onSuggestion(text) } }, text),
    );
    this.#suggestions.replaceChildren(...buttons);
    this.#suggestions.hidden = suggestions.length === 0;
  }
}
