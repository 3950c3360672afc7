// The list of conversations. Each is a link that names it in the page's address; a button deletes it.

import { call } from "./api.js";
import { clearFailure, showFailure } from "./notices.js";

const PER_PAGE = 30;

const list = document.querySelector("#conversations ol");
const moreButton = document.querySelector("#more");
const dialog = document.querySelector("#confirm");

export class ConversationList {
  #onDelete;
  #items = new Map(); // by conversation
  #current = null;
  #pages = 1; // how many are shown, if there are as many
  #isReading = false;
  #isStale = false; // has changed since the last call that reads it began

  // `onDelete(id)` is called before a conversation is deleted.
  constructor({ onDelete }) {
    this.#onDelete = onDelete;
    moreButton.addEventListener("click", () => {
      this.#pages++;
      this.refresh();
    });
    for (const button of dialog.querySelectorAll("button")) button.addEventListener("click", () => dialog.close(button.value));
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
      clearFailure("list");
    } catch (error) {
      showFailure("list", error);
    } finally {
      this.#isReading = false;
    }
  }

  async #read() {
    const found = [];
    let next = "";
    for (let page = 0; page < this.#pages && next !== null; page++) {
      const cursor = next && `&cursor=${encodeURIComponent(next)}`;
      const read = await call(`api/conversations?limit=${PER_PAGE}${cursor}`);
      found.push(...read.conversations);
      next = read.next;
    }
    const items = new Map(found.map(({ id, title }) => [id, this.#items.get(id) ?? this.#createItem(id)]));
    for (const { id, title } of found) items.get(id).setName(title ?? "Untitled");
    this.#items = items;
    moreButton.hidden = next === null;
    this.#place([...items.values()].map(({ element }) => element));
    this.markCurrent(this.#current);
  }

  // Moves the elements only if their order has changed, because an element that is moved loses the focus.
  #place(elements) {
    if (elements.length === list.children.length && elements.every((each, index) => each === list.children[index])) return;
    const focused = document.activeElement;
    list.replaceChildren(...elements);
    if (list.contains(focused)) focused.focus({ preventScroll: true });
  }

  #createItem(id) {
    const element = document.createElement("li");
    const link = document.createElement("a");
    const button = document.createElement("button");
    element.dataset.id = id;
    link.href = `#${id}`;
    link.dir = "auto";
    button.type = "button";
    button.textContent = "×";
    button.addEventListener("click", () => this.#delete(id, link.textContent));
    element.append(link, button);
    const setName = (name) => {
      link.textContent = link.title = name;
      button.ariaLabel = `Delete ${name}`;
    };
    return { element, link, setName };
  }

  async #delete(id, name) {
    if (!(await confirm(`Delete “${name}” and all its messages? This cannot be undone.`))) return;
    this.#onDelete(id);
    try {
      await call(`api/conversations/${id}`, { method: "DELETE" });
      clearFailure("delete");
    } catch (error) {
      showFailure("delete", error);
    }
    this.refresh();
  }
}

// Asks the user; resolves to the answer. Escape means no.
function confirm(question) {
  dialog.querySelector("p").textContent = question;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}
