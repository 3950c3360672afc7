// The list of conversations in the sidebar: all of them by day, or those that a search has found.

import { h } from "../base/dom.js";
import { t } from "../base/strings.js";
import { groupByDay } from "./days.js";
import { Item } from "./item.js";

const SKELETON_ROWS = 6;
const LOAD_AHEAD = "300px";

/**
 * @typedef {import("./conversations.js").Listed} Listed
 * @typedef {object} ListParts
 * @property {import("./conversations.js").Conversations} conversations
 * @property {import("./search.js").Search} search
 * @property {import("./unread.js").Unread} unread
 */

export class ConversationList {
  #parts;
  #handlers;
  #skeleton = h(
    "div",
    { className: "skeletons", "aria-hidden": "true" },
    ...Array.from({ length: SKELETON_ROWS }, () => h("div", { className: "skeleton" })),
  );
  #empty = h("p", { className: "empty list-empty", role: "status", hidden: true });
  #failure = h("p", { dir: "auto" });
  #error = h(
    "div",
    { className: "empty list-error", role: "alert", hidden: true },
    this.#failure,
    h("button", { type: "button", className: "list-retry", on: { click: () => this.#source.refresh() } }, t.tryAgain),
  );
  #days = h("div", { className: "days" });
  #more = h("button", { type: "button", id: "more", "aria-label": t.showMoreConversations, hidden: true }, t.showMore);
  /** @type {Map<string, Item>} */
  #items = new Map();
  /** @type {string | null} */
  #current = null;
  #isLoadingMore = false;

  /**
   * @param {ListParts} parts
   * @param {import("./item.js").ItemHandlers} handlers
   */
  constructor(parts, handlers) {
    this.#parts = parts;
    this.#handlers = handlers;
    this.element = h("div", { className: "list-scroller" }, this.#skeleton, this.#error, this.#empty, this.#days, this.#more);
    this.#more.addEventListener("click", () => this.#loadMore());
    this.element.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#onKey(event));
    if ("IntersectionObserver" in window) {
      const observer = new IntersectionObserver((seen) => seen.some((each) => each.isIntersecting) && this.#loadMore(), {
        root: this.element,
        rootMargin: LOAD_AHEAD,
      });
      observer.observe(this.#more);
    }
  }

  /** @param {string | null} id */
  markCurrent(id) {
    this.#current = id;
    this.show();
  }

  focusFirst() {
    this.#days.querySelector("a")?.focus();
  }

  /** Show the conversations as they are now. */
  show() {
    const source = this.#source;
    const { search, conversations } = this.#parts;
    const isSearching = source === search;
    const items = source.items.filter(({ id }) => !conversations.isRemoved(id));
    const groups = isSearching ? items.length ? [{ name: t.found, items }] : [] : groupByDay(items);
    this.#place(groups, isSearching);
    const isWaiting = !source.isLoaded && source.error === null;
    this.element.ariaBusy = String(isWaiting);
    this.#skeleton.hidden = !isWaiting || items.length > 0;
    this.#error.hidden = source.error === null;
    this.#failure.textContent = source.error instanceof Error ? source.error.message : "";
    const isEmpty = source.isLoaded && source.error === null && items.length === 0 && !source.hasMore;
    this.#empty.hidden = !isEmpty;
    this.#empty.textContent = !isEmpty ? "" : isSearching ? t.nothingFound(search.query) : t.noConversations;
    this.#more.hidden = !source.hasMore || source.error !== null;
  }

  get #source() {
    const { search, conversations } = this.#parts;
    return search.query ? search : conversations;
  }

  async #loadMore() {
    if (this.#isLoadingMore || this.#more.hidden) return;
    this.#isLoadingMore = true;
    this.#more.disabled = true;
    const source = this.#source;
    await source.loadMore();
    this.#isLoadingMore = false;
    this.#more.disabled = false;
    // The observer reports changes only: a button that is still near the visible part asks for another page itself.
    const { top } = this.#more.getBoundingClientRect();
    const isNear = !this.#more.hidden && top > 0 && top < this.element.getBoundingClientRect().bottom + parseInt(LOAD_AHEAD);
    if (isNear && source.error === null && "IntersectionObserver" in window) this.#loadMore();
  }

  /**
   * @param {{name: string, items: Listed[]}[]} groups
   * @param {boolean} isSearching
   */
  #place(groups, isSearching) {
    const focused = document.activeElement;
    const shown = new Map();
    const sections = groups.map(({ name, items }) => {
      const rows = items.map((listed) => {
        const item = this.#items.get(listed.id) ?? new Item(listed.id, this.#handlers);
        shown.set(listed.id, item);
        item.show(isSearching ? listed : { ...listed, match: null }, {
          name: listed.title ?? this.#parts.conversations.nameOf(listed.id),
          isUnread: this.#parts.unread.has(listed.id),
          isCurrent: listed.id === this.#current,
        });
        return item.element;
      });
      const section = this.#sectionOf(name);
      section.classList.toggle("results", isSearching);
      arrange(section.lastElementChild, rows);
      return section;
    });
    this.#items = shown;
    arrange(this.#days, sections);
    // An element that was moved has lost the focus.
    if (focused instanceof HTMLElement && focused !== document.activeElement && this.element.contains(focused)) focused.focus({ preventScroll: true });
  }

  /** @param {string} name */
  #sectionOf(name) {
    const found = [...this.#days.children].find((section) => section.firstElementChild.textContent === name);
    return found ?? h("section", { className: "day" }, h("h2", { className: "day-name" }, name), h("ol", { className: "items" }));
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const links = [...this.#days.querySelectorAll("a.item-link")];
    const at = links.indexOf(event.target);
    if (step === undefined || at < 0) return;
    event.preventDefault();
    links[at + step]?.focus();
  }
}

/**
 * Make `children` the children of `parent`, and move only those that are out of place.
 *
 * @param {Element} parent
 * @param {Element[]} children
 */
function arrange(parent, children) {
  const wanted = new Set(children);
  for (const each of [...parent.children]) if (!wanted.has(each)) each.remove();
  let place = parent.firstElementChild;
  for (const child of children) {
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
}
