"""The seam between a log and a foreign protocol: renders events and keeps append-only clients consistent."""

import json
from collections.abc import Generator, Hashable, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, assert_never

import msgspec

from millrace.webapp.generation.validation import MAX_ECHO_CHARS
from millrace.webapp.problems import Problem, invalid
from millrace.webapp.request_input import Json
from millrace.worker.contract.events import (
    AnyEvent,
    Cancelled,
    Chunk,
    Citation,
    Complete,
    ContextEvent,
    Done,
    Error,
    Image,
    Reasoning,
    Snapshot,
    StatusEvent,
    Suggestions,
    Title,
    ToolResult,
    ToolUse,
)

FieldNames = Mapping[str, str]
"""The fields of a foreign request, each with the name of ours."""


class NamedLine(msgspec.Struct, frozen=True):
    """The data of a frame that has an `event:` line as well."""

    event: str
    data: msgspec.Struct


Line = msgspec.Struct | str | NamedLine
"""The data of one frame: a struct is encoded as JSON, a text stands as it is."""


class Dialect(Protocol):
    """Renders one generation's events, each of them once and in order, in a foreign protocol.

    It is a fold over the log: any process that renders the log makes the same frames with the same numbers.
    """

    is_over: bool
    """Whether the last line has been rendered, so that the stream ends."""

    @property
    def key(self) -> Hashable:
        """The protocol and its options; readers of one generation with equal keys share one rendering."""
        ...

    @property
    def has_ids(self) -> bool:
        """Whether each frame carries its number as its SSE id, counted from 1 on, for `Last-Event-ID`."""
        ...

    @property
    def heartbeat(self) -> bytes:
        """The frame that is sent to a client that has received nothing for some time."""
        ...

    def render(self, event: AnyEvent, number: int) -> list[Line]:
        """Return the lines for an event, none where the protocol has no counterpart; `number` lines precede them."""
        ...

    def rejoin(self, snapshot: Snapshot, number: int) -> list[Line]:
        """Return the same for the first event of a log that has lost its beginning, such as an expired one.

        The client has had `number` lines of the whole log: how much of the text these held is not known.
        """
        ...

    def interrupted(self) -> list[Line]:
        """Return the last lines of a stream that ends before its log; the stream of other clients goes on."""
        ...


def encode_frame(line: Line, number: int | None = None) -> bytes:
    """Return a line as an SSE frame in ASCII, with its number as the id."""
    event, data = (line.event, line.data) if isinstance(line, NamedLine) else (None, line)
    name = b"" if event is None else b"event: %b\n" % event.encode("ascii")
    end = b"" if number is None else b"\nid: %d" % number
    return b"%bdata: %b%b\n\n" % (name, data.encode("ascii") if isinstance(data, str) else _dump(data), end)


def _dump(data: msgspec.Struct) -> bytes:
    """Return a struct as JSON in ASCII: msgspec is many times faster, but escapes neither other letters nor surrogates.

    Clients may split lines at U+2028 and its like, so that these are escaped.
    """
    try:
        encoded = msgspec.json.encode(data)
    except UnicodeEncodeError:
        encoded = b"\xff"
    if encoded.isascii():
        return encoded
    return json.dumps(msgspec.to_builtins(data), separators=(",", ":")).encode("ascii")


def rename_fields(body: Json, names: FieldNames) -> Json:
    """Return the body with our field names; raises Problem 422 for a field that the foreign protocol does not have."""
    for name in body:
        if name not in names:
            raise invalid(name[:MAX_ECHO_CHARS], "There is no such field.")
    return {names[name]: value for name, value in body.items()}


def split_instructions(messages: list[Any]) -> tuple[str, list[Any]]:
    """Return the texts of the leading system messages, and the messages after them."""
    instructions: list[str] = []
    for each in messages:
        match each:
            case {"role": "system", "content": str(text), **more} if not more:
                instructions.append(text)
            case _:
                break
    return "\n\n".join(filter(str.strip, instructions)), messages[len(instructions) :]


@contextmanager
def problems_in(names: FieldNames) -> Generator[None]:
    """Make every Problem raised inside name the foreign field."""
    try:
        yield
    except Problem as problem:
        for theirs, ours in names.items():
            if problem.members.get("field") == ours:
                problem.members["field"] = theirs
                break
        raise


class AppendOnlyText:
    """The text as sent to a client that can only append, beside the current text of the answer.

    They diverge when a snapshot withdraws text that was sent. Until the current text again begins with all of the sent
    text, nothing more is sent, so that a client never mixes two answers.
    """

    def __init__(self) -> None:
        self._current: list[str] = []
        self._has_diverged = False
        self._sent = ""  # while the texts diverge
        self._agreed = 0  # characters of the sent text that the current one has begun with so far
        self.is_contradicted = False
        """Whether neither text begins with the other, so that appending cannot mend it."""

    @property
    def text(self) -> str:
        """The current text of the answer."""
        return "".join(self._current)

    @property
    def is_whole(self) -> bool:
        """Whether exactly the current text was sent."""
        return not self._has_diverged

    def add(self, event: AnyEvent) -> str:
        """Take an event and return the text to append for it; empty where nothing can be appended."""
        match event:
            case Chunk(content) if not self._has_diverged:
                self._current.append(content)
                return content
            case Chunk(content):
                self._current.append(content)
            case Snapshot(content):
                if not self._has_diverged:
                    self._sent = self.text
                self._current = [content]
                self._has_diverged, self._agreed, self.is_contradicted = True, 0, False
            case StatusEvent() | ContextEvent() | Reasoning() | Citation() | Image() | ToolUse() | ToolResult():
                return ""  # no text of the answer
            case Complete() | Cancelled() | Error() | Title() | Suggestions() | Done():
                return ""
            case _:
                assert_never(event)
        return self._catch_up(content)

    def _catch_up(self, piece: str) -> str:
        """Compare the next piece of the current text; return the part of it that is to be appended."""
        expected = self._sent[self._agreed : self._agreed + len(piece)]
        if self.is_contradicted or not piece.startswith(expected):
            self.is_contradicted = True
            return ""
        self._agreed += len(expected)
        if self._agreed < len(self._sent):
            return ""
        self._has_diverged = False
        return piece[len(expected) :]
