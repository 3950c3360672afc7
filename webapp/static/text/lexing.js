// Reads markdown with marked: math besides GFM, and raw HTML as text. It touches no document.

/** @typedef {any} Token a token of marked, or `{type: "math", raw, tex, isDisplay, isOpen}` */

const MAX_MATH = 2000; // characters; text between two marks that is longer is no formula
const MAX_OPEN_DOLLAR = 200; // an amount of money is not held back for longer
const INLINE_MATH = [
  { pattern: /^\$\$(?!\$)((?:[^$\\]|\\[\s\S]|\$(?!\$)){1,2000}?)\$\$/, isDisplay: true },
  { pattern: /^\$(?![\s$])((?:[^$\\\n]|\\[^\n]|\n(?!\s*\n)){0,2000}?(?:[^\s$\\]|\\[^\s]))\$(?![\d$])/, isDisplay: false },
  { pattern: /^\\\(([\s\S]{1,2000}?)\\\)/, isDisplay: false },
  { pattern: /^\\\[([\s\S]{1,2000}?)\\\]/, isDisplay: true },
];
const BLOCK_MATH = [
  /^ {0,3}\$\$(?!\$)((?:(?!\n[ \t]*\n|\$\$)[\s\S]){1,5000})\$\$[ \t]*(?:\n+|$)/,
  /^ {0,3}\\\[((?:(?!\n[ \t]*\n|\\\])[\s\S]){1,5000})\\\][ \t]*(?:\n+|$)/,
];
const OPEN_BLOCK_MATH = /^ {0,3}(?:\$\$|\\\[)(?:(?!\n[ \t]*\n|\$\$|\\\])[\s\S]){0,5000}[$\\]?$/;
const PRICE = /^\$\d[\d.,]*[kKmMbB]?(?:[)"'*_]*[\s,;:.!?\u2013\u2014-]+(?:\$|[A-Za-z]{2,})|\/[A-Za-z]{2,})/;

// Emphasis beside the punctuation of Chinese, Japanese and Korean, which CommonMark's rules for words with spaces miss.
const CJK = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\u3000-\u303f\uff00-\uffef]/u;
const CJK_EMPHASIS = /^(\*\*?)(?![\s*])((?:[^*\n\\`]|\\[^\n]|`[^`\n]{1,200}`){1,500}?)(?<!\s)\1(?!\*)/;
const PUNCTUATION = /[\p{P}\p{S}]/u;

const OPTIONS_OF_REMEND = {
  linkMode: "text-only",
  setextHeadings: false,
  htmlTags: false,
  comparisonOperators: false,
  singleTilde: false,
  katex: false,
};
const ONLY_CODE = { bold: false, boldItalic: false, images: false, italic: false, links: false, strikethrough: false };
const MAX_HALF_WRITTEN = 300; // characters
const MAX_CLOSED = 2000; // characters of a paragraph; remend takes the square of their number
const MAX_EMPHASIS_MS = 1000; // of a text; marks without end take marked the square of their number
const HALF_WRITTEN = /(?:&[#\w]{0,32}|<[A-Za-z][\w.+-]*:?[^\s<>]*|<|[*_~`$\\![]+|\](?:\[[^\]\n]{0,99})?)$/;
const HALF_TASK = /^\[(?:[ xX](?:\][ \t]*)?)?$/;
const DEFINITION = /^ {0,3}\[(?:[^\]\n]*|[^\]\n]+\]:[\s\S]*)$/; // of a link, or its beginning

export class Lexing {
  #Lexer;
  #remend;
  #options;
  #holdsBlock = false; // whether a block of math that is not closed yet is held back, because its source may go on
  #holdsInline = false; // the same within a paragraph
  #deadline = 0; // after which no emphasis is looked for

  /**
   * @param {{Marked: any, Lexer: any}} marked - the module
   * @param {(text: string, options: object) => string} remend
   */
  constructor({ Marked, Lexer }, remend) {
    this.#Lexer = Lexer;
    this.#remend = remend;
    const none = () => undefined; // raw HTML is text
    const tokenizer = { html: none, tag: none, emStrong: () => (performance.now() < this.#deadline ? false : undefined) };
    const extensions = [this.#blockMath(), this.#inlineMath(), cjkEmphasis];
    this.#options = new Marked({ gfm: true, tokenizer, extensions }).defaults;
  }

  /**
   * Return the blocks of a source.
   *
   * @param {string} source - with `\n` as the end of lines
   * @param {Record<string, object>} links - the link reference definitions before it
   * @param {boolean} isOpen - whether text may be appended: half-written syntax of the last block is then hidden
   * @returns {{tokens: Token[], hasLinks: boolean}} `hasLinks`: whether links are defined in it or before it
   */
  blocks(source, links, isOpen) {
    const lexer = new this.#Lexer(this.#options);
    Object.assign(lexer.tokens.links, links);
    this.#deadline = performance.now() + MAX_EMPHASIS_MS;
    try {
      this.#holdsBlock = isOpen;
      const tokens = lexer.lex(source);
      this.#holdsInline = isOpen;
      if (isOpen) this.#hideHalfWritten(lexer, tokens);
      return { tokens, hasLinks: Object.keys(lexer.tokens.links).length > 0 };
    } finally {
      this.#holdsBlock = this.#holdsInline = false;
    }
  }

  /** @param {any} lexer @param {Token[]} tokens */
  #hideHalfWritten(lexer, tokens) {
    const leaf = lastLeaf(tokens);
    if (leaf === null) return;
    let text = leaf.text;
    if (leaf.type !== "cell" && leaf.type !== "heading") {
      if (DEFINITION.test(text)) text = "";
      const lastLine = text.slice(text.lastIndexOf("\n") + 1);
      if (lastLine.startsWith("|")) text = text.slice(0, -lastLine.length).trimEnd(); // perhaps the head of a table
      if (leaf.isTask) text = text.replace(/^\[[ xX]\]\s+/, "");
      else if (leaf.isItem && HALF_TASK.test(text)) text = "";
    }
    const end = Math.max(0, text.length - MAX_HALF_WRITTEN);
    const held = text.slice(0, end) + text.slice(end).replace(HALF_WRITTEN, "");
    const closed = held.length <= MAX_CLOSED && /[*_~`[]/.test(held) ? this.#close(held) : held;
    if (closed === leaf.text && !/[$\\]/.test(closed)) return;
    const inline = lexer.inlineTokens(closed);
    leaf.set(leaf.isTask ? [leaf.checkbox, ...inline] : inline);
  }

  /** @param {string} text */
  #close(text) {
    const withCode = text.includes("`") ? this.#remend(text, { ...OPTIONS_OF_REMEND, ...ONLY_CODE }) : text;
    return this.#remend(withCode, OPTIONS_OF_REMEND);
  }

  #blockMath() {
    return {
      name: "math",
      level: "block",
      start: (/** @type {string} */ source) => {
        const end = source.indexOf("\n\n");
        const found = /\n {0,3}(?:\$\$|\\\[)/.exec(end < 0 ? source : source.slice(0, end));
        return found === null ? undefined : found.index + 1;
      },
      tokenizer: (/** @type {string} */ source) => {
        for (const pattern of BLOCK_MATH) {
          const found = pattern.exec(source);
          if (found?.[1].trim()) return { type: "math", raw: found[0], tex: found[1].trim(), isDisplay: true, isOpen: false };
        }
        if (this.#holdsBlock && OPEN_BLOCK_MATH.test(source)) return openMath(source);
      },
    };
  }

  #inlineMath() {
    return {
      name: "inlineMath",
      level: "inline",
      start: (/** @type {string} */ source) => {
        const index = source.indexOf("$");
        return index < 0 ? undefined : index;
      },
      tokenizer: (/** @type {string} */ source) => {
        if ((source[0] !== "$" && source[0] !== "\\") || PRICE.test(source)) return;
        for (const { pattern, isDisplay } of INLINE_MATH) {
          const found = pattern.exec(source);
          if (found?.[1].trim()) return { type: "math", raw: found[0], tex: found[1].trim(), isDisplay, isOpen: false };
        }
        if (!this.#holdsInline) return;
        const isHeld = source[0] === "$" ? /^\$\$?[^\s$]/.test(source) && !/\$\s?$/.test(source.slice(2)) : /^\\[([]/.test(source);
        if (isHeld && source.length <= (source[0] === "$" ? MAX_OPEN_DOLLAR : MAX_MATH)) return openMath(source);
      },
    };
  }
}

const cjkEmphasis = {
  name: "cjkEmphasis",
  level: "inline",
  /** @this {any} @param {string} source @returns {Token} */
  tokenizer(source) {
    if (source[0] !== "*") return;
    const found = CJK_EMPHASIS.exec(source);
    if (found === null) return;
    const [raw, { length }, text] = found;
    const begins = PUNCTUATION.test(text[0]) && CJK.test(text[0]);
    const ends = PUNCTUATION.test(text.at(-1) ?? "") && CJK.test(source[raw.length] ?? "");
    if (begins || ends) return { type: length === 2 ? "strong" : "em", raw, text, tokens: this.lexer.inlineTokens(text) };
  },
};

/** @param {string} raw */
function openMath(raw) {
  return { type: "math", raw, tex: "", isDisplay: false, isOpen: true };
}

/**
 * Return the last place that holds inline text, which is where more text goes; null if there is none.
 *
 * @param {Token[]} tokens
 * @param {boolean} isItem - whether they are those of a list's item
 * @returns {any}
 */
function lastLeaf(tokens, isItem = false) {
  const last = tokens.findLast((token) => token.type !== "space");
  if (last === undefined) return null;
  if (last.type === "list") return lastLeaf(last.items.at(-1).tokens, true);
  if (last.type === "blockquote") return lastLeaf(last.tokens);
  if (last.type === "table") {
    const cells = (last.rows.at(-1) ?? last.header).filter((/** @type {Token} */ cell) => cell.text);
    const cell = cells.at(-1);
    return cell ? { type: "cell", text: cell.text, set: (/** @type {Token[]} */ inline) => (cell.tokens = inline) } : null;
  }
  if (last.tokens === undefined || tokens.at(-1)?.type === "space") return null;
  const checkbox = last.tokens[0]?.type === "checkbox" ? last.tokens[0] : undefined;
  const set = (/** @type {Token[]} */ inline) => (last.tokens = inline);
  return { type: last.type, text: last.text, set, isItem, checkbox, isTask: checkbox !== undefined };
}
