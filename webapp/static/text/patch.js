// Makes the nodes of the document from plans, and changes only those that differ, so that a selection survives.

import { h } from "../base/dom.js";
import { CodeBlock } from "./code.js";
import { MathView } from "./math.js";

const SIZE = "data-large"; // a table of more than one body gets columns of one width: new rows then change no others
const ROWS_OF_BODY = 100;

/** @type {WeakMap<Node, CodeBlock | MathView>} */
const views = new WeakMap();

/**
 * Show plans as the children of a node from `start` on; further children are removed.
 *
 * @param {Node} parent
 * @param {number} start
 * @param {import("./plan.js").Plan[]} plans
 * @param {number} skip - the finished items, rows or characters of the first of these children
 */
export function patchChildren(parent, start, plans, skip) {
  plans.forEach((plan, index) => {
    const existing = parent.childNodes[start + index] ?? null;
    const node = patch(existing, plan, index === 0 ? skip : 0);
    if (node === existing) return;
    if (existing) parent.replaceChild(node, existing);
    else parent.appendChild(node);
  });
  while (parent.childNodes.length > start + plans.length) parent.lastChild?.remove();
}

/**
 * @param {Node | null} existing
 * @param {import("./plan.js").Plan} plan
 * @param {number} skip
 * @returns {Node} the existing node, or the one that takes its place
 */
function patch(existing, plan, skip) {
  if (typeof plan === "string") return patchText(existing, plan);
  if (plan.kind === "element") return patchElement(existing, plan, skip);
  const view = existing ? views.get(existing) : undefined;
  const View = plan.kind === "code" ? CodeBlock : MathView;
  if (view instanceof View && view.update(/** @type {any} */ (plan), skip)) return view.element;
  const created = new View(/** @type {any} */ (plan));
  views.set(created.element, created);
  return created.element;
}

/** @param {Node | null} existing @param {string} text */
function patchText(existing, text) {
  if (!(existing instanceof Text)) return document.createTextNode(text);
  if (existing.data !== text) replaceEnd(existing, text);
  return existing;
}

/**
 * Change only the end of the data that differs: a selection before it survives.
 *
 * @param {Text} node
 * @param {string} text
 */
function replaceEnd(node, text) {
  const { data } = node;
  if (text.startsWith(data)) return node.appendData(text.slice(data.length));
  let same = 0;
  while (same < data.length && data[same] === text[same]) same++;
  node.replaceData(same, data.length - same, text.slice(same));
}

/** @param {Node | null} existing @param {import("./plan.js").ElementPlan} plan @param {number} skip */
function patchElement(existing, plan, skip) {
  const isSame = existing instanceof Element && existing.localName === plan.tag && !views.has(existing);
  const element = isSame ? existing : h(plan.tag);
  for (const name of element.getAttributeNames()) if (!(name in plan.attributes) && name !== SIZE) element.removeAttribute(name);
  for (const [name, value] of Object.entries(plan.attributes)) if (element.getAttribute(name) !== value) element.setAttribute(name, value);
  if (plan.tag === "table") patchTable(element, plan, isSame ? skip : 0);
  else if (plan.grows) patchChildren(element, isSame ? skip : 0, plan.children, 0);
  else if (skip === 0) patchChildren(element, 0, plan.children, 0);
  else plan.children.forEach((child, index) => void patch(element.childNodes[index], child, skip)); // the rows of a table's body are finished
  return element;
}

/**
 * Show the head of a table and its rows, in bodies of a fixed number: a browser lays out only those that have changed.
 *
 * @param {Element} table
 * @param {import("./plan.js").ElementPlan} plan
 * @param {number} skip - rows that are finished
 */
function patchTable(table, plan, skip) {
  const [head, body] = /** @type {import("./plan.js").ElementPlan[]} */ (plan.children);
  const shown = patch(table.firstChild, head, 0);
  if (shown !== table.firstChild) table.replaceChildren(shown);
  const count = skip + body.children.length;
  const bodies = Math.max(1, Math.ceil(count / ROWS_OF_BODY));
  while (table.childElementCount > bodies + 1) table.lastChild?.remove();
  /** @type {Element | null} */
  let filling = null; // a new body, which joins the table once it is full
  body.children.forEach((row, index) => {
    const place = (skip + index) % ROWS_OF_BODY;
    if (place === 0 && filling !== null) {
      table.append(filling);
      filling = null;
    }
    const part = table.children[1 + Math.floor((skip + index) / ROWS_OF_BODY)] ?? (filling ??= h("tbody"));
    const existing = part.childNodes[place] ?? null;
    const node = patch(existing, row, 0);
    if (existing === null) part.append(node);
    else if (node !== existing) existing.replaceWith(node);
  });
  if (filling !== null || table.childElementCount === 1) table.append(filling ?? h("tbody"));
  const last = table.children[bodies];
  while (last.childElementCount > count - (bodies - 1) * ROWS_OF_BODY) last.lastChild?.remove();
  if (bodies > 1 !== table.hasAttribute(SIZE)) table.toggleAttribute(SIZE, bodies > 1);
}
