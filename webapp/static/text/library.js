// Loads the packages that read markdown, by their addresses: a page of another host may use these files, too.

import { Lexing } from "./lexing.js";

/**
 * Return the address of a file of an npm package.
 *
 * @param {string} path - such as `marked/lib/marked.esm.js`
 * @returns {string}
 */
export function asset(path) {
  return new URL(`../assets/${path}`, import.meta.url).href;
}

/** The packages; null where they are missing. @type {Promise<Lexing | null>} */
export const library = load();

/** @type {Lexing | null} */
let lexing = null;
library.then((loaded) => (lexing = loaded));

/** The packages if they have been loaded, else null. */
export function loadedLexing() {
  return lexing;
}

async function load() {
  try {
    const [marked, remend] = await Promise.all([import(asset("marked/lib/marked.esm.js")), import(asset("remend/dist/index.js"))]);
    return new Lexing(marked, remend.default);
  } catch (error) {
    console.warn("Answers are shown as plain text: the packages that read markdown are missing.", error);
    return null;
  }
}
