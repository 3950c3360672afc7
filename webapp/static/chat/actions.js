// The buttons below an answer that has ended: copy, try again, try again with another model, receipt.

import { h } from "../base/dom.js";
import { icon, iconButton } from "../base/icons.js";
import { t } from "../base/strings.js";
import { Popover } from "./popover.js";
import { hasReceipt, showReceipt } from "./receipt.js";

const COPIED_MS = 2000;

/**
 * @typedef {object} ActionHandlers
 * @property {(model?: string) => void} onRetry - answer the question again, by this model if one is named
 * @property {() => Promise<string[]>} readModels
 */

export class Actions {
  #text = "";
  /** @type {any} */
  #outcome = null;
  #canRetry = false;
  /** @type {string[]} */
  #names = []; // of the models
  #copy = iconButton("copy-answer", "copy", t.copyAnswer, () => this.#copyText());
  #retry;
  #models;
  #receipt;
  #handlers;

  /** @param {ActionHandlers} handlers */
  constructor(handlers) {
    this.#handlers = handlers;
    this.#retry = h("button", { type: "button", className: "quiet retry", on: { click: () => handlers.onRetry() } }, icon("retry"), t.tryAgain);
    this.#models = new Popover({
      button: iconButton("retry-model", "model", t.tryAnotherModel),
      className: "models",
      label: t.tryAnotherModel,
      onOpen: (panel) => this.#showModels(panel),
    });
    this.#receipt = new Popover({
      button: iconButton("receipt-button", "info", t.receipt),
      className: "receipt",
      label: t.receipt,
      onOpen: (panel) => showReceipt(panel, this.#outcome),
    });
    this.element = h("div", { className: "actions answer-actions", hidden: true }, this.#copy, this.#retry, this.#models.element, this.#receipt.element);
  }

  /**
   * Show what can be done with an answer that has ended; null while it runs.
   *
   * @param {{text: string, outcome: any} | null} answer
   */
  show(answer) {
    if (answer === null && this.element.hidden) return;
    this.element.hidden = answer === null;
    this.#models.close();
    this.#receipt.close();
    if (answer === null) return;
    this.#text = answer.text;
    this.#outcome = answer.outcome;
    this.#copy.hidden = answer.text === "";
    this.#receipt.element.hidden = !hasReceipt(answer.outcome);
  }

  /** @param {boolean} canRetry - it is the last turn, and no answer runs in the conversation */
  async allowRetry(canRetry) {
    this.#canRetry = canRetry;
    this.#retry.hidden = !canRetry;
    if (canRetry) this.#names = await this.#handlers.readModels();
    this.#models.element.hidden = !this.#canRetry || this.#names.length < 2;
  }

  /** @param {HTMLElement} panel */
  #showModels(panel) {
    const used = this.#outcome?.requested_model ?? this.#outcome?.model;
    const items = this.#names.map((name) => {
      const isUsed = name === used ? "true" : null;
      return h("button", { type: "button", className: "menu-item", "aria-current": isUsed, on: { click: () => this.#choose(name) } }, name);
    });
    panel.replaceChildren(...items);
  }

  /** @param {string} model */
  #choose(model) {
    this.#models.close();
    this.#handlers.onRetry(model);
  }

  async #copyText() {
    await copy(this.#text, this.element);
    this.#copy.dataset.state = "copied";
    this.#copy.ariaLabel = this.#copy.title = t.copied;
    this.#copy.replaceChildren(icon("check"));
    setTimeout(() => {
      delete this.#copy.dataset.state;
      this.#copy.ariaLabel = this.#copy.title = t.copyAnswer;
      this.#copy.replaceChildren(icon("copy"));
    }, COPIED_MS);
  }
}

/**
 * Copy text. The clipboard's API exists only in secure contexts, and a page in a local network often is none.
 *
 * @param {string} text
 * @param {HTMLElement} place - anywhere in the document
 */
async function copy(text, place) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const box = h("textarea", { className: "visually-hidden", value: text, "aria-hidden": "true" });
    place.append(box);
    box.select();
    document.execCommand("copy");
    box.remove();
  }
}
