// Choices of this browser's user, kept in `localStorage` for each mount of the page; memory where that is not allowed.

/**
 * @typedef {object} Preferences
 * @property {"auto" | "light" | "dark"} theme
 * @property {"auto" | "on" | "off"} streaming - off: the page polls, as behind a proxy that buffers
 * @property {boolean} notifications - a notification when an answer is ready and the page is hidden
 * @property {boolean} wrap - code blocks wrap long lines
 * @property {string | null} model - null: the server's own choice
 * @property {boolean} isSidebarOpen - in the wide layout; a narrow one opens it for each use
 */

/** @type {Preferences} */
const DEFAULTS = { theme: "auto", streaming: "auto", notifications: false, wrap: false, model: null, isSidebarOpen: true };
const KEY = `millrace ${location.pathname}`;
const MAX_MODEL_CHARACTERS = 300;

/** @type {Record<keyof Preferences, (value: unknown) => boolean>} */
const ALLOWED = {
  theme: (value) => ["auto", "light", "dark"].includes(/** @type {string} */ (value)),
  streaming: (value) => ["auto", "on", "off"].includes(/** @type {string} */ (value)),
  notifications: isBoolean,
  wrap: isBoolean,
  model: (value) => value === null || (typeof value === "string" && value !== "" && value.length <= MAX_MODEL_CHARACTERS),
  isSidebarOpen: isBoolean,
};

const listeners = new Set();
let current = { ...DEFAULTS, ...read() };

/** @returns {Readonly<Preferences>} */
export function preferences() {
  return current;
}

/** @param {Partial<Preferences>} changes */
export function setPreferences(changes) {
  current = { ...current, ...changes };
  try {
    localStorage.setItem(KEY, JSON.stringify(current));
  } catch {
    // storage is full or not allowed: the choice lasts as long as the page
  }
  for (const listener of listeners) listener(current);
}

/**
 * Call `listener` now and after each change, in this tab or another one.
 *
 * @param {(preferences: Readonly<Preferences>) => void} listener
 */
export function onPreferences(listener) {
  listeners.add(listener);
  listener(current);
}

// Anything may stand in storage: another version's record, or another program's.
function read() {
  try {
    const stored = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return Object.fromEntries(Object.entries(ALLOWED).flatMap(([name, isAllowed]) => (isAllowed(stored[name]) ? [[name, stored[name]]] : [])));
  } catch {
    return {};
  }
}

/** @param {unknown} value */
function isBoolean(value) {
  return typeof value === "boolean";
}

addEventListener("storage", ({ key }) => {
  if (key !== KEY) return;
  current = { ...DEFAULTS, ...read() };
  for (const listener of listeners) listener(current);
});
