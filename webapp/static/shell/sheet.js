// A dialog with a heading and a button that closes it; so do Escape and a click beside it.

import { h } from "../base/dom.js";
import { iconButton } from "../base/icons.js";
import { t } from "../base/strings.js";

let count = 0;

/**
 * Return a new dialog, not yet open; it leaves the document when it is closed.
 *
 * @param {string} className
 * @param {string} title
 * @param {...Node} children
 * @returns {HTMLDialogElement}
 */
export function createSheet(className, title, ...children) {
  const id = `sheet-${++count}`;
  const dialog = h(
    "dialog",
    { className: `sheet ${className}`, "aria-labelledby": id },
    h(
      "header",
      { className: "sheet-head" },
      h("h2", { id }, title),
      iconButton("sheet-close", "close", t.close, () => dialog.close()),
    ),
    h("div", { className: "sheet-body", tabIndex: 0, role: "group", "aria-labelledby": id }, ...children),
  );
  // The dialog's box is filled by its parts: only its backdrop is the dialog itself.
  dialog.addEventListener("click", (/** @type {MouseEvent} */ event) => event.target === dialog && isOutside(dialog, event) && dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  return dialog;
}

/**
 * Open a sheet; resolves when it is closed.
 *
 * @param {HTMLDialogElement} sheet
 */
export function openSheet(sheet) {
  document.body.append(sheet);
  sheet.showModal();
  return new Promise((resolve) => sheet.addEventListener("close", resolve, { once: true }));
}

/**
 * @param {HTMLDialogElement} dialog
 * @param {MouseEvent} event
 */
function isOutside(dialog, { clientX, clientY }) {
  const { left, right, top, bottom } = dialog.getBoundingClientRect();
  return clientX < left || clientX > right || clientY < top || clientY > bottom;
}
