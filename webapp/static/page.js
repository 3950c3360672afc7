// The page: asks questions in a conversation and cancels answers. After a reload it reopens the conversation and its stream.

import { call, createGeneration } from "./api.js";
import { follow } from "./client.js";
import { listConversations, readTurns } from "./conversations.js";
import { showTurn } from "./turns.js";

const RETRY_MS = 3000;

const turns = document.querySelector("#turns");
const form = document.querySelector("#ask");
const input = document.querySelector("#question");
const sendButton = document.querySelector("#send");
const stopButton = document.querySelector("#stop");
const notice = document.querySelector("#notice");

let conversation = null; // id of the open conversation; the URL's hash keeps it over a reload
let running = null; // id of the generation that is running in it
let following = new AbortController(); // aborted when another conversation is opened
let visit = 0; // incremented when the shown conversation changes: results of earlier calls are then ignored

function showNotice(text) {
  notice.textContent = text;
}

const list = listConversations({ onOpen: open, showNotice });

function addTurn(question) {
  return showTurn(turns, question, (suggestion) => {
    if (sendButton.disabled) return;
    input.value = suggestion;
    submit();
  });
}

function setRunning(id) {
  running = id;
  sendButton.disabled = id !== null;
  stopButton.disabled = id === null;
}

function setConversation(id) {
  conversation = id;
  history.replaceState(null, "", id === null ? location.pathname + location.search : `#${id}`);
  list.markCurrent(id);
}

async function followTurn(turn, id) {
  setRunning(id);
  const { signal } = following;
  try {
    await follow(`api/generations/${id}/events`, { onEvent: turn.apply, onConnection: turn.setConnected, signal });
  } catch (error) {
    if (signal.aborted) return;
    turn.setStatus("failed", error.status === 404 ? "This answer no longer exists." : `Failed: ${error.message}`);
  }
  if (running !== id) return;
  setRunning(null);
  list.refresh();
}

async function submit() {
  const message = input.value;
  if (!message.trim() || sendButton.disabled) return;
  const here = ++visit;
  sendButton.disabled = true;
  showNotice("");
  input.value = "";
  const turn = addTurn(message);
  try {
    const created = await createGeneration(conversation === null ? { message } : { message, conversation_id: conversation });
    if (here !== visit) return; // the user has opened another conversation; this one is in the list
    setConversation(created.conversation_id);
    followTurn(turn, created.id);
  } catch (error) {
    if (here !== visit) return;
    turn.remove();
    showNotice(error.message);
    input.value ||= message;
    sendButton.disabled = false;
  }
  list.refresh();
}

async function stop() {
  if (running === null) return;
  stopButton.disabled = true; // the stream shows when the generation has ended
  try {
    await call(`api/generations/${running}/cancel`, { method: "POST" });
  } catch (error) {
    showNotice(error.message);
    stopButton.disabled = running === null;
  }
}

// Opens a conversation, or an empty page for null.
async function open(id) {
  const here = ++visit;
  following.abort();
  following = new AbortController();
  setRunning(null);
  setConversation(id);
  turns.replaceChildren();
  showNotice("");
  input.focus();
  if (id === null) return;
  sendButton.disabled = true;
  try {
    const found = await readTurns(id);
    if (here !== visit) return;
    setRunning(null);
    found.turns.forEach(({ question, answer }, index) => {
      const turn = addTurn(question);
      if (index === 0 && found.title !== null) turn.setTitle(found.title);
      if (index === found.turns.length - 1 && found.running !== null) followTurn(turn, found.running);
      else if (answer !== null) turn.showStored(answer);
      else turn.setStatus("failed", "No answer was stored.");
    });
  } catch (error) {
    if (here !== visit) return;
    if (error.status === 404) return open(null);
    showNotice(error.message);
    setRunning(null);
    setTimeout(() => here === visit && open(id), RETRY_MS);
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
input.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    submit();
  }
});
stopButton.addEventListener("click", stop);
list.refresh();
open(/^#[0-9a-f]{32}$/.test(location.hash) ? location.hash.slice(1) : null);
