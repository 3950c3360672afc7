// One conversation in the list: a link that names it in the page's address, its mark, and a menu of actions.

import { h } from "../base/dom.js";
import { icon } from "../base/icons.js";
import { t } from "../base/strings.js";
import { isComposing } from "../chat/composer.js";
import { toggleMenu } from "./menu.js";
import { excerptOf } from "./search.js";

const MAX_TITLE_CHARACTERS = 200; // the server's limit

/**
 * @typedef {object} ItemHandlers
 * @property {(id: string, title: string) => void} onRename
 * @property {(id: string) => void} onDelete
 * @property {(id: string, format: "markdown" | "json") => string} exportUrl
 */

export class Item {
  #id;
  #handlers;
  #link;
  #mark = h("span", { className: "mark", role: "img", hidden: true });
  #excerpt = h("p", { className: "excerpt", dir: "auto", hidden: true });
  #more = h("button", { type: "button", className: "icon-button item-more", "aria-haspopup": "menu", "aria-expanded": "false" }, icon("more"));
  /** @type {string | null} */
  #title = null;
  /** @type {HTMLFormElement | null} */
  #form = null;

  /**
   * @param {string} id
   * @param {ItemHandlers} handlers
   */
  constructor(id, handlers) {
    this.#id = id;
    this.#handlers = handlers;
    this.#link = h("a", { className: "item-link", href: `#${id}`, dir: "auto" });
    this.#more.addEventListener("click", () => toggleMenu(this.#more, this.#actions()));
    this.#link.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "F2") this.#startRename();
      else if (event.key === "Delete") handlers.onDelete(id);
      else return;
      event.preventDefault();
    });
    const holder = h("div", { className: "popover-holder" }, this.#more);
    this.element = h("li", { className: "item", dataset: { id } }, this.#link, this.#mark, this.#excerpt, holder);
  }

  /**
   * @param {import("./conversations.js").Listed} listed
   * @param {{name: string, isUnread: boolean, isCurrent: boolean}} state
   */
  show({ title, active_generation, match }, { name, isUnread, isCurrent }) {
    this.#title = title;
    if (this.#link.textContent !== name) this.#link.textContent = this.#link.title = name;
    this.#more.ariaLabel = this.#more.title = t.actionsFor(name);
    this.#link.ariaCurrent = isCurrent ? "page" : null;
    this.#showMark(active_generation !== null ? "running" : isUnread ? "unread" : null);
    this.#excerpt.hidden = !match;
    if (match) this.#excerpt.replaceChildren(...excerptOf(match));
  }

  focus() {
    this.#link.focus();
  }

  /** @param {"running" | "unread" | null} mark */
  #showMark(mark) {
    if (mark === null) delete this.element.dataset.mark;
    else this.element.dataset.mark = mark;
    this.#mark.hidden = mark === null;
    this.#mark.ariaLabel = mark === null ? null : mark === "running" ? t.running : t.newAnswer;
  }

  /** @returns {import("./menu.js").Action[]} */
  #actions() {
    const { onDelete, exportUrl } = this.#handlers;
    return [
      { name: "rename", label: t.rename, icon: "edit", run: () => this.#startRename() },
      { name: "export-markdown", label: t.exportMarkdown, icon: "download", href: exportUrl(this.#id, "markdown") },
      { name: "export-json", label: t.exportJson, icon: "download", href: exportUrl(this.#id, "json") },
      { name: "delete", label: t.delete, icon: "trash", isDangerous: true, run: () => onDelete(this.#id) },
    ];
  }

  #startRename() {
    if (this.#form !== null) return;
    const input = h("input", {
      type: "text",
      className: "rename-box",
      value: this.#title ?? "",
      maxLength: MAX_TITLE_CHARACTERS,
      dir: "auto",
      autocomplete: "off",
      "aria-label": t.newTitle,
    });
    const form = (this.#form = h("form", { className: "rename" }, input));
    const end = (/** @type {boolean} */ isKept, /** @type {boolean} */ mustFocus) => {
      if (this.#form !== form) return;
      this.#form = null;
      form.remove();
      this.#link.hidden = false;
      delete this.element.dataset.state;
      if (mustFocus) this.#link.focus();
      const title = input.value.trim();
      if (isKept && title && title !== this.#title) this.#handlers.onRename(this.#id, title);
    };
    form.addEventListener("submit", (/** @type {SubmitEvent} */ event) => {
      event.preventDefault();
      end(true, true);
    });
    input.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Escape" || isComposing(event)) return;
      event.preventDefault();
      end(false, true);
    });
    input.addEventListener("blur", () => end(true, false));
    this.element.dataset.state = "renaming";
    this.#link.hidden = true;
    this.#link.before(form);
    input.focus();
    input.select();
  }
}
