// One turn on the page: a question and its answer. Everything is inserted as text, so that no answer becomes markup.

const STATUS_TEXT = {
  queued: "Waiting to start",
  running: "Answering",
  searching: "Searching",
  retrying: "Retrying",
  completed: "Complete",
  cancelled: "Stopped",
};

// Returns a new turn: its element, which is not on the page yet, and its functions. `onSuggestion(text)` is called when a
// suggested question is chosen.
export function createTurn(question, onSuggestion) {
  const element = document.querySelector("#turn").content.cloneNode(true).firstElementChild;
  const answer = element.querySelector(".answer");
  const text = document.createTextNode("");
  const images = element.querySelector(".images");
  const status = element.querySelector(".status");
  element.querySelector(".question").textContent = question;
  answer.append(text);
  setStatus("queued");

  function setStatus(state, label = STATUS_TEXT[state] ?? state) {
    element.dataset.state = state;
    status.textContent = label;
  }

  function showSuggestions(questions) {
    const buttons = questions.map((suggestion) => {
      const button = document.createElement("button");
      button.type = "button";
      button.dir = "auto";
      button.textContent = suggestion;
      button.addEventListener("click", () => onSuggestion(suggestion));
      return button;
    });
    element.querySelector(".suggestions").replaceChildren(...buttons);
  }

  // Shows images of the answer: `{id}` each, of the generation of that id.
  function addImages(generation, added) {
    for (const { id } of added) {
      const image = document.createElement("img");
      image.alt = `Image ${images.childElementCount + 1} of the answer`;
      image.src = `api/generations/${encodeURIComponent(generation)}/images/${encodeURIComponent(id)}`;
      images.append(image);
    }
  }

  // Empties the turn for the events of an answer from its start. A screen reader reports the status while they arrive,
  // and reads the answer once it is whole.
  function restart() {
    text.data = "";
    images.replaceChildren();
    showSuggestions([]);
    setStatus("queued");
    answer.ariaLive = "polite";
    answer.ariaBusy = "true";
    status.setAttribute("role", "status");
  }

  function end() {
    answer.ariaBusy = "false";
  }

  function apply(event, generation) {
    const isAtEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 40;
    if (event.type === "status") setStatus(event.status);
    else if (event.type === "chunk") text.appendData(event.content);
    else if (event.type === "image") addImages(generation, [event]);
    else if (event.type === "snapshot") {
      text.data = event.content;
      images.replaceChildren();
      addImages(generation, event.images ?? []);
    }
    else if (event.type === "complete" && event.stop_reason === "max_tokens") setStatus("completed", "Complete (length limit reached)");
    else if (event.type === "complete") setStatus("completed");
    else if (event.type === "cancelled") setStatus("cancelled");
    else if (event.type === "error") setStatus("failed", `Failed: ${event.message}`);
    else if (event.type === "suggestions") showSuggestions(event.suggestions);
    if (isAtEnd) scrollTo(0, document.documentElement.scrollHeight);
  }

  // Shows a stored answer with its outcome; null if there is none.
  function showStored(stored) {
    if (stored === null) return setStatus("failed", "No answer was stored. Ask again.");
    apply({ type: "snapshot", content: stored.content, images: stored.images }, stored.generation);
    apply(stored.outcome);
    showSuggestions(stored.suggestions);
  }

  return { element, setStatus, restart, apply, end, showStored };
}
