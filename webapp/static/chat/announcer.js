// Reads a growing answer to the users of screen readers: each sentence once, as soon as it is finished.

import { h } from "../base/dom.js";
import { t } from "../base/strings.js";

const PAUSE_MS = 1000; // sentences that are finished within this time are announced together
const KEPT = 5; // announcements that stay in the region, for a reader that is late
const SENTENCE_END = /[.!?…:;]+["'”’»)\]*_]*\s|[。！？；]["'”’»)\]*_]*|\n/g;
const FENCE = /^ {0,3}(?:```|~~~)/gm;

/**
 * Return where the last finished sentence of a text ends. A code block is finished as a whole.
 *
 * @param {string} text
 * @param {number} from - the end of what is finished already, outside code blocks
 */
export function endOfSentences(text, from) {
  const rest = text.slice(from);
  const fences = [...rest.matchAll(FENCE)];
  const isOpen = fences.length % 2 === 1;
  const visible = isOpen ? rest.slice(0, fences[fences.length - 1].index) : rest;
  let end = 0;
  for (const found of visible.matchAll(SENTENCE_END)) end = found.index + found[0].length;
  // An end within a closed code block: the block's last line may not have ended yet.
  const before = [...visible.slice(0, end).matchAll(FENCE)];
  return from + (before.length % 2 === 1 ? before[before.length - 1].index : end);
}

/**
 * Return markdown as it is read aloud: without its signs, and without its code.
 *
 * @param {string} markdown
 */
export function speakable(markdown) {
  return markdown
    .replace(/^ {0,3}(```|~~~)[^]*?(?:^ {0,3}\1.*$|(?![^]))/gm, `${t.codeBlock}. `)
    .replace(/!?\[([^\]\n]*)\]\([^)\s]*\)/g, "$1")
    .replace(/^[ \t]*(?:#{1,6}|>|[-*+]|\|)[ \t]+/gm, "")
    .replace(/^[\s|:-]+$/gm, "")
    .replace(/[*`~]+/g, "")
    .replace(/\s+/g, " ")
    .trim();
}

export class Announcer {
  element = h("div", { className: "announcer visually-hidden", "aria-live": "polite" });
  #text = "";
  #announced = 0;
  #timer = 0;

  /**
   * Begin with another answer; the rest of the last one is dropped.
   *
   * @param {string} [text] - its text so far, which is not announced
   */
  begin(text = "") {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#text = text;
    this.#announced = text.length;
    this.element.replaceChildren();
  }

  /** @param {string} text - the whole answer so far */
  take(text) {
    if (!text.startsWith(this.#text.slice(0, this.#announced))) this.#announced = 0; // it was replaced
    this.#text = text;
    this.#timer ||= setTimeout(() => {
      this.#timer = 0;
      this.#announceUpTo(endOfSentences(this.#text, this.#announced));
    }, PAUSE_MS);
  }

  /** Announce the rest, which need not end like a sentence. */
  finish() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#announceUpTo(this.#text.length);
  }

  /** @param {number} end */
  #announceUpTo(end) {
    const words = speakable(this.#text.slice(this.#announced, end));
    this.#announced = end;
    if (words === "") return;
    this.element.append(h("p", {}, words));
    while (this.element.childElementCount > KEPT) this.element.firstElementChild?.remove();
  }
}
