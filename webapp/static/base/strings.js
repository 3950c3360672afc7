// The texts of the page in the user's language; English where a translation or one of its texts is missing.

import english from "./strings/en.js";

/** @type {typeof english} */
export const t = { ...english };

/**
 * Use another language from now on: its file is `strings/<tag>.js`, or that of the tag's first part.
 *
 * @param {string} tag - as in `<html lang>`, such as `de` or `pt-BR`
 */
export async function useLanguage(tag) {
  for (const name of [tag, tag.split("-")[0]]) {
    if (!/^[A-Za-z-]+$/.test(name) || name === "en") return;
    try {
      Object.assign(t, (await import(`./strings/${name}.js`)).default);
      return;
    } catch {
      // there is no such file: the next one, or English
    }
  }
}
