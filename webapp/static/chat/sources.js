// The web pages that an answer is built on, as cards.

import { h } from "../base/dom.js";

/**
 * Return the address of a web page, or null for anything else, such as `javascript:`.
 *
 * @param {unknown} address
 */
export function webAddress(address) {
  try {
    const url = new URL(String(address));
    return ["http:", "https:"].includes(url.protocol) ? url : null;
  } catch {
    return null;
  }
}

/**
 * Return the sources of an answer, each once: the pages of its context, then those of its citations.
 *
 * @param {{readonly sources?: readonly {title: string, url: string}[]} | null} context
 * @param {readonly any[]} citations - see `citation` in events.d.ts
 * @returns {{title: string, url: string | null}[]}
 */
export function sourcesOf(context, citations) {
  const cited = citations.map(({ title, source, location }) => {
    const url = location?.web?.url ?? (webAddress(source) ? source : null);
    return { title: title ?? (url === null ? source : null) ?? "", url };
  });
  /** @type {Map<string, {title: string, url: string | null}>} */
  const sources = new Map();
  for (const { title, url } of [...(context?.sources ?? []), ...cited]) {
    const name = String(url ?? title);
    if (name !== "" && !sources.has(name)) sources.set(name, { title: String(title ?? ""), url: url ?? null });
  }
  return [...sources.values()];
}

export class SourcesView {
  element = h("ul", { className: "sources", hidden: true });
  #shown = "";

  /** @param {ReturnType<typeof sourcesOf>} sources */
  show(sources) {
    const shown = JSON.stringify(sources);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.element.hidden = sources.length === 0;
    this.element.replaceChildren(...sources.map((each) => h("li", {}, cardOf(each))));
  }
}

/** @param {ReturnType<typeof sourcesOf>[number]} source */
function cardOf({ title, url }) {
  const address = url === null ? null : webAddress(url);
  const host = address?.hostname.replace(/^www\./, "");
  const name = h("span", { className: "card-title", dir: "auto" }, title || host || String(url));
  if (!address) return h("span", { className: "card" }, name);
  const link = { className: "card", href: address.href, target: "_blank", rel: "noopener noreferrer nofollow" };
  return h("a", link, name, h("span", { className: "card-host", dir: "ltr" }, host));
}
