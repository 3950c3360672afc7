// A menu below its button, as the ARIA practices describe it: arrow keys move, Escape and a click elsewhere close it.

import { h } from "../base/dom.js";
import { icon } from "../base/icons.js";

/**
 * @typedef {object} Action
 * @property {string} name - for styles and tests
 * @property {string} label
 * @property {Parameters<typeof icon>[0]} icon
 * @property {() => void} [run]
 * @property {boolean} [isDangerous]
 * @property {string} [href] - a file to download, in place of `run`
 */

/** @type {(() => void) | null} closes the open menu: there is one at most */
let closeOpen = null;

/**
 * Open a menu in the element that contains its button; a second call for the same button closes it.
 *
 * @param {HTMLElement} button
 * @param {Action[]} actions
 */
export function toggleMenu(button, actions) {
  const isOpen = button.ariaExpanded === "true";
  closeOpen?.();
  if (!isOpen) open(button, actions);
}

/**
 * @param {HTMLElement} button
 * @param {Action[]} actions
 */
function open(button, actions) {
  const choose = (/** @type {Action} */ action) => {
    close(true);
    action.run?.();
  };
  const items = actions.map((action) =>
    h(
      action.href === undefined ? "button" : "a",
      {
        className: action.isDangerous ? "menu-item danger" : "menu-item",
        role: "menuitem",
        tabIndex: -1,
        dataset: { action: action.name },
        ...(action.href === undefined ? { type: "button" } : { href: action.href, download: "" }),
        on: { click: () => choose(action) },
      },
      icon(action.icon),
      action.label,
    ),
  );
  const menu = h("div", { className: "popover", role: "menu", "aria-label": button.ariaLabel, dataset: { align: "end" } }, ...items);

  const onPointerDown = (/** @type {PointerEvent} */ event) => {
    const target = /** @type {Node} */ (event.target);
    if (!menu.contains(target) && !button.contains(target)) close(false);
  };
  const close = (/** @type {boolean} */ mustFocusButton) => {
    if (closeOpen === null) return;
    closeOpen = null;
    document.removeEventListener("pointerdown", onPointerDown);
    button.ariaExpanded = "false";
    menu.remove();
    if (mustFocusButton) button.focus();
  };
  menu.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => onKey(event, items, close));
  menu.addEventListener("focusout", (/** @type {FocusEvent} */ { relatedTarget }) => {
    // A click on the button focuses it first, and then toggles the menu itself.
    if (relatedTarget instanceof Node && relatedTarget !== button && !menu.contains(relatedTarget)) close(false);
  });
  document.addEventListener("pointerdown", onPointerDown);
  closeOpen = () => close(false);
  button.ariaExpanded = "true";
  button.after(menu);
  menu.scrollIntoView({ block: "nearest" });
  items[0].focus({ preventScroll: true });
}

/**
 * @param {KeyboardEvent} event
 * @param {HTMLElement[]} items
 * @param {(mustFocusButton: boolean) => void} close
 */
function onKey(event, items, close) {
  const at = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
  if (next !== undefined) items.at(next % items.length)?.focus();
  else if (event.key === "Escape") close(true);
  else if (event.key === "Tab") return close(true);
  else return;
  event.preventDefault();
}
