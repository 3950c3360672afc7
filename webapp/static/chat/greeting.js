// The place of the first question in a chat on another page. That page may put its own words there, in the slot `greeting`.

import { h } from "../base/dom.js";
import { icon } from "../base/icons.js";
import { t } from "../base/strings.js";

export function createGreeting() {
  const usual = [
    h("span", { className: "greeting-mark" }, icon("chat")),
    h("h2", { className: "greeting-title" }, t.greeting),
    h("p", { className: "greeting-text" }, t.greetingText),
  ];
  return h("section", { className: "greeting", hidden: true }, h("slot", { name: "greeting" }, ...usual));
}
