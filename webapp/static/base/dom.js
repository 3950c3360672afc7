// Builds elements. Text is always inserted as text, never as markup.

/**
 * Return a new element. A property is set as a property where the element has it, else as an attribute; `class`,
 * `dataset`, `aria-*` and `role` work as in HTML, `on` takes listeners by event, and undefined or null sets nothing.
 *
 * @param {string} tag
 * @param {Record<string, any>} [properties]
 * @param {...(Node | string | null | undefined)} children - null and undefined are left out
 * @returns {any}
 */
export function h(tag, properties = {}, ...children) {
  /** @type {any} */
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name in element && !name.includes("-")) element[name] = value;
    else element.setAttribute(name === "className" ? "class" : name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}
