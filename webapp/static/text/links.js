// The addresses that an answer may link to or show images of.

const SCHEMES = new Set(["http:", "https:", "mailto:"]);

/**
 * Return an absolute address with a harmless scheme; null for any other text.
 *
 * @param {string} text
 * @returns {string | null}
 */
export function safeAddress(text) {
  const url = parse(text);
  return url !== null && SCHEMES.has(url.protocol) ? url.href : null;
}

/**
 * Whether images of an address may be loaded.
 *
 * @param {string} address
 * @param {readonly string[]} origins - such as `https://images.example.org`
 */
export function isAllowedImage(address, origins) {
  const url = parse(address);
  return url !== null && url.protocol !== "mailto:" && origins.includes(url.origin);
}

/** @param {string} text */
function parse(text) {
  try {
    return new URL(text);
  } catch {
    return null; // relative, or no address at all
  }
}
