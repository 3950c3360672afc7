// Shows formulas with KaTeX, which is loaded with the first one; until then, and where it cannot be read, as TeX.

import { h } from "../base/dom.js";
import { asset } from "./library.js";

const OPTIONS = { throwOnError: true, trust: false, strict: "ignore", maxSize: 20, maxExpand: 500, output: "htmlAndMathml" };

const MAX_DEPTH = 300; // of nodes; Chromium's layout crashes at a few thousand, and a formula that people read has a tenth

/** @type {Promise<any> | undefined} */
let katex;
/** @type {Promise<CSSStyleSheet> | undefined} */
let sheet;

export class MathView {
  #tex = "";

  /** @param {import("./plan.js").MathPlan} plan */
  constructor(plan) {
    this.element = h(plan.isBlock ? "div" : "span", { className: "math", dir: "ltr" });
    if (plan.isDisplay) this.element.dataset.display = "";
    this.#render(plan);
  }

  /**
   * Show another formula.
   *
   * @param {import("./plan.js").MathPlan} plan
   * @returns {boolean} false where a new view has to be made for it
   */
  update(plan) {
    return plan.tex === this.#tex && plan.isDisplay === "display" in this.element.dataset;
  }

  /** @param {import("./plan.js").MathPlan} plan */
  async #render({ tex, source, isDisplay }) {
    this.#tex = tex;
    this.element.textContent = tex;
    katex ??= load();
    const library = await katex;
    if (library === null) {
      this.element.textContent = source;
      return;
    }
    try {
      const made = h("span");
      library.render(tex, made, { ...OPTIONS, displayMode: isDisplay });
      if (depthOf(made) > MAX_DEPTH) throw new RangeError("too deep");
      await addStyles(this.element.getRootNode());
      this.element.replaceChildren(...made.childNodes);
    } catch {
      this.element.textContent = source; // no valid TeX
    }
  }
}

/**
 * Return how many nodes stand inside each other, without recursion.
 *
 * @param {Node} root
 */
function depthOf(root) {
  let [depth, deepest] = [0, 0];
  /** @type {Node | null} */
  let node = root;
  while (node !== null) {
    deepest = Math.max(deepest, depth);
    if (node.firstChild !== null) {
      node = node.firstChild;
      depth += 1;
      continue;
    }
    while (node !== root && node.nextSibling === null) {
      node = /** @type {Node} */ (node.parentNode);
      depth -= 1;
    }
    node = node === root ? null : node.nextSibling;
  }
  return deepest;
}

async function load() {
  try {
    return (await import(asset("katex/dist/katex.mjs"))).default;
  } catch {
    return null;
  }
}

/**
 * Add KaTeX's style sheet to the document, where its fonts take effect, and to a shadow root; adopted, it needs nothing of
 * the policy of a page that embeds the chat.
 *
 * @param {Node} root
 */
async function addStyles(root) {
  sheet ??= readSheet();
  const rules = await sheet;
  for (const place of [document, root]) {
    if (!(place instanceof Document || place instanceof ShadowRoot) || place.adoptedStyleSheets.includes(rules)) continue;
    place.adoptedStyleSheets.push(rules);
  }
}

// Chromium takes the addresses of a constructed sheet's fonts relative to the page, whatever its `baseURL` is.
async function readSheet() {
  const address = asset("katex/dist/katex.min.css");
  const response = await fetch(address);
  const rules = response.ok ? await response.text() : "";
  return new CSSStyleSheet().replace(rules.replace(/url\(([^)]+)\)/g, (_, path) => `url(${new URL(path, address)})`));
}
