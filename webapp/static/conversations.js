// The list of conversations beside the turns: open one, begin a new one, delete one.

import { call } from "./calls.js";

const SHOWN = 30;

// `onOpen(id)` is called with a conversation that is chosen, null for a new one; refusals go to `say(words)`.
export function listConversations({ onOpen, say }) {
  const list = document.querySelector("#conversations ol");
  let open = null;

  function mark(id) {
    open = id;
    for (const item of list.children) item.firstElementChild.ariaCurrent = item.dataset.id === id ? "page" : null;
  }

  function button(words, label, onClick) {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = words;
    if (label) made.ariaLabel = label;
    made.addEventListener("click", onClick);
    return made;
  }

  async function remove(id) {
    try {
      await call(`api/conversations/${id}`, { method: "DELETE" });
      if (open === id) onOpen(null);
      await refresh();
    } catch (refused) {
      say(refused.message);
    }
  }

  async function refresh() {
    try {
      const { conversations } = await call(`api/conversations?limit=${SHOWN}`);
      list.replaceChildren(
        ...conversations.map(({ id, title }) => {
          const item = document.createElement("li");
          const name = title ?? "Untitled";
          item.dataset.id = id;
          item.append(button(name, "", () => onOpen(id)), button("×", `Delete ${name}`, () => remove(id)));
          return item;
        }),
      );
      mark(open);
    } catch (refused) {
      if (refused.status !== 401) say(refused.message);
    }
  }

  document.querySelector("#new").addEventListener("click", () => onOpen(null));
  return { refresh, mark };
}

// Returns the conversation's title and turns, oldest first: `{question, answer}`, the answer being the newest that is
// stored to the question; and the generation that runs in it. A title belongs to the first turn.
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
