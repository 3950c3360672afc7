// One question and its answer on the page. Only ever text: nothing in an answer can become markup.

const WORDS = {
  queued: "Waiting for a worker",
  running: "Answering",
  searching: "Searching",
  retrying: "Trying again",
  completed: "Complete",
  cancelled: "Stopped",
};

// Shows a question below the others; `onSuggestion(words)` is called when one of the next questions is chosen.
export function showTurn(turns, asked, onSuggestion) {
  const turn = document.querySelector("#turn").content.cloneNode(true).firstElementChild;
  const text = document.createTextNode("");
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
      button.addEventListener("click", () => onSuggestion(words));
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

  // A stored answer, as it stands.
  function stand(answer) {
    apply({ type: "snapshot", content: answer.content });
    apply(answer.outcome);
    apply({ type: "suggestions", suggestions: answer.suggestions });
    apply({ type: "done" });
  }

  say("queued");
  scrollTo(0, document.documentElement.scrollHeight);
  return { say, apply, stand, entitle, remove: () => turn.remove() };
}
