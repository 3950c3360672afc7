// A conversation as it is stored: its title, and its turns, page by page from the newest.

const MESSAGES_PER_PAGE = 40;

// Returns the newest turns, and the conversation's title and running generation, each of which may be null.
export async function readNewest(millrace, id) {
  const [{ title }, page] = await Promise.all([millrace.call(`api/conversations/${id}`), readPage(millrace, id, null, [])]);
  return { title, ...page };
}

// Returns a page of turns `{id, question, answer}`, oldest first; `id` is the question's, and `answer` is the newest one.
// `older` is null on the oldest page; otherwise `readPage(millrace, id, page.older, page.rest)` reads the page before it.
export async function readPage(millrace, id, older, rest) {
  let messages = rest; // answers whose questions are on an older page
  let running = null;
  do {
    const cursor = older === null ? "" : `&cursor=${encodeURIComponent(older)}`;
    const page = await millrace.call(`api/conversations/${id}/messages?limit=${MESSAGES_PER_PAGE}${cursor}`);
    messages = [...page.messages, ...messages];
    running ??= page.active_generation;
    older = page.next;
  } while (older !== null && !messages.some(isQuestion));
  const first = messages.findIndex(isQuestion);
  return { turns: turnsOf(messages), running, older, rest: first < 0 ? [] : messages.slice(0, first) };
}

function isQuestion({ role }) {
  return role === "user";
}

function turnsOf(messages) {
  const turns = new Map();
  for (const message of messages) {
    if (isQuestion(message)) turns.set(message.id, { id: message.id, question: message.content, answer: null });
    else if (turns.has(message.parent_id)) turns.get(message.parent_id).answer = message;
  }
  return [...turns.values()];
}
