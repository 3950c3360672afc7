"""What a reader has assembled after a run of events: the text, the reasoning, the citations, the tools, the end."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from millrace.worker.contract.events import (
    AnyEvent,
    Cancelled,
    Chunk,
    Citation,
    Complete,
    Done,
    Error,
    Reasoning,
    Snapshot,
    SnapshotReason,
    Suggestions,
    Title,
    ToolUse,
)


@dataclass
class Transcript:
    """The fold of a log's events; a `snapshot` replaces everything that a `chunk` and its like have added."""

    _content: list[str] = field(default_factory=list[str])
    _reasoning: list[str] = field(default_factory=list[str])
    citations: list[Any] = field(default_factory=list[Any])
    tools: list[Any] = field(default_factory=list[Any])
    outcome: Complete | Cancelled | Error | None = None
    title: str | None = None
    suggestions: list[str] | None = None
    is_done: bool = False

    @property
    def content(self) -> str:
        """The text so far."""
        return "".join(self._content)

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return "".join(self._reasoning)

    def apply(self, event: AnyEvent) -> None:
        """Fold one event in."""
        match event:
            case Chunk(content):
                self._content.append(content)
            case Reasoning(content):
                self._reasoning.append(content)
            case Citation():
                self.citations.append(
                    {key: value for key, value in msgspec.to_builtins(event).items() if key != "type"}
                )
            case ToolUse(id=tool, name=name, input=given):
                self.tools.append({"id": tool, "name": name, "input": given})
            case Snapshot(content, reasoning, citations, tools):
                self._content, self._reasoning = [content], [reasoning]
                self.citations, self.tools = list(citations), list(tools)
            case Complete() | Cancelled() | Error():
                self.outcome = event
            case Title(title):
                self.title = title
            case Suggestions(suggestions):
                self.suggestions = suggestions
            case Done():
                self.is_done = True
            case _:
                pass  # a status or a tool's result adds nothing to what stands

    def copy(self) -> "Transcript":
        """Return another that goes on from here by itself."""
        texts = list(self._content), list(self._reasoning)
        rest = self.outcome, self.title, self.suggestions, self.is_done
        return Transcript(*texts, list(self.citations), list(self.tools), *rest)

    def snapshot(self, reason: SnapshotReason) -> Snapshot:
        """Return the event that says: what there is so far is exactly this."""
        return Snapshot(self.content, self.reasoning, list(self.citations), list(self.tools), reason)


def fold(events: Iterable[AnyEvent]) -> Transcript:
    """Return the transcript of `events`, oldest first."""
    transcript = Transcript()
    for event in events:
        transcript.apply(event)
    return transcript
