// A new conversation before its first question: a greeting, and examples that can be asked with one click.

import { h } from "../base/dom.js";
import { t } from "../base/strings.js";

/** @param {(question: string) => void} onAsk */
export function createWelcome(onAsk) {
  const examples = t.examples.map((question) =>
    h("button", { type: "button", className: "chip example", dir: "auto", on: { click: () => onAsk(question) } }, question),
  );
  return h(
    "section",
    { className: "welcome", "aria-labelledby": "welcome-title" },
    h("h2", { id: "welcome-title", className: "welcome-title" }, t.welcome),
    h("p", { className: "welcome-text" }, t.welcomeText),
    h("div", { className: "examples" }, ...examples),
  );
}
