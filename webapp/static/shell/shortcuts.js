// Keyboard shortcuts, and the sheet that lists them. None takes a key from somebody who types: those without a modifier work
// outside of text fields only, and those with one are combinations that write nothing.

import { h } from "../base/dom.js";
import { t } from "../base/strings.js";
import { isComposing } from "../chat/composer.js";
import { createSheet, openSheet } from "./sheet.js";

const IS_MAC = /^(Mac|iP)/.test(navigator.platform);
const MAC_NAMES = { Mod: "\u2318", Shift: "\u21e7", Enter: "\u21a9", Escape: "esc" };
const OTHER_NAMES = { Mod: "Ctrl", Enter: "Enter", Escape: "Esc" };

/**
 * @typedef {object} Shortcut
 * @property {string[][]} keys - each a combination; `Mod` is Command on Apple's machines and Control elsewhere
 * @property {string} label
 * @property {() => void} [run] - absent where the key is handled elsewhere and only listed here
 */

/**
 * Handle the shortcuts of the whole page; the first of `shortcuts` with a key's combination runs.
 *
 * @param {Shortcut[]} shortcuts
 */
export function installShortcuts(shortcuts) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || isComposing(event) || document.querySelector("dialog[open]")) return;
    const found = shortcuts.find(({ keys, run }) => run && keys.some((combination) => isPressed(combination, event)));
    if (!found) return;
    event.preventDefault();
    found.run?.();
  });
}

/** @param {Shortcut[]} shortcuts */
export function showShortcuts(shortcuts) {
  if (document.querySelector("dialog.help[open]")) return;
  const rows = shortcuts.map(({ keys, label }) =>
    h("div", { className: "shortcut" }, h("dt", {}, label), h("dd", {}, ...keys.flatMap((combination, index) => [index > 0 ? ` ${t.or} ` : "", ...keysOf(combination)]))),
  );
  openSheet(createSheet("help", t.shortcuts, h("dl", { className: "shortcuts" }, ...rows)));
}

/** @param {string[]} combination */
function keysOf(combination) {
  /** @type {Record<string, string>} */
  const names = IS_MAC ? MAC_NAMES : OTHER_NAMES;
  return combination.flatMap((key, index) => [index > 0 ? " + " : "", h("kbd", {}, names[key] ?? key)]);
}

/**
 * @param {string[]} combination
 * @param {KeyboardEvent} event
 */
function isPressed(combination, event) {
  const key = combination.at(-1) ?? "";
  const hasMod = combination.includes("Mod");
  if (event.altKey || (IS_MAC ? event.metaKey : event.ctrlKey) !== hasMod || (IS_MAC ? event.ctrlKey : event.metaKey)) return false;
  if (!hasMod) return event.key === key && !isTyping(event); // such as `?`, which takes Shift on some keyboards only
  return event.shiftKey === combination.includes("Shift") && event.key.toLowerCase() === key.toLowerCase();
}

/** @param {KeyboardEvent} event */
function isTyping({ target }) {
  return target instanceof HTMLElement && (target.isContentEditable || target.matches("input, textarea, select"));
}
