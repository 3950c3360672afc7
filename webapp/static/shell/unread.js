// The conversations with an answer that its user has not seen, shared by all tabs of this browser.

const KEY = `millrace unread ${location.pathname}`;
const RUNNING_KEY = `millrace running ${location.pathname}`;
const MAX_MARKS = 500; // the newest; storage is small

export class Unread {
  #onChange;
  /** @type {Set<string>} */
  #marked = read(KEY);
  /** @type {Set<string> | null} */
  #awaited = null; // conversations with an answer when a page looked last, which the list has not shown since

  /** @param {() => void} onChange - called when another tab has changed the marks as well */
  constructor(onChange) {
    this.#onChange = onChange;
    addEventListener("storage", ({ key }) => {
      if (key !== KEY) return;
      this.#marked = read(KEY);
      onChange();
    });
  }

  /** @param {string} id */
  has(id) {
    return this.#marked.has(id);
  }

  /** @param {string} id */
  add(id) {
    if (!this.#marked.has(id)) this.#show(this.#marked.add(id));
  }

  /** @param {string} id */
  delete(id) {
    if (this.#marked.delete(id)) this.#show(this.#marked);
  }

  /**
   * An answer runs in a conversation.
   *
   * @param {string} id
   */
  begin(id) {
    write(RUNNING_KEY, read(RUNNING_KEY).add(id));
  }

  /**
   * The answer in a conversation has ended, and an open page has taken notice.
   *
   * @param {string} id
   */
  end(id) {
    const running = read(RUNNING_KEY);
    this.#awaited?.delete(id);
    if (running.delete(id)) write(RUNNING_KEY, running);
  }

  /**
   * Remember which answers run, each time the list has been read. Return the conversations that are listed for the first
   * time, whose answers were running when a page of this browser looked last, and have ended while none was open. The
   * others that are not listed yet wait until the list reaches them.
   *
   * @param {import("./conversations.js").Listed[]} items
   */
  compare(items) {
    const awaited = (this.#awaited ??= read(RUNNING_KEY));
    const listed = new Set(items.map(({ id }) => id));
    const running = items.filter(({ active_generation }) => active_generation !== null).map(({ id }) => id);
    const ended = [...awaited].filter((id) => listed.has(id) && !running.includes(id));
    this.#awaited = new Set([...awaited].filter((id) => !listed.has(id)));
    write(RUNNING_KEY, new Set([...[...read(RUNNING_KEY)].filter((id) => !listed.has(id)), ...running]));
    return ended;
  }

  /** @param {Set<string>} marked */
  #show(marked) {
    write(KEY, marked);
    this.#onChange();
  }
}

/**
 * @param {string} key
 * @returns {Set<string>}
 */
function read(key) {
  try {
    const stored = JSON.parse(localStorage.getItem(key) ?? "[]");
    return new Set(Array.isArray(stored) ? stored.filter((id) => typeof id === "string") : []);
  } catch {
    return new Set();
  }
}

/**
 * @param {string} key
 * @param {Set<string>} ids
 */
function write(key, ids) {
  try {
    localStorage.setItem(key, JSON.stringify([...ids].slice(-MAX_MARKS)));
  } catch {
    // storage is full or not allowed: the marks last as long as the page
  }
}
