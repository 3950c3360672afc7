// The form in which questions are typed.

import { h } from "../base/dom.js";
import { icon } from "../base/icons.js";
import { t } from "../base/strings.js";
import { QueueView } from "./queue.js";

const COMPOSING_KEY_CODE = 229; // Safari ends a composition before the keydown of its Enter; only this code tells
const MIN_ROWS = 1;
const MAX_ROWS = 10;

/**
 * Whether a key belongs to an input method, such as the Enter that accepts a Japanese word.
 *
 * @param {KeyboardEvent} event
 */
export function isComposing(event) {
  return event.isComposing || event.keyCode === COMPOSING_KEY_CODE;
}

/**
 * @typedef {object} ComposerParts
 * @property {import("../base/notices.js").Notices} notices
 * @property {() => void} onSend
 * @property {() => void} onStop
 * @property {(text: string) => void} onInput
 * @property {ConstructorParameters<typeof QueueView>[0]} queue
 */

export class Composer {
  #input = h("textarea", {
    id: "question",
    name: "question",
    rows: MIN_ROWS,
    placeholder: t.askPlaceholder,
    "aria-label": t.yourQuestion,
    dir: "auto",
    enterKeyHint: "send",
  });
  #send = h("button", { type: "submit", id: "send", className: "icon-button primary", "aria-label": t.send, title: t.send }, icon("send"));
  #stop = h(
    "button",
    { type: "button", id: "stop", className: "icon-button", disabled: true, "aria-label": t.stop, title: t.stop, "aria-keyshortcuts": "Escape" },
    icon("stop"),
  );
  #countdown = h("span", { className: "countdown", role: "timer", hidden: true });
  #queue;
  #canAsk = false;
  #waitsUntil = 0; // by `performance.now()`: until then the server accepts no question

  /** @param {ComposerParts} parts */
  constructor({ notices, onSend, onStop, onInput, queue }) {
    this.#queue = new QueueView(queue);
    this.element = h(
      "form",
      { id: "ask", className: "composer", autocomplete: "off" },
      this.#queue.element,
      h(
        "div",
        { className: "composer-box" },
        this.#input,
        h("div", { className: "buttons" }, notices.connection, this.#countdown, this.#send, this.#stop),
      ),
      notices.notice,
    );
    this.element.addEventListener("submit", (/** @type {SubmitEvent} */ event) => {
      event.preventDefault();
      onSend();
    });
    this.#input.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Enter" || event.shiftKey || isComposing(event)) return;
      event.preventDefault();
      onSend();
    });
    this.#input.addEventListener("input", () => {
      this.#fit();
      onInput(this.text);
    });
    this.#stop.addEventListener("click", onStop);
  }

  get text() {
    return this.#input.value;
  }

  set text(text) {
    if (this.#input.value !== text) this.#input.value = text;
    this.#fit();
  }

  /** Whether the server accepts no question for a time. */
  get isCounting() {
    return this.#waitsUntil > 0;
  }

  /** @param {{canAsk: boolean, canStop: boolean, unsent: import("./unsent.js").Unsent}} conversation */
  show({ canAsk, canStop, unsent }) {
    this.#canAsk = canAsk;
    this.#stop.disabled = !canStop;
    this.#queue.show(unsent.queue);
    this.#showSend();
  }

  /**
   * Accept no question for a time, which is counted down.
   *
   * @param {number} seconds
   * @param {() => void} onEnd
   */
  countDown(seconds, onEnd) {
    this.#waitsUntil = Math.max(this.#waitsUntil, performance.now() + seconds * 1000);
    const tick = () => {
      const left = Math.ceil((this.#waitsUntil - performance.now()) / 1000);
      this.#countdown.hidden = left <= 0;
      this.#countdown.textContent = left > 0 ? t.readyIn(left) : "";
      if (left <= 0) {
        clearInterval(timer);
        if (!this.isCounting) return;
        this.#waitsUntil = 0;
        onEnd();
      }
      this.#showSend();
    };
    const timer = setInterval(tick, 250);
    tick();
  }

  /** Focus the question; on a phone the focus would open the keyboard over the answer. */
  focus() {
    if (matchMedia("(pointer: fine)").matches) this.#input.focus();
  }

  /** Focus the question of an opened conversation, but for a chat on another page, which the user may be using. */
  focusOpened() {
    if (this.element.getRootNode() === document) this.focus();
    else this.focusIfIdle();
  }

  /** Focus the question if nothing else uses the focus; on another page, if the chat uses it. */
  focusIfIdle() {
    const root = /** @type {Document | ShadowRoot} */ (this.element.getRootNode());
    const focused = root.activeElement;
    const isIdle = root === document ? focused === null || focused === document.body : false;
    if ((isIdle || this.element.contains(focused)) && getSelection()?.isCollapsed) this.focus();
  }

  #showSend() {
    this.#send.disabled = this.isCounting || !(this.#canAsk || this.text.trim() !== "");
    const label = this.#canAsk || this.#send.disabled ? t.send : t.sendNext;
    if (this.#send.title !== label) this.#send.ariaLabel = this.#send.title = label;
  }

  // Gives the box as many rows as its text has, where the browser does not do so by `field-sizing`.
  #fit() {
    this.#showSend();
    if (CSS.supports("field-sizing", "content")) return;
    this.#input.rows = MIN_ROWS;
    while (this.#input.scrollHeight > this.#input.clientHeight && this.#input.rows < MAX_ROWS) this.#input.rows++;
  }
}
