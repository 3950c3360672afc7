// The user's conversations as the server lists them, the last changed first, as far down as the list has been scrolled.

import { t } from "../base/strings.js";

const PER_PAGE = 30;
const MAX_NAME_CHARACTERS = 80;

/**
 * @typedef {object} Listed
 * @property {string} id
 * @property {string | null} title
 * @property {string} updated_at
 * @property {string | null} active_generation
 * @property {import("./search.js").Match | null} [match] - in the results of a search
 */

export class Conversations {
  /** @type {unknown} the last failure to read the list, null after a success */
  error = null;
  isLoaded = false;
  #millrace;
  #onChange;
  #onRead;
  /** @type {Listed[]} */
  #listed = [];
  /** @type {string | null} */
  #next = null; // where the page after `#listed` begins
  /** @type {Map<string, string>} */
  #beginnings = new Map(); // of the questions that opened conversations, as far as the page knows them
  #removed = new Set(); // not shown: their DELETE is still to come
  /** @type {Promise<void>} */
  #reads = Promise.resolve(); // one at a time, so that each sees the result of the one before it
  #isRefreshing = false; // a refresh waits for its turn
  #mustReadAll = false;

  /** @param {{millrace: import("../client.js").Millrace, onChange: () => void, onRead: () => void}} parts */
  constructor({ millrace, onChange, onRead }) {
    this.#millrace = millrace;
    this.#onChange = onChange;
    this.#onRead = onRead;
  }

  get items() {
    return this.#listed.filter(({ id }) => !this.#removed.has(id));
  }

  get hasMore() {
    return this.#next !== null;
  }

  /** @param {string | null} id */
  find(id) {
    return this.#listed.find((each) => each.id === id);
  }

  /**
   * Return the title; while there is none, the beginning of the first question.
   *
   * @param {string} id
   */
  nameOf(id) {
    return this.find(id)?.title ?? this.#beginnings.get(id) ?? t.newConversation;
  }

  /**
   * @param {string} id
   * @param {string} question - the first one
   */
  begin(id, question) {
    const line = question.trim().replace(/\s+/g, " ");
    const name = line.length > MAX_NAME_CHARACTERS ? `${line.slice(0, MAX_NAME_CHARACTERS - 1)}\u2026` : line;
    if (!name || this.#beginnings.get(id) === name) return;
    this.#beginnings.set(id, name);
    if (this.find(id)?.title === null) this.#onChange();
  }

  /**
   * Read the newest page again; with `all`, because changes may have been missed, as many pages as are listed.
   *
   * @param {{all?: boolean}} [options]
   */
  refresh({ all = false } = {}) {
    this.#mustReadAll ||= all;
    if (this.#isRefreshing) return this.#reads;
    this.#isRefreshing = true;
    return this.#read(async () => {
      this.#isRefreshing = false;
      const atLeast = this.#mustReadAll ? this.#listed.length : 0;
      this.#mustReadAll = false;
      const { found, next } = await this.#readPages(atLeast);
      this.#merge(found, next);
    });
  }

  /**
   * Read one conversation that has changed; it may have been deleted, and may be on a page below the newest.
   *
   * @param {string} id
   */
  async refreshOne(id) {
    await this.refresh();
    const isBelow = this.#listed.findIndex((each) => each.id === id) >= PER_PAGE;
    if (!isBelow) return;
    return this.#read(async () => {
      const read = await this.#millrace.call(`api/conversations/${id}`).catch(nullIfAbsent);
      this.#listed = read === null ? this.#listed.filter((each) => each.id !== id) : this.#listed.map((each) => (each.id === id ? read : each));
    });
  }

  loadMore() {
    return this.#read(async () => {
      if (this.#next === null) return;
      const { conversations, next } = await this.#readPage(this.#next);
      const known = new Set(this.#listed.map(({ id }) => id));
      this.#listed = [...this.#listed, ...conversations.filter((/** @type {Listed} */ { id }) => !known.has(id))];
      this.#next = next;
    });
  }

  /**
   * Change what is listed before the server confirms it.
   *
   * @param {string} id
   * @param {Partial<Listed>} changes
   */
  change(id, changes) {
    this.#listed = this.#listed.map((each) => (each.id === id ? { ...each, ...changes } : each));
    this.#onChange();
  }

  /** @param {string} id */
  remove(id) {
    this.#removed.add(id);
    this.#onChange();
  }

  /** @param {string} id */
  restore(id) {
    this.#removed.delete(id);
    this.#onChange();
  }

  /**
   * Forget a conversation that the server has deleted.
   *
   * @param {string} id
   */
  drop(id) {
    this.#removed.add(id); // the results of a search may still contain it
    this.#listed = this.#listed.filter((each) => each.id !== id);
    this.#onChange();
  }

  /** @param {string} id */
  isRemoved(id) {
    return this.#removed.has(id);
  }

  /** @param {() => Promise<void>} task */
  #read(task) {
    this.#reads = this.#reads.then(async () => {
      try {
        await task();
        this.error = null;
        this.isLoaded = true;
        this.#onRead();
      } catch (error) {
        this.error = error;
      }
      this.#onChange();
    });
    return this.#reads;
  }

  /** @param {string} cursor */
  #readPage(cursor) {
    const after = cursor && `&cursor=${encodeURIComponent(cursor)}`;
    return this.#millrace.call(`api/conversations?limit=${PER_PAGE}${after}`);
  }

  /** @param {number} atLeast */
  async #readPages(atLeast) {
    /** @type {Listed[]} */
    const found = [];
    let next = "";
    do {
      const page = await this.#readPage(next);
      found.push(...page.conversations);
      next = page.next;
    } while (next !== null && found.length < atLeast);
    return { found, next };
  }

  // Puts the pages that were read in front of those that were listed before and reach further down.
  /**
   * @param {Listed[]} found
   * @param {string | null} next
   */
  #merge(found, next) {
    const times = new Map(found.map(({ id, updated_at }) => [id, updated_at]));
    const isContinued = this.#listed.some(({ id, updated_at }) => times.get(id) === updated_at);
    const oldest = found.at(-1)?.updated_at ?? "";
    // A conversation within the span of the pages that is not on them has been deleted.
    const below = next === null || !isContinued ? [] : this.#listed.filter(({ id, updated_at }) => !times.has(id) && updated_at <= oldest);
    this.#listed = [...found, ...below];
    if (below.length === 0) this.#next = next;
  }
}

/** @param {any} error */
function nullIfAbsent(error) {
  if (error.status === 404) return null;
  throw error;
}
