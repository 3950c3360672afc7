// The page: asks, shows what comes as text, stops, and finds its answers again after a reload.

import { follow } from "./follow.js";

const KEPT = "millrace.turns";
const MOST_KEPT = 20;
const TRIES = 3;

const turns = document.querySelector("#turns");
const form = document.querySelector("#ask");
const question = document.querySelector("#question");
const send = document.querySelector("#send");
const stopButton = document.querySelector("#stop");
const notice = document.querySelector("#notice");

let running = null; // the id of the generation that is being answered

const WORDS = {
  queued: "Waiting for a worker",
  running: "Answering",
  searching: "Searching",
  retrying: "Trying again",
  completed: "Complete",
  cancelled: "Stopped",
};

function kept() {
  try {
    const found = JSON.parse(localStorage.getItem(KEPT) ?? "[]");
    return Array.isArray(found) ? found : [];
  } catch {
    return [];
  }
}

function keep(list) {
  try {
    localStorage.setItem(KEPT, JSON.stringify(list.slice(-MOST_KEPT)));
  } catch {
    // no storage: a reload starts afresh
  }
}

function forget(id) {
  keep(kept().filter((turn) => turn.id !== id));
}

// One question and its answer on the page.
function show(asked) {
  const turn = document.querySelector("#turn").content.cloneNode(true).firstElementChild;
  const text = document.createTextNode(""); // only ever text: nothing in an answer can become markup
  const status = turn.querySelector(".status");
  turn.querySelector(".question").textContent = asked;
  turn.querySelector(".answer").append(text);
  turns.append(turn);

  function say(state, words = WORDS[state] ?? state) {
    turn.dataset.state = state;
    status.textContent = words;
  }

  function entitle(title) {
    const heading = turn.querySelector(".title");
    heading.textContent = title;
    heading.hidden = false;
  }

  function suggest(questions) {
    const buttons = questions.map((words) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = words;
      button.addEventListener("click", () => {
        if (send.disabled) return;
        question.value = words;
        ask();
      });
      return button;
    });
    turn.querySelector(".suggestions").replaceChildren(...buttons);
  }

  function apply(event) {
    const isAtEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 40;
    if (event.type === "status") say(event.status);
    else if (event.type === "chunk") text.appendData(event.content);
    else if (event.type === "snapshot") text.data = event.content;
    else if (event.type === "complete") say("completed", event.stop_reason === "max_tokens" ? "Complete, at its longest" : WORDS.completed);
    else if (event.type === "cancelled") say("cancelled");
    else if (event.type === "error") say("failed", `Failed: ${event.message}`);
    else if (event.type === "title") entitle(event.title);
    else if (event.type === "suggestions") suggest(event.suggestions);
    else if (event.type === "done") turn.querySelector(".answer").setAttribute("aria-busy", "false");
    if (isAtEnd) scrollTo(0, document.documentElement.scrollHeight);
  }

  say("queued");
  scrollTo(0, document.documentElement.scrollHeight);
  return { say, apply, remove: () => turn.remove() };
}

function setRunning(id) {
  running = id;
  send.disabled = id !== null;
  stopButton.disabled = id === null;
}

function attend(turn, { id, events_url }) {
  setRunning(id);
  const over = () => {
    if (running === id) setRunning(null);
  };
  follow(events_url, {
    onEvent: turn.apply,
    onEnd: over,
    onGone: () => {
      turn.say("failed", "This answer is gone.");
      forget(id);
      over();
    },
  });
}

async function problemOf(answer) {
  try {
    return (await answer.json()).detail;
  } catch {
    return `The server answers ${answer.status}.`;
  }
}

// The same key each time: whichever try got through, there is one generation.
async function post(message) {
  const key = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  for (let tries = 1; ; tries++) {
    let why = "The server can't be reached.";
    try {
      const answer = await fetch("api/generations", {
        method: "POST",
        headers: { "Content-Type": "application/json", "Idempotency-Key": key },
        body: JSON.stringify({ message }),
      });
      if (answer.ok) return await answer.json();
      why = await problemOf(answer);
      if (answer.status !== 503) throw new RangeError(why);
    } catch (error) {
      if (error instanceof RangeError) throw error;
    }
    if (tries === TRIES) throw new RangeError(why);
    await new Promise((resolve) => setTimeout(resolve, 1000 * tries));
  }
}

async function ask() {
  const message = question.value;
  if (!message.trim() || send.disabled) return;
  send.disabled = true;
  notice.textContent = "";
  question.value = "";
  const turn = show(message);
  try {
    const asked = await post(message);
    keep([...kept(), { id: asked.id, events_url: asked.events_url, question: message }]);
    attend(turn, asked);
  } catch (error) {
    turn.remove();
    notice.textContent = error.message;
    question.value ||= message;
    send.disabled = false;
  }
}

async function stop() {
  if (running === null) return;
  stopButton.disabled = true; // the stream itself says when it has stopped
  try {
    const answer = await fetch(`api/generations/${running}/cancel`, { method: "POST" });
    if (answer.ok) return;
    notice.textContent = await problemOf(answer);
  } catch {
    notice.textContent = "The server can't be reached.";
  }
  stopButton.disabled = running === null;
}

// An ended answer is shown as it stands; one that runs is followed from the start of its log.
async function resume({ id, events_url, question: asked }) {
  const turn = show(asked);
  let standing = null;
  try {
    const answer = await fetch(`api/generations/${id}`, { cache: "no-store" });
    if (answer.status === 404) {
      forget(id);
      turn.remove();
      return;
    }
    standing = answer.ok ? await answer.json() : null;
  } catch {
    // away: following waits for it
  }
  if (standing?.outcome && standing.content !== null) {
    turn.apply({ type: "snapshot", content: standing.content });
    turn.apply(standing.outcome);
    if (standing.title) turn.apply({ type: "title", title: standing.title });
    turn.apply({ type: "suggestions", suggestions: standing.suggestions });
    turn.apply({ type: "done" });
  } else {
    attend(turn, { id, events_url });
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    ask();
  }
});
stopButton.addEventListener("click", stop);
for (const turn of kept()) resume(turn);
