"""Ask one question and print the answer as it comes; a dropped connection is resumed where it was."""

import http.client
import json
import sys
import time
import uuid
from collections.abc import Iterator
from http.cookies import SimpleCookie
from typing import Any, TextIO
from urllib.parse import urlsplit

SILENCE_SECONDS = 45.0  # three heartbeats: the connection is dead
PATIENCE_SECONDS = 60.0  # without any event or connection, after which it gives up
OUTCOMES = ("complete", "cancelled", "error")
DROPS = (OSError, http.client.HTTPException)

Event = dict[str, Any]


class Unanswered(Exception):
    """The server refused, or was gone for too long; the text says which."""


class Conversation:
    """One question on its way: knows its cookie, its generation and the last event that it has seen."""

    def __init__(self, url: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._address = urlsplit(url)
        self._patience = patience_seconds
        self._cookies: dict[str, str] = {}
        self._generation = ""
        self._cursor = ""
        self._retry_seconds = 1.0

    def events(self, question: str) -> Iterator[Event]:
        """Yield each event once, up to `done`; raises Unanswered."""
        body = json.dumps({"message": question, "stream": True})
        headers = {"Content-Type": "application/json", "Idempotency-Key": uuid.uuid4().hex}
        lost = time.monotonic() + self._patience
        while True:
            try:
                if self._generation:
                    answer = self._request("GET", f"/api/generations/{self._generation}/events", None, {})
                else:
                    answer = self._request("POST", "/api/generations", body, headers)
                if answer is None:
                    return
                for event in self._read(answer):
                    lost = time.monotonic() + self._patience
                    yield event
                    if event.get("type") == "done":
                        return
            except DROPS as error:
                if time.monotonic() > lost:
                    raise Unanswered(f"no connection to the server: {error}") from error
            if time.monotonic() > lost:
                raise Unanswered("the server sends nothing")
            time.sleep(self._retry_seconds)

    def _request(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> Any:
        """Return an open event stream, None when nothing will come any more; raises Unanswered, or a drop."""
        connection = http.client.HTTPConnection(
            self._address.hostname or "", self._address.port, timeout=SILENCE_SECONDS
        )
        headers = {**headers, "Accept": "text/event-stream"}
        if self._cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        if self._cursor:
            headers["Last-Event-ID"] = self._cursor
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        for line in answer.headers.get_all("Set-Cookie", []):
            self._cookies.update({name: morsel.value for name, morsel in SimpleCookie(line).items()})
        self._generation = answer.headers.get("Millrace-Generation-Id") or self._generation
        if answer.status == 204:
            return None
        if answer.status == 200:
            return answer
        if answer.status == 503 and self._generation:
            raise ConnectionError("the server is busy")
        raise Unanswered(f"the server answers {answer.status}: {_detail(answer.read(65_536))}")

    def _read(self, answer: http.client.HTTPResponse) -> Iterator[Event]:
        """Yield the whole frames of a stream; a half one is thrown away and comes again."""
        cursor, data = "", ""
        with answer:
            while line := answer.readline().decode("utf-8"):
                name, _, value = line.rstrip("\r\n").partition(": ")
                if name == "id":
                    cursor = value
                elif name == "data":
                    data = value
                elif name == "retry" and value.isdigit():
                    self._retry_seconds = min(int(value) / 1000, 10.0)
                elif not name and data:
                    self._cursor = cursor or self._cursor
                    event = json.loads(data)
                    self._generation = event.get("generation") or self._generation
                    yield event
                    data = ""


def ask(url: str, question: str, out: TextIO | None = None, aside: TextIO | None = None) -> int:
    """Print the answer to a question as it comes; returns 0 when it is complete, else 1 with the outcome told aside.

    They are standard output and standard error where they aren't given.
    """
    printed: str = ""
    outcome: Event | None = None
    try:
        for event in Conversation(url).events(question):
            kind = event.get("type")
            if kind == "chunk":
                printed += _show(out, event["content"])
            elif kind == "snapshot":
                printed = _replace(out, printed, event["content"])
            elif kind in OUTCOMES:
                outcome = event
    except Unanswered as error:
        outcome = {"type": "error", "message": str(error)}
    print(file=out, flush=True)
    if outcome and outcome["type"] == "complete":
        return 0
    print(f"not complete: {json.dumps(outcome)}", file=aside or sys.stderr, flush=True)
    return 1


def _replace(out: TextIO | None, printed: str, content: str) -> str:
    """What is printed can't be taken back: go on where the new text begins with it, else begin again below a line."""
    if content.startswith(printed):
        _show(out, content[len(printed) :])
    else:
        _show(out, "\n--- again from the start ---\n" + content)
    return content


def _show(out: TextIO | None, text: str) -> str:
    # A lone surrogate can't be written, nor most else to a terminal without UTF-8.
    encoding = getattr(out or sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), end="", file=out, flush=True)
    return text


def _detail(body: bytes) -> str:
    try:
        problem = json.loads(body)
        return f"{problem.get('detail') or problem.get('title')} ({problem.get('code')})"
    except (ValueError, AttributeError):
        return body.decode("utf-8", "replace")[:300]
