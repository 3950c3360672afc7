// A question to the user before something that cannot be undone.

import { h } from "../base/dom.js";
import { t } from "../base/strings.js";

/**
 * Ask the user; resolves to whether the user agreed. Escape means no.
 *
 * @param {string} question
 * @param {string} action
 * @returns {Promise<boolean>}
 */
export function confirm(question, action) {
  const text = h("p", { id: "confirm-question", dir: "auto" }, question);
  const dialog = h("dialog", { className: "sheet confirm", id: "confirm", "aria-labelledby": "confirm-question" });
  const button = (/** @type {string} */ value, /** @type {string} */ label, /** @type {string} */ className) =>
    h("button", { type: "button", value, className, autofocus: value === "no", on: { click: () => dialog.close(value) } }, label);
  dialog.append(text, h("div", { className: "buttons" }, button("no", t.cancel, ""), button("yes", action, "danger")));
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}
