import { useChat } from "@ai-sdk/react";
import { useEffect, useState } from "react";
import { MillraceTransport } from "./millrace.js";

const RESUME_MS = 500;

export function Chat({ id, sdk }) {
  const [transport] = useState(() => new MillraceTransport({ sdk }));
  const [draft, setDraft] = useState("");
  const [status, setStatus] = useState(null);
  const chat = useChat({
    id,
    transport,
    messages: JSON.parse(localStorage.getItem(id) ?? "[]"),
    resume: true,
    onData: (part) => {
      transport.noteData(part);
      if (part.type === "data-status") setStatus(part.data.status);
    },
    onFinish: (end) => transport.noteFinish(end),
  });
  const isBusy = chat.status === "submitted" || chat.status === "streaming";

  useEffect(() => {
    if (chat.messages.length > 0) localStorage.setItem(id, JSON.stringify(chat.messages));
  }, [id, chat.messages]);

  useEffect(() => {
    if (chat.status !== "error" || !transport.isInterrupted) return undefined;
    const timer = setTimeout(chat.resumeStream, RESUME_MS);
    return () => clearTimeout(timer);
  }, [transport, chat.status, chat.error, chat.resumeStream]);

  function send(event) {
    event.preventDefault();
    if (!draft.trim() || isBusy) return;
    chat.sendMessage({ text: draft });
    setDraft("");
  }

  return (
    <main>
      <ol>
        {chat.messages.map((message) => (
          <li key={message.id} className={message.role}>
            {message.parts.map((part, index) => (
              <Part key={index} part={part} />
            ))}
          </li>
        ))}
      </ol>
      <p role="status">{isBusy ? (chat.status === "submitted" ? "sending" : status) : chat.status}</p>
      {chat.error && !transport.isInterrupted && <p role="alert">{chat.error.message}</p>}
      <form onSubmit={send}>
        <textarea aria-label="Message" value={draft} onChange={(event) => setDraft(event.target.value)} />
        <button disabled={isBusy}>Send</button>
        <button type="button" disabled={!isBusy} onClick={() => transport.cancel(id)}>
          Stop
        </button>
        <button type="button" disabled={isBusy || chat.messages.length === 0} onClick={() => chat.regenerate()}>
          Retry
        </button>
      </form>
    </main>
  );
}

function Part({ part }) {
  if (part.type === "text") return <span>{part.text}</span>;
  if (part.type === "reasoning") return <em>{part.text}</em>;
  if (part.type === "source-url") return <a href={part.url}>{part.title ?? part.url}</a>;
  if (part.type === "data-suggestions") return <small>{part.data.suggestions.join(" · ")}</small>;
  return null;
}
