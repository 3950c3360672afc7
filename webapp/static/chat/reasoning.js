// A model's reasoning, folded, with the time that it took.

import { h } from "../base/dom.js";
import { t } from "../base/strings.js";
import { MarkdownView } from "../text/markdown.js";

export class ReasoningView {
  #summary = h("summary", { className: "reasoning-summary" }, t.thinking);
  #text = h("div", { className: "reasoning-text", dir: "auto" });
  /** @type {MarkdownView | null} */
  #markdown = null; // made when the reasoning is first opened: few people open it, and it may be long
  #reasoning = "";
  #startedAt = 0;
  #isOver = false;

  constructor() {
    this.element = h("details", { className: "reasoning", hidden: true, on: { toggle: () => this.#render() } }, this.#summary, this.#text);
  }

  /**
   * Show the reasoning so far.
   *
   * @param {string} reasoning
   * @param {boolean} isOver - the answer's text has begun, or the answer has ended
   */
  show(reasoning, isOver) {
    if (reasoning === "") this.#startedAt = 0;
    else this.#startedAt ||= performance.now();
    if (reasoning !== this.#reasoning) {
      this.#reasoning = reasoning;
      this.element.hidden = reasoning === "";
      this.#render();
    }
    if (isOver === this.#isOver) return;
    this.#isOver = isOver;
    if (!isOver) this.#summary.textContent = t.thinking;
    else if (reasoning !== "") this.showDuration(performance.now() - this.#startedAt);
    this.#render();
  }

  /** @param {number | null} milliseconds - null: it is not known */
  showDuration(milliseconds) {
    const seconds = Math.round((milliseconds ?? 0) / 1000);
    this.#summary.textContent = seconds > 0 ? t.thoughtFor(seconds) : t.thought;
  }

  #render() {
    if (!this.element.open) return;
    this.#markdown ??= new MarkdownView(this.#text);
    this.#markdown.set(this.#reasoning);
    if (this.#isOver) this.#markdown.finish();
  }
}
