// The images of an answer.

import { h } from "../base/dom.js";

/**
 * Return the element of an image. An `<img>` sends cookies only: where requests need headers, such as a bearer token, the
 * image is fetched with them.
 *
 * @param {import("../client.js").Millrace} millrace
 * @param {string} path
 * @param {string} alt
 * @returns {HTMLImageElement}
 */
export function imageOf(millrace, path, alt) {
  const image = h("img", { alt });
  load(millrace, path, image).catch(() => {}); // the alternative text stays
  return image;
}

/**
 * @param {import("../client.js").Millrace} millrace
 * @param {string} path
 * @param {HTMLImageElement} image
 */
async function load(millrace, path, image) {
  const headers = await millrace.headers();
  const url = millrace.url(path);
  if (Object.keys(headers).length === 0) {
    if (new URL(url, document.baseURI).origin !== location.origin) image.crossOrigin = "use-credentials";
    image.src = url;
    return;
  }
  const response = await fetch(url, { headers, credentials: "omit" });
  if (!response.ok) return;
  const address = URL.createObjectURL(await response.blob());
  const revoke = () => URL.revokeObjectURL(address);
  image.addEventListener("load", revoke, { once: true });
  image.addEventListener("error", revoke, { once: true });
  image.src = address;
}
