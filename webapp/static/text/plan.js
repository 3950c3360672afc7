// Turns tokens into plans of nodes, which are data: `patch.js` makes the nodes of the document from them.

import { decodeEntities } from "./entities.js";
import { isAllowedImage, safeAddress } from "./links.js";

/**
 * @typedef {import("./lexing.js").Token} Token
 * @typedef {string | ElementPlan | CodePlan | MathPlan} Plan
 * @typedef {{kind: "element", tag: string, attributes: Record<string, string>, children: Plan[], grows?: boolean}} ElementPlan
 *   `grows`: its first children may be finished and left out of the plan, see `Reading`
 * @typedef {{kind: "code", text: string, language: string, isClosed: boolean}} CodePlan
 * @typedef {{kind: "math", tex: string, source: string, isDisplay: boolean, isBlock: boolean}} MathPlan
 * @typedef {{allowImages: readonly string[], taskDone: string, taskOpen: string, table: string}} PlanOptions
 */

const MAX_DEPTH = 40; // blocks or emphasis nested more deeply are shown as their source
const REL = "noopener noreferrer nofollow";

export class Planner {
  #options;

  /** @param {PlanOptions} options */
  constructor(options) {
    this.#options = options;
  }

  /**
   * Return the plan of a block; null for one that shows nothing.
   *
   * @param {any} token
   * @param {boolean} isLast - whether the text goes on in this block
   * @returns {Plan | null}
   */
  block(token, isLast, depth = 0) {
    switch (token.type) {
      case "space":
      case "def":
        return null;
      case "hr":
        return element("hr", {}, []);
      case "heading":
        return this.#heading(token, depth);
      case "code":
        return codeOf(token, isLast);
      case "math":
        return this.#blockMath(token, isLast, depth);
      case "table":
        return this.#table(token);
      case "blockquote":
        if (depth >= MAX_DEPTH) break;
        return element("blockquote", direction(depth), this.#blocks(token.tokens, isLast, depth + 1));
      case "list":
        if (depth >= MAX_DEPTH) break;
        return this.#list(token, isLast, depth);
      case "paragraph":
      case "text": {
        const children = this.#inline(token.tokens ?? [{ type: "text", text: token.text }]);
        return isLast && children.length === 0 ? null : element("p", direction(depth), children);
      }
    }
    return element("p", direction(depth), [token.raw]);
  }

  /** @param {Token} token @param {number} depth */
  #heading({ depth: level, tokens }, depth) {
    const attributes = { class: "heading", "data-level": `${level}`, ...direction(depth) };
    return element(`h${Math.min(6, level + 2)}`, attributes, this.#inline(tokens)); // the page's own headings are above it
  }

  /** @param {Token[]} tokens @param {boolean} isLast @param {number} depth @returns {Plan[]} */
  #blocks(tokens, isLast, depth) {
    const last = tokens.findLastIndex((token) => token.type !== "space");
    return tokens.map((token, index) => this.block(token, isLast && index === last, depth)).filter((plan) => plan !== null);
  }

  /** @param {Token} token @param {boolean} isLast @param {number} depth */
  #list(token, isLast, depth) {
    const attributes = { ...direction(depth), ...(token.loose && { "data-loose": "" }) };
    if (token.ordered && token.start !== 1) attributes.start = `${token.start}`;
    const items = token.items.map((/** @type {Token} */ item, /** @type {number} */ index) => {
      /** @type {Record<string, string>} */
      const state = item.task ? { "data-task": item.checked ? "done" : "open" } : {};
      return element("li", state, this.#blocks(withCheckbox(item.tokens), isLast && index === token.items.length - 1, depth + 1));
    });
    return { ...element(token.ordered ? "ol" : "ul", attributes, items), grows: true };
  }

