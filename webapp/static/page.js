// The page: asks within a conversation, stops, and after a reload finds the conversation and the stream that runs in it.

import { ask, call } from "./calls.js";
import { listConversations, readTurns } from "./conversations.js";
import { follow } from "./follow.js";
import { showTurn } from "./turns.js";

const AGAIN_MS = 3000;

const turns = document.querySelector("#turns");
const form = document.querySelector("#ask");
const question = document.querySelector("#question");
const send = document.querySelector("#send");
const stopButton = document.querySelector("#stop");
const notice = document.querySelector("#notice");

let conversation = null; // the id of the one that is shown; the address keeps it over a reload
let running = null; // the id of the generation that is being answered
let leave = () => {}; // stops following it
let visit = 0; // counts up with every conversation that is opened

function say(words) {
  notice.textContent = words;
}

const list = listConversations({ onOpen: open, say });

function show(asked) {
  return showTurn(turns, asked, (words) => {
    if (send.disabled) return;
    question.value = words;
    submit();
  });
}

function setRunning(id) {
  running = id;
  send.disabled = id !== null;
  stopButton.disabled = id === null;
}

function setConversation(id) {
  conversation = id;
  history.replaceState(null, "", id === null ? location.pathname + location.search : `#${id}`);
  list.mark(id);
}

function attend(turn, id) {
  setRunning(id);
  const over = () => {
    if (running !== id) return;
    setRunning(null);
    list.refresh();
  };
  leave = follow(`api/generations/${id}/events`, {
    onEvent: turn.apply,
    onEnd: over,
    onGone: () => {
      turn.say("failed", "This answer is gone.");
      over();
    },
  });
}

async function submit() {
  const message = question.value;
  if (!message.trim() || send.disabled) return;
  const here = ++visit; // what is still to be read of the conversation is not waited for any more
  send.disabled = true;
  say("");
  question.value = "";
  const turn = show(message);
  try {
    const asked = await ask(conversation === null ? { message } : { message, conversation_id: conversation });
    if (here !== visit) return; // another conversation is shown by now; this one is in the list
    setConversation(asked.conversation_id);
    attend(turn, asked.id);
  } catch (refused) {
    if (here !== visit) return;
    turn.remove();
    say(refused.message);
    question.value ||= message;
    send.disabled = false;
  }
  list.refresh();
}

async function stop() {
  if (running === null) return;
  stopButton.disabled = true; // the stream itself says when it has stopped
  try {
    await call(`api/generations/${running}/cancel`, { method: "POST" });
  } catch (refused) {
    say(refused.message);
    stopButton.disabled = running === null;
  }
}

// Shows a conversation, or an empty page for a new one.
async function open(id) {
  const here = ++visit;
  leave();
  setRunning(null);
  setConversation(id);
  turns.replaceChildren();
  say("");
  question.focus();
  if (id === null) return;
  send.disabled = true;
  try {
    const found = await readTurns(id);
    if (here !== visit) return;
    setRunning(null);
    found.turns.forEach(({ question: asked, answer }, place) => {
      const turn = show(asked);
      if (place === 0 && found.title !== null) turn.entitle(found.title);
      if (place === found.turns.length - 1 && found.running !== null) attend(turn, found.running);
      else if (answer !== null) turn.stand(answer);
      else turn.say("failed", "No answer is stored.");
    });
  } catch (refused) {
    if (here !== visit) return;
    if (refused.status === 404) return open(null);
    say(refused.message);
    setRunning(null);
    setTimeout(() => here === visit && open(id), AGAIN_MS);
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    submit();
  }
});
stopButton.addEventListener("click", stop);
list.refresh();
open(/^#[0-9a-f]{32}$/.test(location.hash) ? location.hash.slice(1) : null);
