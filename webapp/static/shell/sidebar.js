// The sidebar beside the chat: in a narrow window a drawer over it, in a wide one a column that can be closed.

import { h } from "../base/dom.js";
import { icon, iconButton } from "../base/icons.js";
import { preferences, setPreferences } from "../base/preferences.js";
import { t } from "../base/strings.js";

const NARROW = "(max-width: 51.99rem)";

/**
 * @typedef {object} SidebarParts
 * @property {HTMLElement} search
 * @property {HTMLElement} list
 * @property {HTMLElement} main
 * @property {() => void} onNew
 * @property {() => void} onSettings
 * @property {() => void} onHelp
 */

export class Sidebar {
  app = h("div", { className: "app" });
  #main;
  #narrow = matchMedia(NARROW);
  #isDrawerOpen = false;
  #toggle = iconButton("sidebar-toggle", "sidebar", t.conversations, () => this.toggle());
  #scrim = h("div", { className: "scrim", hidden: true, on: { click: () => this.close() } });
  #close = iconButton("sidebar-close", "close", t.close, () => this.close());
  #bar;
  #element;

  /** @param {SidebarParts} parts */
  constructor({ search, list, main, onNew, onSettings, onHelp }) {
    this.#main = main;
    const head = h(
      "div",
      { className: "sidebar-head" },
      this.#close,
      h("button", { type: "button", id: "new", className: "new", on: { click: onNew } }, icon("plus"), t.newConversation),
      search,
    );
    this.#element = h("nav", { id: "conversations", className: "sidebar", "aria-label": t.conversations }, head, list);
    this.#toggle.setAttribute("aria-controls", "conversations");
    const actions = h(
      "div",
      { className: "bar-actions" },
      iconButton("bar-new", "plus", t.newConversation, onNew),
      iconButton("open-help", "help", t.shortcuts, onHelp),
      iconButton("open-settings", "settings", t.settings, onSettings),
    );
    this.#bar = h("header", { className: "bar" }, this.#toggle, h("h1", {}, t.appName), actions);
    this.app.append(this.#bar, this.#element, this.#scrim, main);
    this.#narrow.addEventListener("change", () => {
      this.#isDrawerOpen = false;
      this.#show();
    });
    this.#show();
  }

  get isOpen() {
    return this.#narrow.matches ? this.#isDrawerOpen : preferences().isSidebarOpen;
  }

  open() {
    this.#set(true);
    if (this.#narrow.matches) this.#close.focus();
  }

  close() {
    const hadFocus = this.#element.contains(document.activeElement);
    this.#set(false);
    if (hadFocus) this.#toggle.focus();
  }

  toggle() {
    if (this.isOpen) this.close();
    else this.open();
  }

  /** Close the drawer, if there is one, because the user goes on in the chat. Returns whether it was open. */
  closeDrawer() {
    const wasOpen = this.#narrow.matches && this.#isDrawerOpen;
    if (wasOpen) this.close();
    return wasOpen;
  }

  /** @param {boolean} isOpen */
  #set(isOpen) {
    if (this.#narrow.matches) this.#isDrawerOpen = isOpen;
    else setPreferences({ isSidebarOpen: isOpen });
    this.#show();
  }

  #show() {
    const isNarrow = this.#narrow.matches;
    const { isOpen } = this;
    this.app.dataset.layout = isNarrow ? "narrow" : "wide";
    this.app.dataset.sidebar = isOpen ? "open" : "closed";
    this.#element.hidden = !isOpen;
    this.#scrim.hidden = !(isNarrow && isOpen);
    this.#close.hidden = !isNarrow;
    for (const covered of [this.#bar, this.#main]) covered.inert = isNarrow && isOpen;
    this.#toggle.ariaExpanded = String(isOpen);
  }
}
