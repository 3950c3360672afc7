// Shows a block of code: its language, buttons, and its text, which is highlighted once it is complete.

import { h } from "../base/dom.js";
import { icon, iconButton } from "../base/icons.js";
import { onPreferences, preferences, setPreferences } from "../base/preferences.js";
import { t } from "../base/strings.js";
import { highlightLater } from "./highlight.js";

const COPIED_MS = 2000;
const PART = 4000; // characters; a block is laid out part by part, so that only the last one costs time while it grows

/** @type {Set<WeakRef<CodeBlock>>} */
const blocks = new Set();

export class CodeBlock {
  #text = "";
  #end = document.createTextNode(""); // of the last part
  #code = h("code", { className: "hljs" }, part(this.#end));
  #wrap = iconButton("code-wrap", "wrap", t.wrapLines, () => setPreferences({ wrap: !preferences().wrap }));
  #copy = iconButton("code-copy", "copy", t.copyCode, () => this.#copyText());
  #label = h("span", { className: "code-language", "aria-hidden": "true" });
  #language = "";
  #isHighlighted = false;
  #isClosed = false;

  /** @param {import("./plan.js").CodePlan} plan */
  constructor(plan) {
    const bar = h("div", { className: "code-bar" }, this.#label, this.#wrap, this.#copy);
    this.element = h("figure", { className: "code" }, bar, h("pre", { tabIndex: 0, dir: "ltr" }, this.#code));
    this.#copy.append(checkIcon());
    this.#showLanguage(plan.language);
    this.showWrap(preferences().wrap);
    blocks.add(new WeakRef(this));
    this.update(plan, 0);
  }

  /**
   * Show more text, or another one.
   *
   * @param {import("./plan.js").CodePlan} plan
   * @param {number} skip - the characters that are shown already and left out of the plan
   * @returns {boolean} true: this view can show it
   */
  update({ text, language, isClosed }, skip) {
    if (language !== this.#language) this.#showLanguage(language);
    const whole = this.#text.slice(0, skip) + text;
    if (whole !== this.#text) this.#show(whole);
    if (isClosed && !this.#isClosed) highlightLater(this, language);
    this.#isClosed = isClosed;
    return true;
  }

  /** The text that is shown. */
  get text() {
    return this.#text;
  }

  /** The element that holds the text alone. */
  get code() {
    return this.#code;
  }

  /**
   * Show the text in colour.
   *
   * @param {DocumentFragment} fragment - with the same text
   */
  showHighlighted(fragment) {
    this.#isHighlighted = true;
    this.#code.replaceChildren(fragment);
  }

  /** @param {boolean} isOn */
  showWrap(isOn) {
    this.#wrap.setAttribute("aria-pressed", `${isOn}`);
    if (isOn) this.element.dataset.wrap = "on";
    else delete this.element.dataset.wrap;
  }

  /** @param {string} text */
  #show(text) {
    if (this.#isHighlighted || !text.startsWith(this.#text)) {
      this.#end = document.createTextNode("");
      this.#code.replaceChildren(part(this.#end));
      this.#isHighlighted = this.#isClosed = false;
      this.#text = "";
    }
    this.#end.appendData(text.slice(this.#text.length));
    this.#text = text;
    while (this.#end.length > PART) {
      const start = this.#end.data.indexOf("\n", PART / 2) + 1;
      if (start === 0 || start === this.#end.length) break;
      const next = document.createTextNode(this.#end.data.slice(start));
      this.#end.deleteData(start, next.length);
      this.#end = next;
      this.#code.append(part(next));
    }
  }

  /** @param {string} language */
  #showLanguage(language) {
    this.#language = language;
    this.element.dataset.language = language;
    this.#label.dataset.label = language; // an attribute: the text of an answer is what the model has written, and no more
    this.element.setAttribute("aria-label", language ? t.codeIn(language) : t.code);
  }

  async #copyText() {
    if (!(await writeToClipboard(this.#code, this.#text))) return;
    this.#copy.dataset.state = "copied";
    name(this.#copy, t.copied);
    setTimeout(() => {
      delete this.#copy.dataset.state;
      name(this.#copy, t.copyCode);
    }, COPIED_MS);
  }
}

onPreferences(({ wrap }) => {
  for (const reference of blocks) {
    const block = reference.deref();
    if (block) block.showWrap(wrap);
    else blocks.delete(reference);
  }
});

/** @param {Text} text */
function part(text) {
  return h("span", { className: "code-part" }, text);
}

/** @param {HTMLButtonElement} element @param {string} text */
function name(element, text) {
  element.title = text;
  element.ariaLabel = text;
}

function checkIcon() {
  const check = icon("check");
  check.classList.add("icon-check");
  return check;
}

/**
 * Copy the text of an element; pages without HTTPS have no clipboard API, only the command for the selection.
 *
 * @param {Element} element
 * @param {string} text
 */
async function writeToClipboard(element, text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection()?.selectAllChildren(element);
    return document.execCommand("copy");
  }
}
