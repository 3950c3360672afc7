// The search box of the list, and the conversations that it finds.

import { h } from "../base/dom.js";
import { icon } from "../base/icons.js";
import { t } from "../base/strings.js";
import { isComposing } from "../chat/composer.js";

const TYPING_PAUSE_MS = 200;
const PER_PAGE = 30;
const MAX_QUERY_CHARACTERS = 200; // the server's limit

/**
 * The text around a hit, in pieces.
 *
 * @typedef {{excerpt: {text: string, is_hit: boolean}[]}} Match
 * @typedef {import("./conversations.js").Listed} Listed
 */

export class Search {
  /** @type {unknown} */
  error = null;
  isLoaded = false;
  input = h("input", { type: "search", className: "search-box", maxLength: MAX_QUERY_CHARACTERS, placeholder: t.searchConversations, autocomplete: "off", dir: "auto" });
  element = h(
    "search",
    { className: "search" },
    h("label", {}, h("span", { className: "visually-hidden" }, t.searchConversations), icon("search"), this.input),
  );
  #millrace;
  #onChange;
  #timer = 0;
  #query = "";
  /** @type {Listed[]} */
  #found = [];
  /** @type {string | null} */
  #next = null;
  #isLoadingMore = false;
  /** @type {AbortController | null} */
  #call = null;

  /** @param {{millrace: import("../client.js").Millrace, onChange: () => void}} parts */
  constructor({ millrace, onChange }) {
    this.#millrace = millrace;
    this.#onChange = onChange;
    this.input.addEventListener("input", () => {
      clearTimeout(this.#timer);
      if (this.input.value.trim()) this.#timer = setTimeout(() => this.refresh(), TYPING_PAUSE_MS);
      else this.clear();
    });
    this.input.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Escape" || !this.input.value || isComposing(event)) return;
      event.preventDefault(); // the key means the search, not the running answer
      this.clear();
    });
  }

  /** The query whose results are shown; "" if there is none. */
  get query() {
    return this.#query;
  }

  get items() {
    return this.#found;
  }

  get hasMore() {
    return this.#next !== null;
  }

  clear() {
    this.#call?.abort();
    clearTimeout(this.#timer);
    this.input.value = this.#query = "";
    this.#found = [];
    this.#next = this.error = null;
    this.#onChange();
  }

  /** Search again for the text in the box. */
  async refresh() {
    const query = this.input.value.trim();
    if (!query) return;
    if (query !== this.#query) this.isLoaded = false;
    this.#query = query;
    await this.#read("", (page) => (this.#found = page));
  }

  async loadMore() {
    if (this.#next === null || this.#isLoadingMore) return;
    this.#isLoadingMore = true;
    await this.#read(this.#next, (page) => (this.#found = [...this.#found, ...page]));
    this.#isLoadingMore = false;
  }

  /**
   * @param {string} cursor
   * @param {(page: Listed[]) => void} take
   */
  async #read(cursor, take) {
    this.#call?.abort();
    const { signal } = (this.#call = new AbortController());
    const after = cursor && `&cursor=${encodeURIComponent(cursor)}`;
    try {
      const { conversations, next } = await this.#millrace.call(
        `api/conversations?limit=${PER_PAGE}&q=${encodeURIComponent(this.#query)}${after}`,
        { signal },
      );
      if (signal.aborted) return;
      take(conversations);
      this.#next = next;
      this.error = null;
      this.isLoaded = true;
    } catch (error) {
      if (signal.aborted) return; // a newer query is under way
      this.error = error;
    }
    this.#onChange();
  }
}

/**
 * Return the nodes of an excerpt, with its hits marked.
 *
 * @param {Match} match
 */
export function excerptOf({ excerpt }) {
  return excerpt.map(({ text, is_hit }) => (is_hit ? h("mark", {}, text) : text));
}
