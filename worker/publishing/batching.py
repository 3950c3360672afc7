"""Gathers deltas into events, and joins what a model has torn: pure, without a clock or any waiting of its own."""

import re

from millrace.worker.contract.events import Chunk, Citation, Reasoning, ToolResult, ToolUse

Content = Chunk | Reasoning | Citation | ToolUse | ToolResult
"""What a model's answer consists of, as the log's events."""

_SURROGATE = re.compile("[\ud800-\udfff]")


class Batcher:
    """Merges text with text and reasoning with reasoning, never across kinds, and keeps the order of all.

    The first delta of each kind is ready at once, whatever comes after it once `flush_bytes` of it are gathered, or
    when `flush` is called. A high surrogate at the end waits for its other half as long as anything may follow it.
    """

    def __init__(self, flush_bytes: int) -> None:
        self._flush_bytes = flush_bytes
        self._kind: type[Chunk | Reasoning] = Chunk
        self._parts: list[str] = []
        self._size = 0
        self._started: set[type[Content]] = set()

    @property
    def is_gathering(self) -> bool:
        """Whether `flush` may have something to give."""
        return self._size > 0

    def add(self, content: Content) -> list[Content]:
        """Take the next delta and return the events that are ready, oldest first."""
        if not isinstance(content, Chunk | Reasoning):
            return [*self.end(), content]
        if not content.content:
            return []
        ready = self.end() if self._kind is not type(content) else []
        self._kind = type(content)
        self._parts.append(content.content)
        self._size += size_of(content.content)
        if self._size >= self._flush_bytes or self._kind not in self._started:
            ready += self.flush()
        return ready

    def flush(self) -> list[Content]:
        """Return what is gathered, but for half a character at its end."""
        text = joined("".join(self._parts))
        is_torn = "\ud800" <= text[-1:] <= "\udbff"
        held = text[-1] if is_torn else ""
        # The half that is held back counts nothing, or the flush of each tick would find it again.
        self._parts, self._size = [held] if held else [], 0
        return self._event(text[:-1] if held else text)

    def end(self) -> list[Content]:
        """Return all that is gathered, even half a character: nothing of its kind follows it directly."""
        text = joined("".join(self._parts))
        self._parts, self._size = [], 0
        return self._event(text)

    def _event(self, text: str) -> list[Content]:
        if not text:
            return []
        self._started.add(self._kind)
        return [self._kind(text)]


def joined(text: str) -> str:
    """Return the text with each surrogate pair made one character; a lone surrogate stays."""
    if _SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def size_of(text: str) -> int:
    """Return the bytes of the text in UTF-8, a lone surrogate counted as three."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
