"""One raw client per protocol of the server, each with the same four verbs: begin, follow, cancel, whole text.

A client here parses no more than it must, so that nothing but the server's bytes makes the text. A new protocol is one
more class in `DIALECTS`.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar, Literal
from uuid import uuid4

import httpx
from websockets.sync.client import connect

from tests.client import Json, lines_of

Ending = Literal["", "complete", "cancelled", "error"]
SECONDS = 120.0


@dataclass(frozen=True)
class SseFrame:
    """One frame of server-sent events."""

    id: str
    name: str
    data: str


class Reading:
    """One connection, and the text that its client has assembled."""

    def __init__(self, generation: str = "", text: str = "") -> None:
        self.generation = generation
        self.text = text
        self.position = ""
        """By which the protocol resumes."""
        self.ending: Ending = ""
        self.replaced = False
        """Whether the protocol has taken text back."""
        self.steps: Iterator[None] = iter(())
        self._held = ExitStack()

    def hold(self, held: ExitStack) -> None:
        """Keep what `close` is to close."""
        self._held = held

    def read(self, characters: int = 1 << 30) -> "Reading":
        """Read until there is so much text, or to the end."""
        while len(self.text) < characters and not self.ending:
            if next(self.steps, self) is self:
                break
        return self

    def close(self) -> None:
        """Drop the connection."""
        self._held.close()


class DialectClient(ABC):
    """A user of one protocol."""

    name: ClassVar[str]
    takes_text_back: ClassVar[bool] = False
    """Whether an open stream can replace its text; otherwise one that would have to ends with an error."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}"}
        limits = httpx.Limits(max_connections=None)
        self.http = httpx.Client(
            base_url=url, headers=self._headers, timeout=SECONDS, trust_env=False, verify=False, limits=limits
        )

    @abstractmethod
    def begin(self, message: str) -> Reading:
        """Ask, and open the stream of the answer."""

    @abstractmethod
    def follow(self, generation: str, after: Reading | None = None) -> Reading:
        """Follow a generation from its beginning, or from where an earlier reading of this protocol has stopped."""

    @abstractmethod
    def cancel(self, generation: str) -> None:
        """Stop a generation."""

    @abstractmethod
    def take(self, reading: Reading, frame: SseFrame) -> None:
        """Add a frame to a reading."""

    def stream(self, method: str, path: str, reading: Reading, **options: Any) -> Reading:
        """Open a stream of server-sent events."""
        held = ExitStack()
        response = held.enter_context(self.http.stream(method, path, **options))
        assert response.status_code == 200, (method, path, response.status_code, response.read())
        reading.generation = reading.generation or response.headers["Millrace-Generation-Id"]
        reading.hold(held)
        reading.steps = self._steps(reading, response)
        return reading

    def call(self, path: str, **options: Any) -> None:
        """Post, and see it succeed."""
        response = self.http.post(path, **options)
        assert response.is_success, (path, response.status_code, response.text)

    def _steps(self, reading: Reading, response: httpx.Response) -> Iterator[None]:
        frame = {"id": "", "event": "", "data": ""}
        for line in lines_of(response):
            name, _, value = line.partition(": ")
            if name in frame:
                assert not frame[name], f"two {name} lines in one frame"
                frame[name] = value
            elif not line:
                if frame["data"]:
                    self.take(reading, SseFrame(frame["id"], frame["event"], frame["data"]))
                frame = dict.fromkeys(frame, "")
                yield


def take_native(reading: Reading, cursor: str, event: Json) -> None:
    """Add one of our own events to a reading."""
    match event:
        case {"type": "chunk", "content": str(content)}:
            reading.text += content
        case {"type": "snapshot", "content": str(content)}:
            reading.text, reading.replaced = content, True
        case {"type": "complete" | "cancelled" | "error" as outcome}:
            reading.ending = outcome
        case _:
            pass
    reading.position = cursor or reading.position


