// A conversation as it is stored: its title, and its turns, page by page from the newest.

/** @import { Millrace, MessageSchema } from "../client.js" */

/**
 * @typedef {MessageSchema & {sources?: {title: string, url: string}[], latency?: {reasoning_ms?: number} | null}} StoredMessage
 *
 * @typedef {object} StoredTurn
 * @property {string} id - the question's
 * @property {string} question
 * @property {StoredMessage | null} answer - the newest one
 *
 * @typedef {object} TurnPage
 * @property {StoredTurn[]} turns - oldest first
 * @property {string | null} running - the generation that runs in the conversation
 * @property {string | null} older - null on the oldest page; otherwise `readPage(…, page.older, page.rest)` reads the one before
 * @property {StoredMessage[]} rest - answers whose questions are on an older page
 */

const MESSAGES_PER_PAGE = 40;

/**
 * Return the newest turns, and the conversation's title.
 *
 * @param {Millrace} millrace
 * @param {string} id
 * @returns {Promise<TurnPage & {title: string | null}>}
 */
export async function readNewest(millrace, id) {
  const [{ title }, page] = await Promise.all([millrace.call(`api/conversations/${id}`), readPage(millrace, id, null, [])]);
  return { title, ...page };
}

/**
 * Return a page of turns.
 *
 * @param {Millrace} millrace
 * @param {string} id
 * @param {string | null} older
 * @param {StoredMessage[]} rest
 * @returns {Promise<TurnPage>}
 */
export async function readPage(millrace, id, older, rest) {
  let messages = rest;
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

/** @param {StoredMessage} message */
function isQuestion({ role }) {
  return role === "user";
}

/**
 * @param {StoredMessage[]} messages
 * @returns {StoredTurn[]}
 */
function turnsOf(messages) {
  /** @type {Map<string | null, StoredTurn>} */
  const turns = new Map();
  for (const message of messages) {
    const turn = turns.get(message.parent_id);
    if (isQuestion(message)) turns.set(message.id, { id: message.id, question: message.content, answer: null });
    else if (turn) turn.answer = message;
  }
  return [...turns.values()];
}
