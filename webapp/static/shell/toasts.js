// Short messages that disappear by themselves, with one action each. Time stands still while one has the pointer or the focus.

import { h } from "../base/dom.js";
import { iconButton } from "../base/icons.js";
import { t } from "../base/strings.js";

/**
 * @typedef {object} Toast
 * @property {string} text
 * @property {string} action
 * @property {() => void} onAction
 * @property {() => void} [onEnd] - called when it has disappeared without its action
 * @property {number} milliseconds
 */

export class Toasts {
  element = h("div", { className: "toasts", role: "region", "aria-label": t.notices, "aria-live": "polite" });

  /**
   * Show a toast; returns a function that ends it at once.
   *
   * @param {Toast} toast
   */
  show({ text, action, onAction, onEnd = () => {}, milliseconds }) {
    let timer = 0;
    let isShown = true;
    const end = (/** @type {() => void} */ then) => {
      if (!isShown) return;
      isShown = false;
      clearTimeout(timer);
      element.remove();
      then();
    };
    const start = () => {
      clearTimeout(timer);
      timer = setTimeout(() => end(onEnd), milliseconds);
    };
    const hold = () => clearTimeout(timer);
    const element = h(
      "div",
      { className: "toast", on: { pointerenter: hold, pointerleave: start, focusin: hold, focusout: start } },
      h("span", { className: "toast-text", dir: "auto" }, text),
      h("button", { type: "button", className: "quiet toast-action", on: { click: () => end(onAction) } }, action),
      iconButton("toast-close", "close", t.close, () => end(onEnd)),
    );
    this.element.append(element);
    start();
    return () => end(onEnd);
  }
}
