// The list of conversations. Each is a link that names it in the page's address; a button deletes it.

import { h } from "../base/dom.js";
import { t } from "../base/strings.js";
import { confirm } from "./confirm.js";

const PER_PAGE = 30;

export class ConversationList {
  #millrace;
  #notices;
  #onDelete;
  #list = h("ol");
  #more = h("button", { type: "button", id: "more", "aria-label": t.showMoreConversations, hidden: true }, t.showMore);
  #items = new Map(); // by conversation
  #current = null;
  #pages = 1; // how many are shown, if there are as many
  #isReading = false;
  #isStale = false; // has changed since the last call that reads it began

  // `onNew()` is called for a new conversation, `onDelete(id)` before one is deleted.
  constructor({ millrace, notices, onNew, onDelete }) {
    this.#millrace = millrace;
    this.#notices = notices;
    this.#onDelete = onDelete;
    this.#more.addEventListener("click", () => {
      this.#pages++;
      this.refresh();
    });
    this.element = h(
      "nav",
      { id: "conversations", "aria-label": t.conversations },
      h("button", { type: "button", id: "new", on: { click: onNew } }, t.newConversation),
      h("div", {}, this.#list, this.#more),
    );
  }

  get isEmpty() {
    return this.#items.size === 0;
  }

  markCurrent(id) {
    this.#current = id;
    for (const [each, { link }] of this.#items) link.ariaCurrent = each === id ? "page" : null;
  }

  // Reads the list and shows it. While a call is under way it waits for its end.
  async refresh() {
    this.#isStale = true;
    if (this.#isReading) return;
    this.#isReading = true;
    try {
      while (this.#isStale) {
        this.#isStale = false;
        await this.#read();
      }
      this.#notices.clearFailure("list");
    } catch (error) {
      this.#notices.showFailure("list", error);
    } finally {
      this.#isReading = false;
    }
  }

  async #read() {
    const found = [];
    let next = "";
    for (let page = 0; page < this.#pages && next !== null; page++) {
      const cursor = next && `&cursor=${encodeURIComponent(next)}`;
      const read = await this.#millrace.call(`api/conversations?limit=${PER_PAGE}${cursor}`);
      found.push(...read.conversations);
      next = read.next;
    }
    const items = new Map(found.map(({ id, title }) => [id, this.#items.get(id) ?? this.#createItem(id)]));
    for (const { id, title } of found) items.get(id).setName(title ?? t.untitled);
    this.#items = items;
    this.#more.hidden = next === null;
    this.#place([...items.values()].map(({ element }) => element));
    this.markCurrent(this.#current);
  }

  // Moves the elements only if their order has changed, because an element that is moved loses the focus.
  #place(elements) {
    if (elements.length === this.#list.children.length && elements.every((each, index) => each === this.#list.children[index])) return;
    const focused = document.activeElement;
    this.#list.replaceChildren(...elements);
    if (this.#list.contains(focused)) focused.focus({ preventScroll: true });
  }

  #createItem(id) {
    const link = h("a", { href: `#${id}`, dir: "auto" });
    const button = h("button", { type: "button", on: { click: () => this.#delete(id, link.textContent) } }, "×");
    const setName = (name) => {
      link.textContent = link.title = name;
      button.ariaLabel = t.deleteNamed(name);
    };
    return { element: h("li", { dataset: { id } }, link, button), link, setName };
  }

  async #delete(id, name) {
    if (!(await confirm(t.confirmDelete(name), t.delete))) return;
    this.#onDelete(id);
    try {
      await this.#millrace.call(`api/conversations/${id}`, { method: "DELETE" });
      this.#notices.clearFailure("delete");
    } catch (error) {
      this.#notices.showFailure("delete", error);
    }
    this.refresh();
  }
}
