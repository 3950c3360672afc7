"""Merging deltas into events, and joining surrogate pairs that a model has split; pure, without clock or waiting."""

import msgspec

from millrace.worker.contract.events import Chunk, Citation, Image, Reasoning, ToolResult, ToolUse
from millrace.worker.text.characters import clean_line, join_surrogates, shorten

Content = Chunk | Reasoning | Citation | Image | ToolUse | ToolResult
"""A delta of a model's answer, as an event of the log."""

MAX_CITATION_CHARS = 1000  # of a citation's title or source


class Batcher:
    """Merges text with text and reasoning with reasoning, never across kinds, and keeps the order.

    The first delta of each kind is ready at once. Later ones are ready when `flush_bytes` are buffered, or when `flush`
    is called. A high surrogate at the end stays buffered until its other half or another kind of content arrives.
    """

    def __init__(self, flush_bytes: int) -> None:
        self._flush_bytes = flush_bytes
        self._kind: type[Chunk | Reasoning] = Chunk
        self._parts: list[str] = []
        self._size = 0
        self._started: set[type[Content]] = set()

    @property
    def has_unflushed(self) -> bool:
        """Whether `flush` would return an event."""
        return self._size > 0

    def add(self, content: Content) -> list[Content]:
        """Add a delta and return the events that are ready, oldest first."""
        if not isinstance(content, Chunk | Reasoning):
            return [*self.finish(), _cleaned(content) if isinstance(content, Citation) else content]
        if not content.content:
            return []
        ready = self.finish() if self._kind is not type(content) else []
        self._kind = type(content)
        self._parts.append(content.content)
        self._size += utf8_size(content.content)
        if self._size >= self._flush_bytes or self._kind not in self._started:
            ready += self.flush()
        return ready

    def flush(self) -> list[Content]:
        """Return the buffered text as an event; a high surrogate at its end stays buffered."""
        text = join_surrogates("".join(self._parts))
        is_split = "\ud800" <= text[-1:] <= "\udbff"
        rest = text[-1] if is_split else ""
        # The remaining half counts as size 0: otherwise the flush of each tick would find it again.
        self._parts, self._size = [rest] if rest else [], 0
        return self._event(text[:-1] if rest else text)

    def finish(self) -> list[Content]:
        """Return all buffered text, even a lone high surrogate: no text of this kind follows directly."""
        text = join_surrogates("".join(self._parts))
        self._parts, self._size = [], 0
        return self._event(text)

    def _event(self, text: str) -> list[Content]:
        if not text:
            return []
        self._started.add(self._kind)
        return [self._kind(text)]


def _cleaned(citation: Citation) -> Citation:
    """Return the citation with a title and a source that a page can show: others wrote them, as they wrote the page."""
    return msgspec.structs.replace(citation, title=_as_line(citation.title), source=_as_line(citation.source))


def _as_line(text: str | None) -> str | None:
    return None if text is None else shorten(clean_line(text[: 4 * MAX_CITATION_CHARS]), MAX_CITATION_CHARS) or None


def utf8_size(text: str) -> int:
    """Return the size of the text in bytes of UTF-8; a lone surrogate counts as three."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
