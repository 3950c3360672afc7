// The questions that wait for the running answer, above the box: each can be edited, sent now or withdrawn.

import { h } from "../base/dom.js";
import { iconButton } from "../base/icons.js";
import { t } from "../base/strings.js";

/** @typedef {import("./unsent.js").Queued} Queued */

export class QueueView {
  element = h("ol", { className: "queue", "aria-label": t.waitingQuestions, hidden: true });
  #shown = "";
  #handlers;

  /** @param {{onEdit: (queued: Queued) => void, onSendNow: (queued: Queued) => void, onWithdraw: (queued: Queued) => void}} handlers */
  constructor(handlers) {
    this.#handlers = handlers;
  }

  /** @param {Queued[]} all */
  show(all) {
    const queue = all.filter(({ state }) => state !== "sending");
    const shown = JSON.stringify(queue);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.element.hidden = queue.length === 0;
    this.element.replaceChildren(...queue.map((each) => this.#item(each)));
  }

  /** @param {Queued} queued */
  #item(queued) {
    const { onEdit, onSendNow, onWithdraw } = this.#handlers;
    return h(
      "li",
      { className: "queued", dataset: { state: queued.state === "held" ? "held" : "waiting" } },
      h("span", { className: "queued-label" }, queued.state === "held" ? t.waitingHeld : t.waitingNext),
      h("p", { className: "queued-text", dir: "auto" }, queued.text),
      h(
        "div",
        { className: "buttons" },
        iconButton("queued-edit", "edit", t.editQueued, () => onEdit(queued)),
        iconButton("queued-send", "send", t.sendQueuedNow, () => onSendNow(queued)),
        iconButton("queued-withdraw", "close", t.withdrawQueued, () => onWithdraw(queued)),
      ),
    );
  }
}
