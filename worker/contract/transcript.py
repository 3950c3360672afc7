"""The fold of events into an answer: text, reasoning, citations, tools, images, outcome, title and suggestions."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, assert_never

import msgspec

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
    ImageReference,
    Link,
    Reasoning,
    Snapshot,
    SnapshotReason,
    StatusEvent,
    Suggestions,
    Title,
    ToolResult,
    ToolUse,
)


@dataclass
class Transcript:
    """The answer that a reader has assembled from a log's events; a `snapshot` replaces its content."""

    _content: list[str] = field(default_factory=list[str])
    _reasoning: list[str] = field(default_factory=list[str])
    citations: list[Any] = field(default_factory=list[Any])
    tools: list[Any] = field(default_factory=list[Any])
    images: list[ImageReference] = field(default_factory=list[ImageReference])
    outcome: Complete | Cancelled | Error | None = None
    title: str | None = None
    suggestions: list[str] | None = None
    is_done: bool = False
    model: str | None = None
    """The model that was asked last, and its provider."""
    provider: str | None = None
    sources: list[Link] = field(default_factory=list[Link])
    """The web pages that the answer is built on."""

    @property
    def content(self) -> str:
        """The text so far."""
        return "".join(self._content)

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return "".join(self._reasoning)

    def apply(self, event: AnyEvent) -> None:
        """Apply one event."""
        match event:
            case Chunk() | Reasoning() | Citation() | Image() | ToolUse() | Snapshot():
                self._apply_content(event)
            case Complete() | Cancelled() | Error():
                self.outcome = event
            case Title(title):
                self.title = title
            case Suggestions(suggestions):
                self.suggestions = suggestions
            case Done():
                self.is_done = True
                self._replace_usage(event)
            case StatusEvent(model=model, provider=provider):
                self.model, self.provider = model or self.model, provider or self.provider
            case ContextEvent(sources):
                self.sources = list(sources)
            case ToolResult():
                pass  # it is no part of the answer
            case _:
                assert_never(event)

    def _replace_usage(self, done: Done) -> None:
        if done.usage_by and isinstance(self.outcome, Complete):
            self.outcome = msgspec.structs.replace(self.outcome, usage_by=done.usage_by, usage_total=done.usage_total)

    def _apply_content(self, event: Chunk | Reasoning | Citation | Image | ToolUse | Snapshot) -> None:
        match event:
            case Chunk(content):
                self._content.append(content)
            case Reasoning(content):
                self._reasoning.append(content)
            case Citation():
                self.citations.append(
                    {key: value for key, value in msgspec.to_builtins(event).items() if key != "type"}
                )
            case Image(image, format_, size):
                self.images.append(ImageReference(image, format_, size))
            case ToolUse(id=tool, name=name, input=given):
                self.tools.append({"id": tool, "name": name, "input": given})
            case Snapshot(content, reasoning, citations, tools, images=images):
                self._content, self._reasoning = [content], [reasoning]
                self.citations, self.tools, self.images = list(citations), list(tools), list(images)
            case _:
                assert_never(event)

    def copy(self) -> "Transcript":
        """Return an independent copy."""
        texts = list(self._content), list(self._reasoning)
        rest = self.outcome, self.title, self.suggestions, self.is_done, self.model, self.provider
        lists = list(self.citations), list(self.tools), list(self.images)
        return Transcript(*texts, *lists, *rest, sources=list(self.sources))

    def snapshot(self, reason: SnapshotReason) -> Snapshot:
        """Return the snapshot of the answer so far."""
        lists = list(self.citations), list(self.tools)
        return Snapshot(self.content, self.reasoning, *lists, reason, list(self.images))


def fold(events: Iterable[AnyEvent]) -> Transcript:
    """Return the transcript of `events`, oldest first."""
    transcript = Transcript()
    for event in events:
        transcript.apply(event)
    return transcript
