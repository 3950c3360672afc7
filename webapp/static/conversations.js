// The list of conversations: open one, start a new one, delete one.

import { call } from "./api.js";

const MAX_SHOWN = 30;

// Calls `onOpen(id)` when a conversation is chosen, with null for a new one, and `showNotice(text)` on errors.
export function listConversations({ onOpen, showNotice }) {
  const list = document.querySelector("#conversations ol");
  let current = null;

  function markCurrent(id) {
    current = id;
    for (const item of list.children) item.firstElementChild.ariaCurrent = item.dataset.id === id ? "page" : null;
  }

  function createButton(text, label, onClick) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    if (label) button.ariaLabel = label;
    button.addEventListener("click", onClick);
    return button;
  }

  async function remove(id) {
    try {
      await call(`api/conversations/${id}`, { method: "DELETE" });
      if (current === id) onOpen(null);
      await refresh();
    } catch (error) {
      showNotice(error.message);
    }
  }

  async function refresh() {
    try {
      const { conversations } = await call(`api/conversations?limit=${MAX_SHOWN}`);
      list.replaceChildren(
        ...conversations.map(({ id, title }) => {
          const item = document.createElement("li");
          const name = title ?? "Untitled";
          item.dataset.id = id;
          item.append(createButton(name, "", () => onOpen(id)), createButton("×", `Delete ${name}`, () => remove(id)));
          return item;
        }),
      );
      markCurrent(current);
    } catch (error) {
      if (error.status !== 401) showNotice(error.message);
    }
  }

  document.querySelector("#new").addEventListener("click", () => onOpen(null));
  return { refresh, markCurrent };
}

// Returns a conversation's title, its turns and the id of its running generation. Turns are `{question, answer}`, oldest
// first, with the newest stored answer to the question. The title is null if the first turn is not among them.
export async function readTurns(id) {
  const [{ title }, { messages, next, active_generation }] = await Promise.all([
    call(`api/conversations/${id}`),
    call(`api/conversations/${id}/messages?limit=100`),
  ]);
  const turns = new Map();
  for (const message of messages) {
    if (message.role === "user") turns.set(message.id, { question: message.content, answer: null });
    else if (turns.has(message.parent_id)) turns.get(message.parent_id).answer = message;
  }
  return { title: next === null ? title : null, turns: [...turns.values()], running: active_generation };
}
