import { useEffect, useState } from "react";
import { useMillrace } from "./useMillrace.js";

// The conversation's id is in the address, so that a reload and a second tab find it again.
export function Chat() {
  const [conversation] = useState(() => location.hash.slice(1) || null);
  const chat = useMillrace({ base: "/", conversation });
  const [draft, setDraft] = useState("");

  useEffect(() => {
    if (chat.conversation !== null) history.replaceState(null, "", `#${chat.conversation}`);
  }, [chat.conversation]);

  async function send(event) {
    event.preventDefault();
    if (!draft.trim() || chat.isBusy) return;
    setDraft("");
    if (!(await chat.ask(draft))) setDraft(draft);
  }

  return (
    <main>
      <ol>
        {chat.messages.map(({ id, role, content }) => (
          <li key={id} className={role}>
            <span>{content}</span>
          </li>
        ))}
      </ol>
      <p role="status">{chat.status}</p>
      {chat.error && <p role="alert">{chat.error.message}</p>}
      <form onSubmit={send}>
        <textarea aria-label="Message" value={draft} onChange={(event) => setDraft(event.target.value)} />
        <button disabled={chat.isBusy}>Send</button>
        <button type="button" disabled={!chat.canStop} onClick={chat.stop}>
          Stop
        </button>
        <button type="button" disabled={!chat.canRetry} onClick={chat.retry}>
          Retry
        </button>
      </form>
    </main>
  );
}
