// The tools that a model has used for an answer: name, input and result of each, folded.

import { h } from "../base/dom.js";
import { icon } from "../base/icons.js";
import { t } from "../base/strings.js";

export class ToolsView {
  element = h("div", { className: "tools", hidden: true });
  /** @type {Map<string, {element: HTMLDetailsElement, result: HTMLPreElement}>} */
  #shown = new Map(); // by id of the use: its view

  /** @param {readonly any[]} events - `tool_use` and `tool_result`, see events.d.ts */
  show(events) {
    if (events.length === 0 && this.#shown.size > 0) {
      this.#shown.clear();
      this.element.replaceChildren();
    }
    this.element.hidden = events.length === 0;
    for (const event of events) {
      if (event.type === "tool_result" || event.name === undefined) this.#showResult(event);
      else if (!this.#shown.has(event.id)) this.#showUse(event);
    }
  }

  /** The answer has ended: a tool of the client's side has no result. */
  finish() {
    for (const { element } of this.#shown.values()) if (element.dataset.state === "running") element.dataset.state = "done";
  }

  /** @param {import("../client.js").ToolUse} use */
  #showUse({ id, name, input }) {
    const result = h("pre", { className: "tool-result", tabIndex: 0, hidden: true });
    const element = h(
      "details",
      { className: "tool", dataset: { state: "running" } },
      h("summary", { className: "tool-name" }, icon("tool"), t.usedTool(name)),
      h("pre", { className: "tool-input", tabIndex: 0, "aria-label": t.toolInput }, textOf(input)),
      result,
    );
    this.#shown.set(id, { element, result });
    this.element.append(element);
  }

  /** @param {import("../client.js").ToolResult} result */
  #showResult({ id, content, status }) {
    const shown = this.#shown.get(id);
    if (!shown || !shown.result.hidden) return;
    shown.element.dataset.state = status === "error" ? "failed" : "done";
    shown.result.textContent = content.map((/** @type {any} */ each) => each?.text ?? textOf(each?.json ?? each)).join("\n");
    shown.result.ariaLabel = t.toolResult;
    shown.result.hidden = false;
  }
}

/** @param {unknown} value */
function textOf(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}