  /** @param {Token} token */
  #table(token) {
    /** @param {Token[]} cells @param {string} tag */
    const row = (cells, tag) => element("tr", {}, cells.map((cell) => element(tag, align(cell), this.#inline(cell.tokens))));
    const body = { ...element("tbody", {}, token.rows.map((/** @type {Token[]} */ cells) => row(cells, "td"))), grows: true };
    const table = element("table", { dir: "auto" }, [element("thead", {}, [row(token.header, "th")]), body]);
    return element("div", { class: "table-scroll", tabindex: "0", role: "group", "aria-label": this.#options.table }, [table]);
  }

  /** @param {Token} token @param {boolean} isLast @param {number} depth @returns {Plan | null} */
  #blockMath({ raw, tex, isOpen }, isLast, depth) {
    if (isOpen) return isLast ? null : element("p", direction(depth), [raw]);
    return { kind: "math", tex, source: raw.trim(), isDisplay: true, isBlock: true };
  }

  /** @param {Token[]} tokens @returns {Plan[]} */
  #inline(tokens, depth = 0) {
    /** @type {Plan[]} */
    const plans = [];
    for (const token of tokens) {
      for (const plan of this.#inlineToken(token, depth)) {
        if (typeof plan === "string" && typeof plans.at(-1) === "string") plans.push(plans.pop() + plan);
        else if (plan !== "") plans.push(plan);
      }
    }
    return plans;
  }

  /** @param {Token} token @param {number} depth @returns {Plan[]} */
  #inlineToken(token, depth) {
    if (depth >= MAX_DEPTH) return [token.raw];
    switch (token.type) {
      case "text":
        return token.tokens ? this.#inline(token.tokens, depth + 1) : [decodeEntities(token.text)];
      case "strong":
      case "em":
      case "del":
        return [element(token.type, {}, this.#inline(token.tokens, depth + 1))];
      case "codespan":
        return [element("code", {}, [token.text])];
      case "br":
        return ["\n"]; // paragraphs keep their line breaks, see text.css
      case "escape":
        return [token.text];
      case "math":
        if (token.isOpen) return [];
        return [{ kind: "math", tex: token.tex, source: token.raw, isDisplay: token.isDisplay, isBlock: false }];
      case "checkbox":
        return [this.#checkbox(token.checked)];
      case "link":
        return this.#link(token, this.#inline(token.tokens, depth + 1));
      case "image":
        return this.#image(token);
    }
    return [token.raw];
  }

  /** @param {boolean} isChecked */
  #checkbox(isChecked) {
    const { taskDone, taskOpen } = this.#options;
    const name = isChecked ? taskDone : taskOpen;
    /** @type {Record<string, string>} */
    const checked = isChecked ? { checked: "" } : {};
    return element("input", { class: "task", type: "checkbox", disabled: "", "aria-label": name, ...checked }, []);
  }

  /** @param {Token} token @param {Plan[]} children @returns {Plan[]} */
  #link({ href, title }, children) {
    const address = safeAddress(decodeEntities(href));
    if (address === null) return children;
    return [element("a", { href: address, rel: REL, target: "_blank", ...titled(title) }, children)];
  }

  /**
   * An image is a request to another host: it is loaded only where the page allows that host, and otherwise linked to.
   *
   * @param {Token} token
   * @returns {Plan[]}
   */
  #image({ href, title, text }) {
    const name = decodeEntities(text);
    const address = safeAddress(decodeEntities(href));
    if (address === null) return [name];
    if (isAllowedImage(address, this.#options.allowImages)) {
      const attributes = { class: "remote-image", src: address, alt: name, loading: "lazy", referrerpolicy: "no-referrer" };
      return [element("img", { ...attributes, ...titled(title) }, [])];
    }
    const attributes = { class: "image-link", href: address, rel: REL, target: "_blank", ...titled(title) };
    return [element("a", attributes, [name || address])];
  }
}

/**
 * Return how many characters of text a plan shows.
 *
 * @param {Plan} plan
 * @returns {number}
 */
export function lengthOf(plan) {
  if (typeof plan === "string") return plan.length;
  if (plan.kind === "code") return plan.text.length;
  if (plan.kind === "math") return plan.tex.length;
  return plan.children.reduce((sum, child) => sum + lengthOf(child), 0);
}

/** @param {string} tag @param {Record<string, string>} attributes @param {Plan[]} children @returns {ElementPlan} */
function element(tag, attributes, children) {
  return { kind: "element", tag, attributes, children };
}

/**
 * Return the blocks of an item with the checkbox of a task inside its text.
 *
 * @param {Token[]} tokens
 */
function withCheckbox(tokens) {
  const [checkbox, text, ...rest] = tokens;
  if (checkbox?.type !== "checkbox") return tokens;
  if (text?.type !== "text") return [{ type: "text", raw: "", tokens: [checkbox] }, ...tokens.slice(1)];
  return [{ ...text, tokens: [checkbox, ...(text.tokens ?? [])] }, ...rest];
}

/** @param {string | null} title @returns {Record<string, string>} */
function titled(title) {
  return title ? { title: decodeEntities(title) } : {};
}

/**
 * Return the direction of a block: that of its text, with all that is inside it.
 *
 * @param {number} depth
 * @returns {Record<string, string>}
 */
function direction(depth) {
  return depth === 0 ? { dir: "auto" } : {};
}

/** @param {Token} token @param {boolean} isLast @returns {CodePlan} */
function codeOf(token, isLast) {
  const text = token.text.replace(/\n$/, "");
  return { kind: "code", text, language: languageOf(token.lang), isClosed: !isLast || hasClosingFence(token) };
}

/** @param {Token} cell @returns {Record<string, string>} */
function align({ align: side }) {
  return side ? { "data-align": side } : {};
}

/**
 * Return the language of an information string such as `js title="x"` or `{.python}`.
 *
 * @param {string | undefined} lang
 */
function languageOf(lang) {
  return /^[\s{.]*([\w+#-]{1,40})/.exec(decodeEntities(lang ?? ""))?.[1] ?? "";
}

/**
 * Whether a code block has its closing fence, so that it can't go on.
 *
 * @param {{raw: string, codeBlockStyle?: string}} token
 * @returns {boolean}
 */
export function hasClosingFence({ raw, codeBlockStyle }) {
  if (codeBlockStyle === "indented") return false;
  const fence = /^ {0,3}(`{3,}|~{3,})/.exec(raw)?.[1] ?? "```";
  const text = raw.trimEnd();
  const start = text.lastIndexOf("\n") + 1;
  const end = text.slice(start).trim();
  return start > 0 && end.length >= fence.length && end.replaceAll(fence[0], "") === "";
}
