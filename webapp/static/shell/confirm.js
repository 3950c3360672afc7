// A question to the user before something that cannot be undone.

import { h } from "../base/dom.js";
import { t } from "../base/strings.js";

/** Ask the user; resolves to whether the user agreed. Escape means no. */
export function confirm(question, action) {
  const text = h("p", { id: "confirm-question", dir: "auto" }, question);
  const dialog = h("dialog", { id: "confirm", "aria-labelledby": "confirm-question" });
  const button = (value, label, isFirst) =>
    h("button", { type: "button", value, autofocus: isFirst, on: { click: () => dialog.close(value) } }, label);
  dialog.append(text, h("div", { className: "buttons" }, button("no", t.cancel, true), button("yes", action, false)));
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}
