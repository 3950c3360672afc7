// A button that opens a small panel beside it. Escape, a click elsewhere and a focus elsewhere close the panel.

import { h } from "../base/dom.js";

let count = 0;

export class Popover {
  #button;
  #panel;
  #onOpen;
  #leave = (/** @type {Event} */ event) => event.composedPath().includes(this.element) || this.close();

  /**
   * @param {{button: HTMLButtonElement, className: string, label: string, onOpen: (panel: HTMLElement) => void}} parts - `onOpen`
   *   fills the panel each time it opens
   */
  constructor({ button, className, label, onOpen }) {
    const id = `millrace-panel-${++count}`; // an id of its own, because many chats may stand in one document
    this.#button = button;
    this.#onOpen = onOpen;
    this.#panel = h("div", { id, className: `popover ${className}`, role: "group", "aria-label": label, hidden: true });
    button.setAttribute("aria-expanded", "false");
    button.setAttribute("aria-controls", id);
    button.addEventListener("click", () => (this.#panel.hidden ? this.open() : this.close()));
    this.element = h("div", { className: "popover-holder" }, button, this.#panel);
    this.element.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Escape" || this.#panel.hidden) return;
      event.preventDefault();
      event.stopPropagation(); // it closes the panel and does not stop an answer
      this.close();
      this.#button.focus();
    });
  }

  open() {
    this.#onOpen(this.#panel);
    this.#panel.hidden = false;
    this.#button.setAttribute("aria-expanded", "true");
    this.#panel.scrollIntoView({ block: "nearest" });
    for (const type of ["pointerdown", "focusin"]) document.addEventListener(type, this.#leave);
  }

  close() {
    this.#panel.hidden = true;
    this.#button.setAttribute("aria-expanded", "false");
    for (const type of ["pointerdown", "focusin"]) document.removeEventListener(type, this.#leave);
  }
}
