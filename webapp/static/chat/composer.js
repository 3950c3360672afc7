// The form in which questions are typed.

import { h } from "../base/dom.js";
import { t } from "../base/strings.js";

const COMPOSING_KEY_CODE = 229; // Safari ends a composition before the keydown of its Enter; only this code tells

/** Whether a key belongs to an input method, such as the Enter that accepts a Japanese word. */
export function isComposing(event) {
  return event.isComposing || event.keyCode === COMPOSING_KEY_CODE;
}

export class Composer {
  input = h("textarea", { id: "question", name: "question", rows: 2, placeholder: t.askPlaceholder, dir: "auto" });
  #send = h("button", { type: "submit", id: "send" }, t.send);
  #stop = h("button", { type: "button", id: "stop", disabled: true, "aria-keyshortcuts": "Escape" }, t.stop);

  /** @param {{notices: any, onSend: () => void, onStop: () => void}} parts */
  constructor({ notices, onSend, onStop }) {
    this.element = h(
      "form",
      { id: "ask", autocomplete: "off" },
      h("label", { htmlFor: "question", className: "visually-hidden" }, t.yourQuestion),
      this.input,
      h("div", { className: "buttons" }, notices.connection, this.#send, this.#stop),
      notices.notice,
    );
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      onSend();
    });
    this.input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || isComposing(event)) return;
      event.preventDefault();
      onSend();
    });
    this.#stop.addEventListener("click", onStop);
  }

  show({ canAsk, canStop }) {
    this.#send.disabled = !canAsk;
    this.#stop.disabled = !canStop;
  }

  /** Focus the question; on a phone the focus would open the keyboard over the answer. */
  focus() {
    if (matchMedia("(pointer: fine)").matches) this.input.focus();
  }

  /** Focus the question if nothing else uses the focus. */
  focusIfIdle() {
    const root = /** @type {Document | ShadowRoot} */ (this.element.getRootNode());
    const focused = root.activeElement ?? document.body;
    if ((focused === document.body || this.element.contains(focused)) && getSelection()?.isCollapsed) this.focus();
  }
}
