// The page's icons: lines on a grid of 24 by 24, in the colour of the text around them.

const SVG = "http://www.w3.org/2000/svg";

const PATHS = {
  alert: ["M12 4 2.5 20h19Z", "M12 10v4", "M12 17h.01"],
  bell: ["M6 16V11a6 6 0 0 1 12 0v5l1.5 2h-15z", "M10 21h4"],
  chat: ["M4 5h16v11H10l-5 4v-4H4z"],
  check: ["m5 12.5 4.5 4.5L19 7.5"],
  clock: ["M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17", "M12 7.5V12l3 2"],
  close: ["m6 6 12 12", "M18 6 6 18"],
  copy: ["M9 9h11v11H9z", "M15 9V4H4v11h5"],
  down: ["M12 5v14", "m6 13 6 6 6-6"],
  download: ["M12 4v11", "m7 10 5 5 5-5", "M4 20h16"],
  edit: ["M4 20h4L19.5 8.5a2.8 2.8 0 0 0-4-4L4 16Z", "m13.5 6.5 4 4"],
  external: ["M10 5H5v14h14v-5", "M14 4h6v6", "M20 4l-9 9"],
  globe: ["M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17", "M3.5 12h17", "M12 3.5c5 5 5 12 0 17-5-5-5-12 0-17"],
  help: ["M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Z", "M9.5 9.5a2.6 2.6 0 1 1 3.7 2.3c-.8.4-1.2 1-1.2 1.9", "M12 17h.01"],
  image: ["M4 5h16v14H4z", "m4 16 5-5 4 4 2.5-2.5L20 17", "M15 9h.01"],
  info: ["M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Z", "M12 11v5", "M12 8h.01"],
  keyboard: ["M3 6h18v12H3z", "M7 10h.01M11 10h.01M15 10h.01M17.5 10h.01", "M7 14h10"],
  menu: ["M4 5h16v14H4z", "M9.5 5v14"],
  model: ["m12 3 8 4.5v9L12 21l-8-4.5v-9z", "m4 7.5 8 4.5 8-4.5", "M12 12v9"],
  moon: ["M19.5 14A8 8 0 0 1 10 4.5a8 8 0 1 0 9.5 9.5z"],
  more: ["M5 12h.01", "M12 12h.01", "M19 12h.01"],
  newest: ["M12 5v14", "m6 13 6 6 6-6"],
  plus: ["M12 5v14", "M5 12h14"],
  queue: ["M4 6h16", "M4 12h10", "M4 18h10", "M18 13.5v6", "M15 16.5h6"],
  retry: ["M20 12a8 8 0 1 1-2.4-5.7L20 8.5", "M20 4v4.5h-4.5"],
  right: ["m9.5 6 6 6-6 6"],
  search: ["M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14Z", "m16 16 4.5 4.5"],
  send: ["M12 19V5", "m6 11 6-6 6 6"],
  settings: ["M4 7h9", "M17 7h3", "M15 9.5v-5", "M4 17h3", "M11 17h9", "M9 14.5v5"],
  sidebar: ["M4 5h16v14H4z", "M9.5 5v14"],
  stop: ["M7 7h10v10H7z"],
  sun: ["M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8", "M12 3v1.5M12 19.5V21M3 12h1.5M19.5 12H21", "m5.6 5.6 1.1 1.1M17.3 17.3l1.1 1.1M18.4 5.6l-1.1 1.1M6.7 17.3l-1.1 1.1"],
  thinking: ["M12 4c.8 5 3 7.2 8 8-5 .8-7.2 3-8 8-.8-5-3-7.2-8-8 5-.8 7.2-3 8-8z"],
  tool: ["M14.5 6.5a4 4 0 0 1 5-1L17 8l2 2a4 4 0 0 1-5.5 3l-6 6.5-3-3 6.5-6a4 4 0 0 1 3.5-4z"],
  trash: ["M4 7h16", "M9 7V4h6v3", "m6 7 1 13h10l1-13", "M10 11v5", "M14 11v5"],
  undo: ["M8 5 4 9l4 4", "M4 9h10a5.5 5.5 0 0 1 0 11H9"],
  upload: ["M12 16V5", "m7 9.5 5-5 5 5", "M5 20h14"],
  warning: ["M12 4 2.5 20h19Z", "M12 10v4", "M12 17h.01"],
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
