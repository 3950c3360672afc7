// Texts that a user has typed in a conversation and not sent: the draft in the box, and questions that wait for the running
// answer. They are kept in the tab's `sessionStorage`, so that they survive a reload; memory where that is not allowed.

/**
 * @typedef {object} Queued
 * @property {string} text
 * @property {string} key - the request's Idempotency-Key: a question that was sent just before a reload is not asked twice
 * @property {string | null} model
 * @property {"waiting" | "sending" | "later" | "held"} state - later: when the server is available again; held: until the
 *   user sends or withdraws it
 * @property {boolean} isDirect - it does not wait for an answer; one that is refused goes back into the box
 */

export class Unsent {
  draft = "";
  /** @type {Queued[]} */
  queue = [];
  #prefix;
  #id;

  /**
   * @param {string} base - the address of the mount
   * @param {string | null} id - the conversation's, or null for a new one
   */
  constructor(base, id) {
    this.#prefix = `millrace unsent ${new URL(base, document.baseURI).pathname} `;
    this.#id = id;
    try {
      const { draft, queue } = JSON.parse(sessionStorage.getItem(this.#key) ?? "{}");
      this.draft = draft ?? "";
      this.queue = queue ?? [];
    } catch {
      // nothing is kept
    }
  }

  get #key() {
    return this.#prefix + (this.#id ?? "new");
  }

  /**
   * The conversation has its id now.
   *
   * @param {string} id
   */
  rename(id) {
    this.#remove();
    this.#id = id;
    this.save();
  }

  /** Keep the current state. */
  save() {
    if (this.draft === "" && this.queue.length === 0) return this.#remove();
    try {
      sessionStorage.setItem(this.#key, JSON.stringify({ draft: this.draft, queue: this.queue }));
    } catch {
      // storage is full or not allowed: the texts last as long as the page
    }
  }

  /**
   * Add a question to the end of the queue.
   *
   * @param {string} text
   * @param {{model: string | null, isDirect: boolean}} fields
   */
  add(text, { model, isDirect }) {
    const random = crypto.getRandomValues(new Uint32Array(4));
    const key = [...random].map((each) => each.toString(16).padStart(8, "0")).join("");
    /** @type {Queued} */
    const queued = { text, key, model, state: "waiting", isDirect };
    this.queue.push(queued);
    this.save();
    return queued;
  }

  /** @param {Queued} queued */
  remove(queued) {
    this.queue = this.queue.filter((each) => each !== queued);
    this.save();
  }

  /**
   * Let a question be the next one, whatever happens to the answer that runs.
   *
   * @param {Queued} queued
   */
  putFirst(queued) {
    queued.isDirect = true;
    queued.state = "waiting";
    this.queue = [queued, ...this.queue.filter((each) => each !== queued)];
    this.save();
  }

  /**
   * @param {Queued["state"]} from
   * @param {Queued["state"]} to
   */
  change(from, to) {
    if (!this.queue.some(({ state }) => state === from)) return;
    for (const each of this.queue) if (each.state === from) each.state = to;
    this.save();
  }

  #remove() {
    try {
      sessionStorage.removeItem(this.#key);
    } catch {
      // storage is not allowed
    }
  }
}
