// Reads a text that grows: what is finished is read once, and only its end is read again.

import { readableLength } from "./held.js";
import { hasClosingFence, lengthOf } from "./plan.js";

const LARGE = 4000; // characters; the finished part of an open list, table or code block that is larger is read once, too

/**
 * @typedef {import("./lexing.js").Token} Token
 * @typedef {{token: Token, plan: import("./plan.js").Plan | null}} Block
 */
/**
 * @typedef {object} Change what a reading shows from its first node that is not finished
 * @property {number} start - how many nodes before it are finished
 * @property {number} skip - how many items, rows or characters of its first node are finished
 * @property {import("./plan.js").Plan[]} plans - its nodes from `start` on, the first one without its finished part
 */

export class Reading {
  #lexing;
  #planner;
  #from = 0; // where the source of the first unfinished node, without `prefix`, begins
  #prefix = ""; // begins that source: the head of a table or the fence of a code block whose other lines are finished
  #open = ""; // the token type of a first node of which a part is finished
  #start = 0;
  #skip = 0;
  #shown = 0; // characters that the last change's unfinished part shows
  /** @type {Record<string, object>} */
  #links = Object.create(null);
  #hasLinks = false; // whether links are defined, perhaps after their first use

  /**
   * @param {import("./lexing.js").Lexing} lexing
   * @param {import("./plan.js").Planner} planner
   */
  constructor(lexing, planner) {
    this.#lexing = lexing;
    this.#planner = planner;
  }

  /**
   * Read a text that begins with the one before; null if nothing new can be shown, because the text that is shown never
   * gets shorter while more may follow.
   *
   * @param {string} text - with `\n` as the end of lines
   * @param {boolean} isWhole - whether this is all of it, in which case this is the last call
   * @returns {Change | null}
   */
  read(text, isWhole) {
    const tail = this.#prefix + text.slice(this.#from);
    const source = isWhole ? tail : tail.slice(0, readableLength(tail));
    const blocks = this.#blocks(source, !isWhole);
    const isChanged = this.#open !== "" && blocks[0]?.token.type !== this.#open;
    if (isChanged || (isWhole && this.#hasLinks && this.#from > 0)) {
      this.#restart();
      return this.read(text, isWhole);
    }
    const length = blocks.reduce((sum, { plan }) => sum + (plan === null ? 0 : lengthOf(plan)), 0);
    if (!isWhole && length < this.#shown) return null;
    const change = { start: this.#start, skip: this.#skip, plans: blocks.flatMap(({ plan }) => plan ?? []) };
    this.#shown = length;
    if (!isWhole) this.#finishBlocks(blocks, source);
    return change;
  }

  #restart() {
    this.#from = this.#start = this.#skip = this.#shown = 0;
    this.#prefix = this.#open = "";
  }

  /**
   * @param {string} source
   * @param {boolean} isOpen
   * @returns {Block[]}
   */
  #blocks(source, isOpen) {
    /** @type {any[]} */
    let tokens;
    try {
      const read = this.#lexing.blocks(source, this.#links, isOpen);
      tokens = read.tokens;
      this.#hasLinks ||= read.hasLinks;
    } catch {
      tokens = [{ type: "paragraph", raw: source, tokens: [{ type: "escape", text: source }] }]; // nested too deeply to be read
    }
    const last = tokens.findLastIndex(({ type }) => type !== "space");
    return tokens.map((token, index) => ({ token, plan: this.#planner.block(token, isOpen && index === last) }));
  }

  /**
   * Finish all blocks before the last visible one, and the large part of that one that cannot change any more.
   *
   * @param {Block[]} blocks
   * @param {string} source
   */
  #finishBlocks(blocks, source) {
    const last = blocks.findLastIndex(({ plan }) => plan !== null);
    const finished = blocks.slice(0, Math.max(0, last));
    const raw = finished.map(({ token }) => token.raw).join("");
    if (last < 0 || !source.startsWith(raw)) return;
    if (raw) {
      for (const { token } of finished) if (token.type === "def") this.#define(token);
      this.#from += raw.length - this.#prefix.length;
      this.#start += finished.filter(({ plan }) => plan !== null).length;
      this.#shown -= finished.reduce((sum, { plan }) => sum + (plan === null ? 0 : lengthOf(plan)), 0);
      this.#prefix = this.#open = "";
      this.#skip = 0;
    }
    const { token, plan } = blocks[last];
    if (token.raw.length < LARGE + this.#prefix.length || !source.startsWith(token.raw, raw.length)) return;
    if (token.type === "list") this.#finishItems(token, plan);
    else if (token.type === "table") this.#finishRows(token, plan);
    else if (token.type === "code") this.#finishLines(token);
  }

  /** @param {Token} token */
  #define({ tag, href, title }) {
    this.#links[tag] ??= { href, title };
  }

  /** @param {Token} token @param {any} plan */
  #finishItems(token, plan) {
    /** @type {Token[]} */
    const finished = token.items.slice(0, -1);
    const raw = finished.map((item) => item.raw).join("");
    if (finished.length === 0 || !token.raw.startsWith(raw) || !/^ {0,3}(?:[-+*]|\d{1,9}[.)])\s/.test(token.raw.slice(raw.length))) return;
    this.#advance(token, raw.length, finished.length);
    this.#shown -= lengthOf({ ...plan, children: plan.children.slice(0, -1) });
  }

  /** @param {Token} token @param {any} plan */
  #finishRows(token, plan) {
    const lines = token.raw.split("\n");
    const head = `${lines[0]}\n${lines[1]}\n`;
    const count = token.rows.length - 1;
    if (count < 1) return;
    const raw = lines.slice(2, 2 + count).join("\n") + "\n";
    const body = plan.children[0].children[1];
    this.#advance(token, head.length - this.#prefix.length + raw.length, count);
    this.#prefix = head;
    this.#shown -= lengthOf({ ...body, children: body.children.slice(0, -1) });
  }

  /** @param {Token} token */
  #finishLines(token) {
    const fence = /^(?:`{3,}|~{3,})[^\n]*\n/.exec(token.raw)?.[0];
    if (fence === undefined || hasClosingFence(token)) return;
    const length = token.text.trimEnd().lastIndexOf("\n") + 1;
    if (length === 0) return;
    this.#advance(token, fence.length - this.#prefix.length + length, length);
    this.#prefix = fence;
    this.#shown -= length;
  }

  /** @param {Token} token @param {number} length @param {number} count */
  #advance(token, length, count) {
    this.#from += length;
    this.#skip += count;
    this.#open = token.type;
  }
}
