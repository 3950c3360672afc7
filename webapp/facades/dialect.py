"""What a dialect is, and the text as it can be told by appending alone."""

import json
from typing import Protocol

import msgspec

from millrace.worker.contract.events import AnyEvent, Chunk, Snapshot

Line = msgspec.Struct | str


class Dialect(Protocol):
    """Tells one generation's events, each of them once and in order, in another protocol's words."""

    is_over: bool
    """Whether everything is told, so that the stream ends."""

    def tell(self, event: AnyEvent) -> list[Line]:
        """Return what the event is in this protocol, one `data:` line each."""
        ...

    def interrupted(self) -> list[Line]:
        """Return what is said where this process has to end the stream before its end."""
        ...


def spell(lines: list[Line]) -> bytes:
    """Return the lines as SSE frames, in ASCII: a struct as JSON, a text as it is."""
    spelled = [line if isinstance(line, str) else json.dumps(msgspec.to_builtins(line)) for line in lines]
    return "".join(f"data: {line}\n\n" for line in spelled).encode("ascii")


class Appended:
    """The text as told to a reader who can only append, and what there is in truth.

    The two part where a snapshot takes back what was told. Until the truth has caught up and goes on from what was
    told, nothing more is told, so that a reader never has two answers mixed.
    """

    def __init__(self) -> None:
        self._told: list[str] = []
        self._truth: list[str] = []
        self._has_parted = False

    @property
    def text(self) -> str:
        """What there is in truth."""
        return "".join(self._truth)

    @property
    def is_contradicted(self) -> bool:
        """Whether what was told is not how the text begins, and can't become it."""
        return self._has_parted and not "".join(self._told).startswith(self.text)

    def add(self, event: AnyEvent) -> str:
        """Take an event, and return what is to be told of it: the text to append, or none."""
        match event:
            case Chunk(content) if not self._has_parted:
                self._truth.append(content)
                self._told.append(content)
                return content
            case Chunk(content):
                self._truth.append(content)
            case Snapshot(content):
                self._truth = [content]
                self._has_parted = True
            case _:
                return ""
        return self._catch_up()

    def _catch_up(self) -> str:
        told, truth = "".join(self._told), self.text
        if not truth.startswith(told):
            return ""
        self._told, self._has_parted = [truth], False
        return truth[len(told) :]