class Native(DialectClient):
    """Our own events: the stream of the POST, and EventSource's request."""

    name = "native"
    takes_text_back = True

    def begin(self, message: str) -> Reading:
        """Ask for the stream of the POST."""
        return self.stream("POST", "/api/generations", Reading(), json={"message": message, "stream": True})

    def follow(self, generation: str, after: Reading | None = None) -> Reading:
        """Follow as EventSource does, which sends the id of its last event."""
        headers = {"Last-Event-ID": after.position} if after else {}
        reading = Reading(generation, after.text if after else "")
        return self.stream("GET", f"/api/generations/{generation}/events", reading, headers=headers)

    def cancel(self, generation: str) -> None:
        """Cancel."""
        self.call(f"/api/generations/{generation}/cancel")

    def take(self, reading: Reading, frame: SseFrame) -> None:
        """Take an event; heartbeats have a name."""
        if not frame.name:
            take_native(reading, frame.id, json.loads(frame.data))


class AiSdk(DialectClient):
    """The AI SDK's UI message stream, as `useChat` of version 6 reads it; a resumed stream starts the message over."""

    name = "aisdk"

    def begin(self, message: str) -> Reading:
        """Send a chat of one message."""
        parts = [{"type": "text", "text": message}]
        asked = {"id": str(uuid4()), "messages": [{"id": "m", "role": "user", "parts": parts}]}
        return self.stream("POST", "/api/chat", Reading(), json=asked)

    def follow(self, generation: str, after: Reading | None = None) -> Reading:
        """Resume the stream."""
        return self.stream("GET", f"/api/chat/{generation}/stream?generation={generation}", Reading(generation))

    def cancel(self, generation: str) -> None:
        """Stop the answer."""
        self.call(f"/api/chat/{generation}/stop?generation={generation}")

    def take(self, reading: Reading, frame: SseFrame) -> None:
        """Take a part."""
        if frame.data == "[DONE]":
            reading.ending = reading.ending or "error"
            return
        match json.loads(frame.data):
            case {"type": "text-delta", "delta": str(delta)}:
                reading.text += delta
            case {"type": "finish", "finishReason": str(reason)} if reason != "error":
                reading.ending = "complete"
            case {"type": "abort"}:
                reading.ending = "cancelled"
            case {"type": "error"}:
                reading.ending = "error"
            case _:
                pass


class AiSdk7(AiSdk):
    """The same for version 7, which can remove the parts of a step."""

    name = "aisdk 7"
    takes_text_back = True

    def stream(self, method: str, path: str, reading: Reading, **options: Any) -> Reading:
        """Name the version."""
        return super().stream(method, f"{path}{'&' if '?' in path else '?'}sdk=7", reading, **options)

    def take(self, reading: Reading, frame: SseFrame) -> None:
        """Take a part."""
        if frame.data.startswith('{"type":"reset-step"'):
            reading.text, reading.replaced = "", True
        super().take(reading, frame)


class OpenAiChat(DialectClient):
    """OpenAI's chat completions."""

    name = "chat"

    def begin(self, message: str) -> Reading:
        """Ask for a streamed completion."""
        asked = {"model": self.model(), "messages": [{"role": "user", "content": message}], "stream": True}
        return self.stream("POST", "/v1/chat/completions", Reading(), json=asked)

    def model(self) -> str:
        """Return the server's default model."""
        return str(self.http.get("/v1/models").json()["data"][0]["id"])

    def follow(self, generation: str, after: Reading | None = None) -> Reading:
        """Stream a completion again, after the last frame if there was one."""
        headers = {"Last-Event-ID": after.position} if after else {}
        reading = Reading(generation, after.text if after else "")
        path = f"/v1/chat/completions/chatcmpl-{generation}?stream=true"
        return self.stream("GET", path, reading, headers=headers)

    def cancel(self, generation: str) -> None:
        """Cancel a completion."""
        self.call(f"/v1/chat/completions/chatcmpl-{generation}/cancel")

    def take(self, reading: Reading, frame: SseFrame) -> None:
        """Take a chunk."""
        reading.position = frame.id or reading.position
        if frame.data == "[DONE]":
            reading.ending = reading.ending or "complete"
            return
        chunk = json.loads(frame.data)
        if "error" in chunk:
            reading.ending = "error"
            return
        for choice in chunk["choices"]:
            reading.text += choice["delta"].get("content") or ""
        if chunk.get("cancelled_by"):
            reading.ending = "cancelled"


