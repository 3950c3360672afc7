// One turn on the page: a question and its answer. Everything is inserted as text, so that no answer becomes markup.

const STATUS_TEXT = {
  queued: "Waiting for a worker",
  running: "Answering",
  searching: "Searching",
  retrying: "Retrying",
  completed: "Complete",
  cancelled: "Stopped",
};

// Appends a turn and returns its functions; calls `onSuggestion(text)` when a suggested question is chosen.
export function showTurn(turns, question, onSuggestion) {
  const turn = document.querySelector("#turn").content.cloneNode(true).firstElementChild;
  const answer = document.createTextNode("");
  const status = turn.querySelector(".status");
  let statusText = "";
  turn.querySelector(".question").textContent = question;
  turn.querySelector(".answer").append(answer);
  turns.append(turn);

  function setStatus(state, text = STATUS_TEXT[state] ?? state) {
    turn.dataset.state = state;
    statusText = status.textContent = text;
  }

  // The text so far stays; the status comes back with the connection.
  function setConnected(isConnected) {
    status.textContent = isConnected ? statusText : "Reconnecting";
  }

  function setTitle(title) {
    const heading = turn.querySelector(".title");
    heading.textContent = title;
    heading.hidden = false;
  }

  function showSuggestions(questions) {
    const buttons = questions.map((suggestion) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = suggestion;
      button.addEventListener("click", () => onSuggestion(suggestion));
      return button;
    });
    turn.querySelector(".suggestions").replaceChildren(...buttons);
  }

  function apply(event) {
    const isAtEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 40;
    if (event.type === "status") setStatus(event.status);
    else if (event.type === "chunk") answer.appendData(event.content);
    else if (event.type === "snapshot") answer.data = event.content;
    else if (event.type === "complete" && event.stop_reason === "max_tokens") setStatus("completed", "Complete (length limit reached)");
    else if (event.type === "complete") setStatus("completed");
    else if (event.type === "cancelled") setStatus("cancelled");
    else if (event.type === "error") setStatus("failed", `Failed: ${event.message}`);
    else if (event.type === "title") setTitle(event.title);
    else if (event.type === "suggestions") showSuggestions(event.suggestions);
    else if (event.type === "done") turn.querySelector(".answer").setAttribute("aria-busy", "false");
    if (isAtEnd) scrollTo(0, document.documentElement.scrollHeight);
  }

  // Shows a stored answer with its outcome.
  function showStored(stored) {
    apply({ type: "snapshot", content: stored.content });
    apply(stored.outcome);
    apply({ type: "suggestions", suggestions: stored.suggestions });
    apply({ type: "done" });
  }

  setStatus("queued");
  scrollTo(0, document.documentElement.scrollHeight);
  return { setStatus, setConnected, apply, showStored, setTitle, remove: () => turn.remove() };
}
