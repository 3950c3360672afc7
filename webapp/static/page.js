// The page: connects the address, the keys, the open conversation, the list of conversations and the connection.

import { Connection } from "./connection.js";
import { Conversation } from "./conversation.js";
import { ConversationList } from "./conversations.js";
import { clearFailure, showConnection, showFailure } from "./notices.js";

const COMPOSING_KEY_CODE = 229; // Safari ends a composition before the keydown of its Enter; only this code tells

const form = document.querySelector("#ask");
const input = document.querySelector("#question");
const sendButton = document.querySelector("#send");
const stopButton = document.querySelector("#stop");
const tabs = new BroadcastChannel(`millrace ${location.pathname}`);

const connection = new Connection({
  onFeed(event) {
    list.refresh();
    if (event.conversation_id === conversation.id && !conversation.knows(event)) conversation.refresh();
  },
  onMissed() {
    clearFailure("connection");
    refresh();
  },
  onConnection: showConnection,
  onRefused: (error) => showFailure("connection", error),
});

const conversation = new Conversation(connection, {
  onChange() {
    sendButton.disabled = !conversation.canAsk;
    stopButton.disabled = !conversation.canStop;
    list.markCurrent(conversation.id);
  },
  onEnd: focusIfIdle,
  onAbsent() {
    leave();
    showFailure("open", new Error("There is no such conversation. It may have been deleted."));
  },
  onSuggestion(text) {
    if (!conversation.canAsk) return;
    input.value = text;
    ask();
  },
});

const list = new ConversationList({
  onDelete(id) {
    if (id === conversation.id) leave();
  },
});

// The address names the open conversation in its hash, so that a reload, a bookmark and the history find it again.
function idInAddress() {
  return /^#[0-9a-f]{32}$/.test(location.hash) ? location.hash.slice(1) : null;
}

function showInAddress(id) {
  history.replaceState(null, "", id === null ? location.pathname + location.search : `#${id}`);
}

function open() {
  if (location.hash && idInAddress() === null) showInAddress(null);
  conversation.open(idInAddress());
  focusInput();
}

// Leaves a conversation that does not exist any more.
function leave() {
  showInAddress(null);
  open();
}

// Opens the connection only if there is a conversation: before the first one there is no owner, and no feed.
async function refresh() {
  conversation.refresh();
  await list.refresh();
  if (!list.isEmpty) connection.start();
}

async function ask() {
  const message = input.value;
  if (!message.trim() || !conversation.canAsk) return;
  input.value = "";
  const isFirst = list.isEmpty;
  if (!(await conversation.ask(message))) return void (input.value ||= message);
  if (idInAddress() === null) showInAddress(conversation.id);
  connection.start();
  if (isFirst) tabs.postMessage("The owner has a conversation.");
}

// On a phone the focus would open the keyboard over the answer.
function focusInput() {
  if (matchMedia("(pointer: fine)").matches) input.focus();
}

// Takes the focus only if nothing else uses it.
function focusIfIdle() {
  const focused = document.activeElement;
  if ((focused === document.body || form.contains(focused)) && getSelection().isCollapsed) focusInput();
}

// Whether a key belongs to an input method, such as the Enter that accepts a Japanese word.
function isComposing(event) {
  return event.isComposing || event.keyCode === COMPOSING_KEY_CODE;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
input.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || isComposing(event)) return;
  event.preventDefault();
  ask();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !isComposing(event) && !document.querySelector("dialog[open]")) conversation.stop();
});
stopButton.addEventListener("click", () => {
  conversation.stop();
  focusIfIdle();
});
document.querySelector("#new").addEventListener("click", () => {
  if (location.hash) history.pushState(null, "", location.pathname + location.search);
  open();
});
addEventListener("hashchange", open);
tabs.addEventListener("message", refresh);
open();
list.refresh().then(() => list.isEmpty || connection.start());
