"""A client of the running system as a careful user would write it: keeps its cookie, resumes by the event's id."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

Json = dict[str, Any]


@dataclass(frozen=True)
class Received:
    """One event as it arrived: its SSE id, its JSON, and when (monotonic seconds)."""

    cursor: str
    event: Json
    at: float


def emulate(**script: Any) -> str:
    """Return a message that scripts the local endpoint's answer."""
    return "/emulate " + json.dumps(script)


class FrameParser:
    """Parses the lines of one SSE body, as EventSource does it.

    A frame without its blank line is dropped, and its id does not count.
    """

    def __init__(self) -> None:
        self._cursor = self._data = self._name = ""

    def feed(self, line: str) -> Received | None:
        """Take a line without its end; returns the event that it completes, nothing where that is a heartbeat."""
        if line.startswith("id: "):
            self._cursor = line[4:]
        elif line.startswith("event: "):
            self._name = line[7:]
        elif line.startswith("data: "):
            assert not self._data, "two data lines in one frame"
            self._data = line[6:]
        elif not line:
            data, name = self._data, self._name
            self._data = self._name = ""
            if data and not name:
                return Received(self._cursor, json.loads(data), time.monotonic())
        return None


def parse_frames(lines: Iterator[str]) -> Iterator[Received]:
    """Yield the events of an SSE body without its heartbeats."""
    parser = FrameParser()
    for line in lines:
        if event := parser.feed(line):
            yield event


def text_of(received: list[Received]) -> str:
    """Return the text that a reader has assembled."""
    parts: list[str] = []
    for each in received:
        if each.event["type"] == "snapshot":
            parts = [each.event["content"]]
        elif each.event["type"] == "chunk":
            parts.append(each.event["content"])
    return "".join(parts)


def outcomes_of(received: list[Received]) -> list[Json]:
    """Return the outcome events; a complete run has exactly one."""
    return [each.event for each in received if each.event["type"] in ("complete", "cancelled", "error")]


def assert_complete(received: list[Received]) -> None:
    """Assert a complete run: `status queued` first, and then every event to the end."""
    assert received[0].event["type"] == "status"
    assert received[0].event["status"] == "queued"
    assert received[0].cursor.endswith("-1")
    assert_gapless(received)


def assert_gapless(received: list[Received]) -> None:
    """Assert a gapless run to the end: ids in order without a hole, one outcome, and one `done`, which is last."""
    ids = [tuple(map(int, each.cursor.split("-"))) for each in received]
    assert ids == sorted(set(ids))
    assert [seq for _, seq in ids] == list(range(ids[0][1], ids[0][1] + len(ids)))
    assert len(outcomes_of(received)) == 1
    assert [each.event["type"] for each in received].count("done") == 1
    assert received[-1].event["type"] == "done"


def wait_for(condition: Callable[[], Any], seconds: float = 30, what: str = "the condition") -> Any:
    """Return the condition's first true value; fails when it has none in time."""
    deadline, pause = time.monotonic() + seconds, 0.02
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not come true in {seconds} s"
        time.sleep(pause)
        pause = min(pause * 1.2, 0.1)  # what takes long is asked for less often: many conditions are requests
    return value


class Client:
    """One user of the system at an address."""

    def __init__(self, url: str) -> None:
        # Without `verify=False`, reading the certificates of the world costs more than all the requests of a test.
        self.http = httpx.Client(base_url=url, timeout=60, trust_env=False, verify=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()

    def begin(self) -> None:
        """Become an owner, with its cookie, without a question."""
        assert self.http.post("/api/conversations", json={}).status_code == 201

    def post(self, body: Any, **headers: str) -> httpx.Response:
        """Post a body to /api/generations and return the response, whatever its status."""
        return self.http.post("/api/generations", json=body, headers=headers)

    def ask(self, message: str, **fields: Any) -> str:
        """Ask, and return the generation's id."""
        answer = self.post({"message": message, **fields})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def follow(self, generation: str, after: str = "") -> Iterator[Received]:
        """Yield the events after the cursor as they come; the reader drops when the iterator is closed."""
        headers = {"Last-Event-ID": after} if after else {}
        with self.http.stream("GET", f"/api/generations/{generation}/events", headers=headers) as response:
            assert response.status_code in (200, 204), response.read()
            if response.status_code == 200:
                yield from parse_frames(lines_of(response))

    def whole(self, generation: str) -> list[Received]:
        """Follow from the start to the end."""
        received = list(self.follow(generation))
        assert_complete(received)
        return received

    def snapshot(self, generation: str) -> Json:
        """Return the snapshot that pollers get."""
        answer = self.http.get(f"/api/generations/{generation}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def cancel(self, generation: str) -> httpx.Response:
        """Cancel a generation."""
        return self.http.post(f"/api/generations/{generation}/cancel")


def lines_of(response: httpx.Response) -> Iterator[str]:
    """Yield the whole lines of a body, split at LF alone: httpx's own splits at U+2028 and its like, too."""
    rest = b""
    for part in response.iter_bytes():
        *lines, rest = (rest + part).split(b"\n")
        yield from (line.decode() for line in lines)
