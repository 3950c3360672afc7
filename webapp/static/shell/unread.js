// The conversations with an answer that its user has not seen, shared by all tabs of this browser.

const KEY = `millrace unread ${location.pathname}`;
const MAX_MARKS = 500; // the newest; storage is small

export class Unread {
  #onChange;
  /** @type {Set<string>} */
  #marked = read();

  /** @param {() => void} onChange - called when another tab has changed the marks as well */
  constructor(onChange) {
    this.#onChange = onChange;
    addEventListener("storage", ({ key }) => {
      if (key !== KEY) return;
      this.#marked = read();
      onChange();
    });
  }

  /** @param {string} id */
  has(id) {
    return this.#marked.has(id);
  }

  /** @param {string} id */
  add(id) {
    if (!this.#marked.has(id)) this.#write(this.#marked.add(id));
  }

  /** @param {string} id */
  delete(id) {
    if (this.#marked.delete(id)) this.#write(this.#marked);
  }

  /** @param {Set<string>} marked */
  #write(marked) {
    try {
      localStorage.setItem(KEY, JSON.stringify([...marked].slice(-MAX_MARKS)));
    } catch {
      // storage is full or not allowed: the marks last as long as the page
    }
    this.#onChange();
  }
}

/** @returns {Set<string>} */
function read() {
  try {
    const stored = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return new Set(Array.isArray(stored) ? stored.filter((id) => typeof id === "string") : []);
  } catch {
    return new Set();
  }
}
