// The page's icons: lines on a grid of 24 by 24, in the colour of the text around them.

import { h } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";

const PATHS = {
  chat: ["M4 5h16v11H10l-5 4v-4H4z"],
  check: ["m5 12.5 4.5 4.5L19 7.5"],
  close: ["m6 6 12 12", "M18 6 6 18"],
  copy: ["M9 9h11v11H9z", "M15 9V4H4v11h5"],
  down: ["M12 5v14", "m6 13 6 6 6-6"],
  download: ["M12 4v11", "m7 10 5 5 5-5", "M4 20h16"],
  edit: ["M4 20h4L19.5 8.5a2.8 2.8 0 0 0-4-4L4 16Z", "m13.5 6.5 4 4"],
  help: ["M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Z", "M9.5 9.5a2.6 2.6 0 1 1 3.7 2.3c-.8.4-1.2 1-1.2 1.9", "M12 17h.01"],
  info: ["M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Z", "M12 11v5", "M12 8h.01"],
  model: ["m12 3 8 4.5v9L12 21l-8-4.5v-9z", "m4 7.5 8 4.5 8-4.5", "M12 12v9"],
  more: ["M5 12h.01", "M12 12h.01", "M19 12h.01"],
  plus: ["M12 5v14", "M5 12h14"],
  retry: ["M20 12a8 8 0 1 1-2.4-5.7L20 8.5", "M20 4v4.5h-4.5"],
  search: ["M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14Z", "m16 16 4.5 4.5"],
  send: ["M12 19V5", "m6 11 6-6 6 6"],
  settings: ["M4 7h9", "M17 7h3", "M15 9.5v-5", "M4 17h3", "M11 17h9", "M9 14.5v5"],
  sidebar: ["M4 5h16v14H4z", "M9.5 5v14"],
  stop: ["M7 7h10v10H7z"],
  tool: ["M14.5 6.5a4 4 0 0 1 5-1L17 8l2 2a4 4 0 0 1-5.5 3l-6 6.5-3-3 6.5-6a4 4 0 0 1 3.5-4z"],
  trash: ["M4 7h16", "M9 7V4h6v3", "m6 7 1 13h10l1-13", "M10 11v5", "M14 11v5"],
  wrap: ["M4 6h16", "M4 12h13a3 3 0 0 1 0 6h-4", "m15.5 15.5-2.5 2.5 2.5 2.5", "M4 18h4"],
};

/**
 * Return a new icon, which assistive technology does not see: the button around it has a name.
 *
 * @param {keyof typeof PATHS} name
 * @returns {SVGElement}
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const attributes = {
    class: "icon",
    viewBox: "0 0 24 24",
    width: "20",
    height: "20",
    fill: "none",
    stroke: "currentColor",
    "stroke-width": "1.75",
    "stroke-linecap": "round",
    "stroke-linejoin": "round",
    "aria-hidden": "true",
  };
  for (const [attribute, value] of Object.entries(attributes)) svg.setAttribute(attribute, value);
  svg.dataset.icon = name;
  for (const d of PATHS[name]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}

/**
 * Return a button that shows only an icon.
 *
 * @param {string} className
 * @param {keyof typeof PATHS} name
 * @param {string} label
 * @param {() => void} [onClick]
 * @returns {HTMLButtonElement}
 */
export function iconButton(className, name, label, onClick) {
  const on = onClick ? { click: onClick } : {};
  return h("button", { type: "button", className: `icon-button ${className}`, "aria-label": label, title: label, on }, icon(name));
}
