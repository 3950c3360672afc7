// A question on the page, which can be edited in its place.

import { h } from "../base/dom.js";
import { iconButton } from "../base/icons.js";
import { t } from "../base/strings.js";
import { isComposing } from "./composer.js";

const LONG = 20_000; // characters; the direction of each paragraph of a longer text would cost seconds

export class QuestionView {
  #text;
  #question;
  #edit = iconButton("edit-question", "edit", t.editQuestion, () => this.#open());
  #actions = h("div", { className: "actions question-actions" }, this.#edit);
  #box = h("textarea", { className: "edit-text", "aria-label": t.editQuestion, dir: "auto", rows: 3 });
  #save = h("button", { type: "submit", className: "primary edit-save" }, t.saveAndSend);
  #form;
  #onEdit;

  /**
   * @param {string} text
   * @param {(text: string) => Promise<boolean>} onEdit - sends the new text; resolves to whether it was accepted
   */
  constructor(text, onEdit) {
    this.#text = text;
    this.#onEdit = onEdit;
    this.#question = h("p", { className: "question", dir: "auto", dataset: text.length > LONG ? { size: "long" } : {} }, text);
    const cancel = h("button", { type: "button", className: "quiet edit-cancel", on: { click: () => this.#close() } }, t.cancel);
    this.#form = h(
      "form",
      { className: "edit-form", hidden: true, on: { submit: this.#submit.bind(this), keydown: this.#press.bind(this) } },
      this.#box,
      h("div", { className: "buttons" }, cancel, this.#save),
    );
    this.elements = [this.#question, this.#actions, this.#form];
  }

  /** The text of an editing that is not sent yet, "" if there is none. */
  get edited() {
    const { value } = this.#box;
    return this.#form.hidden || value === this.#text ? "" : value;
  }

  /** @param {boolean} canEdit - no answer runs in the conversation */
  allow(canEdit) {
    this.#edit.hidden = !canEdit;
    this.#save.disabled = !canEdit;
  }

  #open() {
    this.#box.value = this.#text;
    this.#show(true);
    this.#box.focus();
  }

  #close() {
    this.#show(false);
    this.#edit.focus();
  }

  /** @param {boolean} isEditing */
  #show(isEditing) {
    this.#form.hidden = !isEditing;
    this.#question.hidden = this.#actions.hidden = isEditing;
  }

  /** @param {KeyboardEvent} event */
  #press(event) {
    if (isComposing(event)) return;
    if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation(); // it ends the editing and does not stop an answer
      this.#close();
    } else if (event.key === "Enter" && !event.shiftKey && event.target === this.#box) {
      event.preventDefault();
      this.#form.requestSubmit();
    }
  }

  /** @param {SubmitEvent} event */
  async #submit(event) {
    event.preventDefault();
    const text = this.#box.value;
    if (text.trim() === "" || this.#save.disabled) return;
    this.#save.disabled = true;
    if (await this.#onEdit(text)) return; // this question is replaced
    this.#save.disabled = false;
    this.#box.focus();
  }
}