class OpenAiResponses(DialectClient):
    """OpenAI's responses."""

    name = "responses"

    def begin(self, message: str) -> Reading:
        """Ask for a streamed response."""
        return self.stream("POST", "/v1/responses", Reading(), json={"input": message, "stream": True})

    def follow(self, generation: str, after: Reading | None = None) -> Reading:
        """Stream a response again, after the last event if there was one."""
        starting = f"&starting_after={after.position}" if after else ""
        reading = Reading(generation, after.text if after else "")
        return self.stream("GET", f"/v1/responses/resp_{generation}?stream=true{starting}", reading)

    def cancel(self, generation: str) -> None:
        """Cancel a response."""
        self.call(f"/v1/responses/resp_{generation}/cancel")

    def take(self, reading: Reading, frame: SseFrame) -> None:
        """Take an event, whose name is its type."""
        event = json.loads(frame.data)
        assert event["type"] == frame.name
        assert not reading.position or event["sequence_number"] == int(reading.position) + 1
        reading.position = str(event["sequence_number"])
        match event:
            case {"type": "response.output_text.delta", "delta": str(delta)}:
                reading.text += delta
            case {"type": "response.completed"}:
                reading.ending = "complete"
            case {"type": "response.failed"}:
                reading.ending = "error"
            case {"type": "response.incomplete", "response": response}:
                reading.ending = "cancelled" if response["status"] == "cancelled" else "error"
            case _:
                pass


class WebSocket(DialectClient):
    """Our events on a WebSocket."""

    name = "websocket"
    takes_text_back = True

    def begin(self, message: str) -> Reading:
        """Send a question."""
        return self._open(Reading(), {"type": "send", "message": message}, "accepted")

    def follow(self, generation: str, after: Reading | None = None) -> Reading:
        """Follow, from a cursor if there is one."""
        reading = Reading(generation, after.text if after else "")
        asked = {"type": "follow", "generation": generation, **({"after": after.position} if after else {})}
        return self._open(reading, asked, "following")

    def cancel(self, generation: str) -> None:
        """Cancel on a socket of its own."""
        self._open(Reading(generation), {"type": "cancel", "generation": generation}, "cancel_accepted").close()

    def take(self, reading: Reading, frame: SseFrame) -> None:
        """Take an event, named by its cursor."""
        take_native(reading, frame.id, json.loads(frame.data))

    def _open(self, reading: Reading, message: Json, reply: str) -> Reading:
        held = ExitStack()
        address = self._url.replace("http", "ws", 1) + "/api/ws"
        socket = held.enter_context(connect(address, additional_headers=self._headers, proxy=None))
        socket.send(json.dumps(message))
        while (replied := json.loads(socket.recv(SECONDS)))["type"] != reply:
            assert replied["type"] in ("ready", "ping"), replied
        reading.generation = reading.generation or replied["generation"]
        reading.hold(held)
        reading.steps = self._messages(reading, socket)
        return reading

    def _messages(self, reading: Reading, socket: Any) -> Iterator[None]:
        while True:
            message = json.loads(socket.recv(SECONDS))
            if "event" in message:
                self.take(reading, SseFrame(message["id"], "", json.dumps(message["event"])))
            yield


DIALECTS: tuple[type[DialectClient], ...] = (Native, AiSdk, AiSdk7, OpenAiChat, OpenAiResponses, WebSocket)
