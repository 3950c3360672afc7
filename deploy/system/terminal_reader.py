"""The reader behind `run.py --ask`: prints one answer as it comes, and resumes after a dropped connection."""

import http.client
import json
import re
import sys
import time
import uuid
from collections.abc import Iterator
from http.cookies import SimpleCookie
from typing import Any, TextIO
from urllib.parse import urlsplit

from deploy.errors import NoAnswer

SILENCE_SECONDS = 37.5  # two and a half heartbeats at their default: the connection is dead
PATIENCE_SECONDS = 60.0  # without an event or a connection, after which the reader gives up
OUTCOMES = ("complete", "cancelled", "error")
DROPS = (OSError, http.client.HTTPException)
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # with them an answer could rewrite what a terminal shows

Event = dict[str, Any]


class TerminalReader:
    """Reads the events of one generation; keeps its cookies, its id and the cursor behind the last event."""

    def __init__(self, url: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._address = urlsplit(url)
        self._patience = patience_seconds
        self._cookies: dict[str, str] = {}
        self._generation = ""
        self._cursor = ""
        self._retry_seconds = 1.0

    def events(self, question: str) -> Iterator[Event]:
        """Yield each event once, up to `done`; raises NoAnswer."""
        body = json.dumps({"message": question, "stream": True})
        headers = {"Content-Type": "application/json", "Idempotency-Key": uuid.uuid4().hex}
        deadline = time.monotonic() + self._patience
        while True:
            try:
                if self._generation:
                    response = self._request("GET", f"/api/generations/{self._generation}/events", None, {})
                else:
                    response = self._request("POST", "/api/generations", body, headers)
                if response is None:
                    return
                for event in self._read(response):
                    deadline = time.monotonic() + self._patience
                    yield event
                    if event.get("type") == "done":
                        return
            except DROPS as error:
                if time.monotonic() > deadline:
                    raise NoAnswer(f"no connection to the server: {error}") from error
            if time.monotonic() > deadline:
                raise NoAnswer("the server sends nothing")
            time.sleep(self._retry_seconds)

    def _request(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> Any:
        """Return an open event stream, or None when the stream has ended; raises NoAnswer, or one of DROPS."""
        connection = http.client.HTTPConnection(
            self._address.hostname or "", self._address.port, timeout=SILENCE_SECONDS
        )
        headers = {**headers, "Accept": "text/event-stream"}
        if self._cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        if self._cursor:
            headers["Last-Event-ID"] = self._cursor
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        for line in response.headers.get_all("Set-Cookie", []):
            self._cookies.update({name: morsel.value for name, morsel in SimpleCookie(line).items()})
        self._generation = response.headers.get("Millrace-Generation-Id") or self._generation
        if response.status == 204:
            return None
        if response.status == 200:
            return response
        if response.status == 503 and self._generation:
            raise ConnectionError("the server is busy")
        raise NoAnswer(f"the server answers {response.status}: {_detail(response.read(65_536))}")

    def _read(self, response: http.client.HTTPResponse) -> Iterator[Event]:
        """Yield the events of a stream's whole frames, without its heartbeats.

        An incomplete frame is dropped, and comes again after a resume.
        """
        cursor, data, is_heartbeat = "", "", False
        with response:
            while line := response.readline().decode("utf-8"):
                name, _, value = line.rstrip("\r\n").partition(": ")
                if name == "id":
                    cursor = value
                elif name == "event":
                    is_heartbeat = True
                elif name == "data":
                    data = value
                elif name == "retry" and value.isdigit():
                    self._retry_seconds = min(int(value) / 1000, 10.0)
                elif not name:
                    if data and not is_heartbeat:
                        self._cursor = cursor or self._cursor
                        event = json.loads(data)
                        self._generation = event.get("generation") or self._generation
                        yield event
                    data, is_heartbeat = "", False


def ask(url: str, question: str, out: TextIO | None = None, err: TextIO | None = None) -> int:
    """Print the answer to a question as it comes; returns 0 when it is complete, else 1 with the outcome on `err`.

    `out` and `err` are standard output and standard error by default.
    """
    printed: str = ""
    outcome: Event | None = None
    try:
        for event in TerminalReader(url).events(question):
            kind = event.get("type")
            if kind == "chunk":
                printed += _print_text(out, event["content"])
            elif kind == "snapshot":
                printed = _print_snapshot(out, printed, event["content"])
            elif kind in OUTCOMES:
                outcome = event
    except NoAnswer as error:
        outcome = {"type": "error", "message": str(error)}
    print(file=out, flush=True)
    if outcome and outcome["type"] == "complete":
        return 0
    print(f"not complete: {json.dumps(outcome)}", file=err or sys.stderr, flush=True)
    return 1


def _print_snapshot(out: TextIO | None, printed: str, content: str) -> str:
    """Print the rest of a text that begins as the printed one; any other text again as a whole, below a line."""
    if content.startswith(printed):
        _print_text(out, content[len(printed) :])
    else:
        _print_text(out, "\n--- again from the start ---\n" + content)
    return content


def _print_text(out: TextIO | None, text: str) -> str:
    stream = out or sys.stdout
    # A lone surrogate can't be written, nor can most characters to a terminal without UTF-8.
    encoding = stream.encoding or "utf-8"
    shown = CONTROL.sub("\N{REPLACEMENT CHARACTER}", text) if stream.isatty() else text
    print(shown.encode(encoding, "replace").decode(encoding), end="", file=stream, flush=True)
    return text


def _detail(body: bytes) -> str:
    try:
        problem = json.loads(body)
        return f"{problem.get('detail') or problem.get('title')} ({problem.get('code')})"
    except (ValueError, AttributeError):
        return body.decode("utf-8", "replace")[:300]
