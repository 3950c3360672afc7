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

const STATES = ["waiting", "sending", "later", "held"];

export class Unsent {
  draft = "";
  /** @type {Queued[]} */
  queue = [];
  #prefix;
  #scope;
  #name;

  /**
   * @param {string} base - the address of the mount
   * @param {string | null} id - the conversation's, or null for a new one
   * @param {string} scope - tells the new conversations of several chats on one page apart
   */
  constructor(base, id, scope) {
    this.#prefix = `millrace unsent ${new URL(base, document.baseURI).pathname} `;
    this.#scope = scope;
    this.#name = id ?? `new${scope}`;
    Object.assign(this, read(this.#key));
    if (id === null) this.#recover();
  }

  get #key() {
    return this.#prefix + this.#name;
  }

  get #leftPrefix() {
    return `${this.#prefix}left${this.#scope} `;
  }

  /** The new conversation was left before its question was accepted: the next new one begins without it. */
  leave() {
    this.#rename(`left${this.#scope} ${newKey()}`);
  }

  /**
   * Take the texts of a conversation that does not exist: it was deleted, or its first question was refused.
   *
   * @param {Unsent} left
   */
  adopt(left) {
    if (this.draft === "") this.draft = left.draft;
    else if (left.draft !== "") this.keep(left.draft);
    for (const each of left.queue) each.state = "held";
    this.queue.push(...left.queue);
    this.save();
    left.#remove();
  }

  // A reload ends the requests of conversations that were left. A question that has arrived is not asked twice: it has its key.
  #recover() {
    try {
      const keys = Object.keys(sessionStorage).filter((key) => key.startsWith(this.#leftPrefix) && !here.has(key));
      for (const key of keys) {
        this.queue.push(...read(key).queue.map((each) => ({ ...each, state: /** @type {const} */ ("held") })));
        sessionStorage.removeItem(key);
      }
      if (keys.length > 0) this.save();
    } catch {
      // storage is not allowed
    }
  }

  /**
   * The conversation has its id now.
   *
   * @param {string} id
   */
  rename(id) {
    this.#rename(id);
  }

  /** @param {string} name */
  #rename(name) {
    this.#remove();
    this.#name = name;
    here.add(this.#key);
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
    /** @type {Queued} */
    const queued = { text, key: newKey(), model, state: "waiting", isDirect };
    this.queue.push(queued);
    this.save();
    return queued;
  }

  /**
   * Keep a text until the user sends or withdraws it.
   *
   * @param {string} text
   */
  keep(text) {
    this.add(text, { model: null, isDirect: false }).state = "held";
    this.save();
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

/** @type {Set<string>} - the records of this document's own conversations */
const here = new Set();

/** Return a key that no other request has. */
export function newKey() {
  const random = crypto.getRandomValues(new Uint32Array(4));
  return [...random].map((each) => each.toString(16).padStart(8, "0")).join("");
}

/**
 * Return what is kept; anything may stand in storage, and only what can be sent is taken.
 *
 * @param {string} key
 * @returns {{draft: string, queue: Queued[]}}
 */
function read(key) {
  try {
    const { draft, queue } = JSON.parse(sessionStorage.getItem(key) ?? "{}");
    return { draft: typeof draft === "string" ? draft : "", queue: Array.isArray(queue) ? queue.filter(isQueued).map(dueNow) : [] };
  } catch {
    return { draft: "", queue: [] };
  }
}

/** @param {Queued} queued @returns {Queued} */
function dueNow(queued) {
  return queued.state === "later" ? { ...queued, state: "waiting" } : queued;
}

/** @param {any} each */
function isQueued(each) {
  const areTexts = typeof each?.text === "string" && typeof each.key === "string" && /^[0-9a-f]{32}$/.test(each.key);
  return areTexts && (each.model === null || typeof each.model === "string") && STATES.includes(each.state);
}
