// The facts that the assistant has learned about its user: each can be deleted, and all of them.

import { h } from "../../base/dom.js";
import { iconButton } from "../../base/icons.js";
import { t } from "../../base/strings.js";
import { confirm } from "../confirm.js";

/** @param {import("../../client.js").Millrace} millrace */
export function createMemories(millrace) {
  const list = h("ul", { className: "memories" });
  const state = h("p", { className: "empty memories-empty", role: "status" }, t.loading);
  const more = h("button", { type: "button", className: "memories-more", hidden: true }, t.showMore);
  const deleteAll = h("button", { type: "button", className: "danger memories-delete-all", hidden: true }, t.deleteMemories);
  /** @type {string | null} */
  let next = "";

  const show = (message = "") => {
    const isEmpty = !list.childElementCount;
    state.textContent = message || (isEmpty ? t.noMemories : "");
    state.hidden = !state.textContent;
    more.hidden = next === null;
    deleteAll.hidden = isEmpty;
  };
  const attempt = async (/** @type {() => Promise<void>} */ action) => {
    try {
      await action();
      show();
    } catch (/** @type {any} */ error) {
      show(error.message);
    }
  };
  const load = () =>
    attempt(async () => {
      const page = await millrace.call(`api/memories${next ? `?cursor=${encodeURIComponent(next)}` : ""}`);
      list.append(...page.memories.map(createMemory));
      next = page.next;
    });
  const createMemory = (/** @type {{id: string, content: string}} */ { id, content }) => {
    const forget = () =>
      attempt(async () => {
        await millrace.call(`api/memories/${id}`, { method: "DELETE" });
        const neighbour = item.nextElementSibling ?? item.previousElementSibling;
        item.remove();
        (neighbour?.querySelector("button") ?? list.closest("dialog")?.querySelector("button"))?.focus();
      });
    const item = h(
      "li",
      { className: "memory" },
      h("span", { className: "memory-text", dir: "auto" }, content),
      iconButton("memory-delete", "trash", t.deleteNamed(content), forget),
    );
    return item;
  };
  more.addEventListener("click", load);
  deleteAll.addEventListener("click", async () => {
    if (!(await confirm(t.confirmDeleteMemories, t.deleteMemories))) return;
    attempt(async () => {
      await millrace.call("api/memories", { method: "DELETE" });
      list.replaceChildren();
      next = null;
    });
  });
  load();
  return h(
    "fieldset",
    { className: "fields", dataset: { section: "memories" } },
    h("legend", {}, t.memories),
    h("p", { className: "field-hint" }, t.memoriesHint),
    list,
    state,
    h("div", { className: "actions" }, more, deleteAll),
  );
}
