// Colours code with highlight.js: it and its languages are loaded when they are needed. The text stays the same.

import { h } from "../base/dom.js";
import { knownLanguage } from "./languages.js";
import { asset } from "./library.js";

const MAX_LENGTH = 20_000; // characters; colouring more would hold up the page
const FOLDER = "@highlightjs/cdn-assets/es";

/** @type {Promise<any> | undefined} */
let core;
/** @type {Map<string, Promise<boolean>>} */
const languages = new Map();

/**
 * @typedef {object} Block
 * @property {string} text
 * @property {Element} code - the element that holds only the text
 * @property {(fragment: DocumentFragment) => void} showHighlighted
 */

/**
 * Colour a block when the page has time for it, if its language is known and it is not huge.
 *
 * @param {Block} block
 * @param {string} label - its language, as its author calls it
 */
export async function highlightLater(block, label) {
  const language = knownLanguage(label);
  if (language === null || language === "plaintext" || block.text.length > MAX_LENGTH) return;
  core ??= import(asset(`${FOLDER}/core.min.js`)).then((module) => module.default, () => null);
  const highlighter = await core;
  if (highlighter === null || !(await loadLanguage(highlighter, language))) return;
  whenIdle(() => show(highlighter, block, language));
}

/** @param {any} highlighter @param {string} language */
function loadLanguage(highlighter, language) {
  const known = languages.get(language);
  if (known) return known;
  const loading = import(asset(`${FOLDER}/languages/${language}.min.js`)).then(
    (module) => {
      highlighter.registerLanguage(language, module.default);
      return true;
    },
    () => false,
  );
  languages.set(language, loading);
  return loading;
}

/** @param {any} highlighter @param {Block} block @param {string} language */
function show(highlighter, block, language) {
  const { text } = block;
  if (block.code.textContent !== text || !block.code.isConnected) return;
  const fragment = document.createDocumentFragment();
  try {
    // Its HTML is not used: the tree that the HTML would be made of is (in version 11 as `_emitter`).
    append(fragment, highlighter.highlight(text, { language, ignoreIllegals: true })._emitter.rootNode.children);
  } catch {
    return;
  }
  if (fragment.textContent === text) keepSelection(block.code, () => block.showHighlighted(fragment));
}

/** @param {Node & ParentNode} parent @param {any[]} children */
function append(parent, children) {
  for (const child of children) {
    if (typeof child === "string") parent.append(child);
    else append(child.scope ? parent.appendChild(h("span", { className: classOf(child.scope) })) : parent, child.children);
  }
}

/**
 * Return the classes that the style sheets of highlight.js use: `title.function` is `hljs-title function_`.
 *
 * @param {string} scope
 */
function classOf(scope) {
  if (scope.startsWith("language:")) return scope.replace("language:", "language-");
  const [first, ...rest] = scope.split(".");
  return [`hljs-${first}`, ...rest.map((part, index) => part + "_".repeat(index + 1))].join(" ");
}

/**
 * Run a change of an element that keeps its text, and select again what was selected in it.
 *
 * @param {Element} element
 * @param {() => void} change
 */
function keepSelection(element, change) {
  const root = /** @type {any} */ (element.getRootNode()); // of a shadow root some browsers report its own selection
  const selection = /** @type {Selection | null} */ (root.getSelection ? root.getSelection() : getSelection());
  const { anchorNode = null, focusNode = null } = selection ?? {};
  if (!selection || !anchorNode || !focusNode || !element.contains(anchorNode) || !element.contains(focusNode)) return change();
  const anchor = offsetIn(element, anchorNode, selection.anchorOffset);
  const focus = offsetIn(element, focusNode, selection.focusOffset);
  change();
  selection.setBaseAndExtent(...placeAt(element, anchor), ...placeAt(element, focus));
}

/** @param {Element} element @param {Node} node @param {number} offset */
function offsetIn(element, node, offset) {
  const range = document.createRange();
  range.setStart(element, 0);
  range.setEnd(node, offset);
  return range.toString().length;
}

/** @param {Element} element @param {number} offset @returns {[Node, number]} */
function placeAt(element, offset) {
  const texts = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  let rest = offset;
  while (texts.nextNode()) {
    const { currentNode } = texts;
    const { length } = /** @type {Text} */ (currentNode);
    if (rest <= length) return [currentNode, rest];
    rest -= length;
  }
  return [element, element.childNodes.length];
}

/** @param {() => void} task */
function whenIdle(task) {
  if ("requestIdleCallback" in window) requestIdleCallback(task, { timeout: 1000 });
  else setTimeout(task); // Safari
}
