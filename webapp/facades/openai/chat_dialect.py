"""Renders a log as the chunks of a streamed chat completion."""

from collections.abc import Hashable
from typing import Any, assert_never

import msgspec
from msgspec import UNSET

from millrace.webapp.facades.dialect import AppendOnlyText, Line
from millrace.webapp.facades.openai.chat_format import (
    ChunkChoice,
    CompletionChunk,
    CompletionDelta,
    FinishReason,
    ToolCallDelta,
    annotations_of,
    finish_reason_of,
    tool_calls_of,
    usage_of,
)
from millrace.webapp.facades.openai.errors import failure_in_stream
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

DONE = "[DONE]"
_RESTARTED = "The answer restarted with different text, which this protocol cannot take back. Please ask again."
_EXPIRED = "The beginning of this stream is no longer stored. Fetch the completion: GET /v1/chat/completions/{id}."
_INTERRUPTED = "The server has interrupted this stream. Continue it now: GET /v1/chat/completions/{id}?stream=true."


class CompletionDialect:
    """Renders the chunks of one completion; the first has the role, the last is `[DONE]` or an error.

    Tools are passed on with the outcome, because only a call that the model waits for is the client's; citations too,
    because SDKs take a list of them once.
    """

    has_ids = True
    heartbeat = b":\n\n"

    def __init__(self, theirs: str, created: int, model: str, *, has_usage: bool) -> None:
        self.key: Hashable = ("chat.completion.chunk", has_usage)
        self.is_over = False
        self._id, self._created, self._model = theirs, created, model
        self._has_usage = has_usage
        self._text, self._reasoning = _SentText(), _SentText()
        self._tools: list[Any] = []
        self._citations: list[Any] = []

    def render(self, event: AnyEvent, number: int) -> list[Line]:
        """Return the chunks of an event; text that was sent cannot be withdrawn, which is an error in this protocol."""
        lines = [] if number else [self._chunk(CompletionDelta(role="assistant", content=""))]
        match event:
            case Chunk(content):
                lines += self._pieces("", self._text.append(content))
            case Reasoning(content):
                lines += self._pieces(self._reasoning.append(content), "")
            case Snapshot(content, reasoning, citations, tools):
                self._tools, self._citations = list(tools), list(citations)
                lines += self._pieces(self._reasoning.replace(reasoning), self._text.replace(content))
            case ToolUse(id=tool, name=name, input=given):
                self._tools.append({"id": tool, "name": name, "input": given})
            case Complete() | Cancelled() | Error():
                return [*lines, *self._end(event)]
            case Citation(title=title, location=location):
                self._citations.append({"title": title, "location": location})
            case StatusEvent() | ContextEvent() | Image() | ToolResult() | Title() | Suggestions() | Done():
                pass  # this protocol has no counterpart
            case _:
                assert_never(event)
        if self._text.is_contradicted or self._reasoning.is_contradicted:
            lines += self._fail("stream_lost", _RESTARTED)
        return lines

    def rejoin(self, snapshot: Snapshot, number: int) -> list[Line]:
        """Render the stored answer for a client that has had nothing yet; others cannot be given the rest of it."""
        return self._fail("stream_lost", _EXPIRED.format(id=self._id)) if number else self.render(snapshot, 0)

    def interrupted(self) -> list[Line]:
        """Return an error: SDKs take a stream that ends without one for a whole answer."""
        return [failure_in_stream("stream_lost", _INTERRUPTED.format(id=self._id), self._id)]

    def _pieces(self, reasoning: str, content: str) -> list[Line]:
        lines: list[Line] = []
        if reasoning:
            lines.append(self._chunk(CompletionDelta(reasoning_content=reasoning)))
        if content:
            lines.append(self._chunk(CompletionDelta(content=content)))
        return lines

    def _end(self, outcome: Complete | Cancelled | Error) -> list[Line]:
        finish_reason = finish_reason_of(outcome, has_text=self._text.sent > 0)
        if isinstance(outcome, Error) and finish_reason is None:
            return self._fail(outcome.code, outcome.message)
        if not (self._text.is_whole and self._reasoning.is_whole):  # the second attempt is shorter than the first
            return self._fail("stream_lost", _RESTARTED)
        self.is_over = True
        lines: list[Line] = []
        if finish_reason == "tool_calls" and self._tools:
            calls = [
                ToolCallDelta(number, each.id, each.type, each.function)
                for number, each in enumerate(tool_calls_of(self._tools))
            ]
            lines.append(self._chunk(CompletionDelta(tool_calls=calls)))
        if annotations := annotations_of(self._citations, self._text.sent):
            lines.append(self._chunk(CompletionDelta(annotations=annotations)))
        last = self._chunk(CompletionDelta(), finish_reason)
        if isinstance(outcome, Cancelled):
            last = msgspec.structs.replace(last, cancelled_by=outcome.by)
        lines.append(last)
        if self._has_usage:
            usage = usage_of(outcome.usage) if outcome.usage else None
            lines.append(CompletionChunk(self._id, self._created, self._model, [], usage))
        return [*lines, DONE]

    def _chunk(self, delta: CompletionDelta, finish_reason: FinishReason | None = None) -> CompletionChunk:
        usage = None if self._has_usage else UNSET
        return CompletionChunk(self._id, self._created, self._model, [ChunkChoice(delta, finish_reason)], usage)

    def _fail(self, code: str, message: str) -> list[Line]:
        self.is_over = True
        return [failure_in_stream(code, message, self._id)]


class _SentText:
    """A text of the answer, beside the part of it that was sent."""

    def __init__(self) -> None:
        self._text = AppendOnlyText()
        self.sent = 0
        """The characters that were sent."""

    @property
    def is_contradicted(self) -> bool:
        """Whether text was sent that is not part of the current text."""
        return self._text.is_contradicted

    @property
    def is_whole(self) -> bool:
        """Whether exactly the current text was sent."""
        return self._text.is_whole

    def append(self, content: str) -> str:
        """Take the next piece of the text and return the part to send."""
        return self._add(Chunk(content))

    def replace(self, content: str) -> str:
        """Take a new text and return the part to send."""
        return self._add(Snapshot(content, "", [], [], "takeover"))

    def _add(self, event: Chunk | Snapshot) -> str:
        added = self._text.add(event)
        self.sent += len(added)
        return added
