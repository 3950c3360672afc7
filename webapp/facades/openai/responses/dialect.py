"""The stream of a response: renders the events of a log, and continues a stream whose log has expired."""

from typing import Any, assert_never

import msgspec

from millrace.webapp.facades.dialect import AppendOnlyText, Line, NamedLine
from millrace.webapp.facades.openai.responses.objects import ItemStatus, ResponseFailure
from millrace.webapp.facades.openai.responses.output import (
    Growing,
    GrowingCall,
    GrowingMessage,
    GrowingReasoning,
    ItemIds,
    annotation_of,
    arguments_of,
    begin_call,
)
from millrace.webapp.facades.openai.responses.stream_events import (
    AnnotationAdded,
    ArgumentsDelta,
    ArgumentsDone,
    ItemAdded,
    ItemDone,
    PartAdded,
    PartDone,
    ResponseCompleted,
    ResponseCreated,
    ResponseEvent,
    ResponseFailed,
    ResponseIncomplete,
    ResponseInProgress,
    ResponseQueued,
    SummaryDelta,
    SummaryDone,
    SummaryPartAdded,
    SummaryPartDone,
    TextDelta,
    TextDone,
)
from millrace.webapp.facades.openai.responses.views import ResponseDescription, ResponseEnding, ending_of, usage_of
from millrace.webapp.relay.frames import COMMENT
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
    Outcome,
    Reasoning,
    Snapshot,
    StatusEvent,
    Suggestions,
    Title,
    ToolResult,
    ToolUse,
)

_RESTARTED = ResponseFailure(
    "server_error",
    "The answer restarted with different text, which this stream cannot take back. Retrieve the response instead.",
    "restarted",
)
_RUNNING = ResponseEnding("in_progress")


class ResponsesDialect:
    """Renders events with numbers; the terminal one follows the outcome at once, before a title or suggestions.

    A takeover that changes the text ends the stream in `response.failed`. Changed reasoning, which no one quotes, ends
    its item as incomplete instead, and a new item begins.
    """

    has_ids = False
    heartbeat = COMMENT
    key = "responses"

    def __init__(self, description: ResponseDescription) -> None:
        self.is_over = False
        self._description = description
        self._ids = ItemIds(description.generation)
        self._number = 0
        self._lines: list[Line] = []
        self._has_begun = False
        self._is_in_progress = False
        self._is_silent = False  # a client that has rejoined gets whole items only, at the end
        self._clear()

    def _clear(self) -> None:
        self._items: list[Growing] = []
        self._text, self._reasoning = AppendOnlyText(), AppendOnlyText()
        self._message: GrowingMessage | None = None
        self._open_reasoning: GrowingReasoning | None = None
        self._seen_calls = self._seen_citations = 0  # since the last snapshot
        self._citations: list[Any] = []

    def render(self, event: AnyEvent, number: int) -> list[Line]:
        """Return the frames for an event, numbered from `number` on."""
        if self.is_over:
            return []
        self._number, self._lines = number, []
        if not self._has_begun:
            self._begin()
        self._take(event)
        return self._lines

    def rejoin(self, snapshot: Snapshot, number: int) -> list[Line]:
        """Take the answer so far, which the client has had an unknown part of; it gets whole items at the end."""
        self._number, self._lines = number, []
        self._has_begun = self._is_in_progress = self._is_silent = True
        self._replace(snapshot)
        return []

    def interrupted(self) -> list[Line]:
        """Return nothing: a client resumes after the last number that it has, whatever process it reaches."""
        return []

    def _take(self, event: AnyEvent) -> None:
        match event:
            case Chunk():
                self._add_text(event)
            case Reasoning(content):
                self._add_reasoning(Chunk(content))
            case Snapshot():
                self._replace(event)
            case Citation():
                self._add_citation(msgspec.to_builtins(event))
            case ToolUse(call, name, given):
                self._add_call(call, name, arguments_of(given))
            case StatusEvent(status):
                if status != "queued":
                    self._progress()
            case Complete() | Cancelled() | Error():
                self._end(event)
            case ContextEvent() | ToolResult() | Image() | Title() | Suggestions() | Done():
                pass  # this protocol has no counterpart
            case _:
                assert_never(event)

    def _begin(self) -> None:
        self._has_begun = True
        if self._description.echo.background:
            waiting = self._description.response(ResponseEnding("queued"))
            self._put(ResponseCreated(self._next(), waiting))
            self._put(ResponseQueued(self._next(), waiting))
        else:
            self._put(ResponseCreated(self._next(), self._description.response(_RUNNING)))

    def _progress(self) -> None:
        if not self._is_in_progress:
            self._is_in_progress = True
            self._put(ResponseInProgress(self._next(), self._description.response(_RUNNING)))

    def _add_text(self, event: Chunk | Snapshot) -> None:
        piece = self._text.add(event)
        if self._text.is_contradicted:
            self._fail()
        elif piece:
            message = self._begin_message()
            message.pieces.append(piece)
            self._put(TextDelta(self._next(), message.id, message.index, 0, piece))

    def _add_reasoning(self, event: Chunk | Snapshot) -> None:
        piece = self._reasoning.add(event)
        if self._reasoning.is_contradicted:
            self._close_reasoning("incomplete")
            current, self._reasoning = self._reasoning.text, AppendOnlyText()
            piece = self._reasoning.add(Chunk(current))
        if piece:
            reasoning = self._begin_reasoning()
            reasoning.pieces.append(piece)
            self._put(SummaryDelta(self._next(), reasoning.id, reasoning.index, 0, piece))

    def _replace(self, snapshot: Snapshot) -> None:
        """Take a snapshot: render the part of it that is new, and fail if it lacks some that was sent."""
        if self._is_silent:
            self._clear()
        self._seen_calls = self._seen_citations = 0
        self._add_reasoning(Snapshot(snapshot.reasoning, "", [], [], snapshot.reason))
        self._add_text(snapshot)
        for citation in snapshot.citations:
            self._add_citation(citation)
        for tool in snapshot.tools:
            self._add_call(tool["id"], tool["name"], arguments_of(tool["input"]))

    def _add_citation(self, citation: dict[str, Any]) -> None:
        if self.is_over:
            return
        known = self._citations[self._seen_citations : self._seen_citations + 1]
        cited = citation.get("title"), citation.get("source"), citation.get("location")
        self._seen_citations += 1
        if known == [cited]:
            return
        self._citations.append(cited)
        position = len(self._message.text) if self._message else 0
        annotation = annotation_of(*cited, position)
        if annotation is not None:
            message = self._begin_message()
            count = len(message.annotations)
            message.annotations.append(annotation)
            self._put(AnnotationAdded(self._next(), message.id, message.index, 0, count, annotation))

    def _add_call(self, call: str, name: str, arguments: str) -> None:
        if self.is_over:
            return
        calls = [each for each in self._items if isinstance(each, GrowingCall)]
        known = calls[self._seen_calls] if self._seen_calls < len(calls) else None
        self._seen_calls += 1
        if known is not None:
            if (known.name, known.arguments) != (name, arguments):
                self._fail()
            return
        self._close_reasoning("completed")
        item = begin_call(self._ids, calls, len(self._items), call, name)
        self._add(item)
        item.arguments = arguments
        self._put(ArgumentsDelta(self._next(), item.id, item.index, arguments))
        self._close(item, "completed")

    def _begin_message(self) -> GrowingMessage:
        self._close_reasoning("completed")
        if self._message is None:
            self._message = message = GrowingMessage(self._ids.message(), len(self._items))
            self._add(message)
            self._put(PartAdded(self._next(), message.id, message.index, 0, message.part()))
        return self._message

    def _begin_reasoning(self) -> GrowingReasoning:
        if self._open_reasoning is None:
            count = sum(isinstance(each, GrowingReasoning) for each in self._items)
            self._open_reasoning = reasoning = GrowingReasoning(self._ids.reasoning(count), len(self._items))
            self._add(reasoning)
            self._put(SummaryPartAdded(self._next(), reasoning.id, reasoning.index, 0, reasoning.text()))
        return self._open_reasoning

    def _close_reasoning(self, status: ItemStatus) -> None:
        if self._open_reasoning is not None:
            self._close(self._open_reasoning, status)
            self._open_reasoning = None

    def _add(self, item: Growing) -> None:
        self._progress()
        self._items.append(item)
        whole = item.item()
        added = msgspec.structs.replace(whole, content=[]) if isinstance(item, GrowingMessage) else whole
        self._put(ItemAdded(self._next(), item.index, added))

    def _close(self, item: Growing, status: ItemStatus) -> None:
        item.status = status
        match item:
            case GrowingReasoning(id=name, index=index):
                self._put(SummaryDone(self._next(), name, index, 0, item.text().text))
                self._put(SummaryPartDone(self._next(), name, index, 0, item.text()))
            case GrowingMessage(id=name, index=index):
                self._put(TextDone(self._next(), name, index, 0, item.text))
                self._put(PartDone(self._next(), name, index, 0, item.part()))
            case GrowingCall(id=name, index=index):
                self._put(ArgumentsDone(self._next(), name, index, item.name, item.arguments))
            case _:
                assert_never(item)
        self._put(ItemDone(self._next(), item.index, item.item()))

    def _end(self, outcome: Outcome) -> None:
        sent = self._message.text if self._message else ""
        calls = sum(isinstance(each, GrowingCall) for each in self._items)
        if sent != self._text.text or calls > self._seen_calls:
            self._fail()  # the whole answer is shorter than what was sent before a takeover
            return
        self._progress()
        ending = ending_of(outcome)
        has_rejoined, self._is_silent = self._is_silent, False
        for item in self._items:
            if item.status == "in_progress":
                self._close(item, ending.item_status)
            elif has_rejoined:
                self._close(item, item.status)
        self._finish(ending, outcome)

    def _fail(self) -> None:
        for item in self._items:
            if item.status == "in_progress":
                item.status = "incomplete"
        self._finish(ResponseEnding("failed", _RESTARTED), None)

    def _finish(self, ending: ResponseEnding, outcome: Outcome | None) -> None:
        self.is_over = True
        output = [each.item() for each in self._items]
        response = self._description.response(ending, output, usage_of(outcome))
        match ending.status:
            case "completed":
                self._put(ResponseCompleted(self._next(), response))
            case "failed":
                self._put(ResponseFailed(self._next(), response))
            case _:  # clients know no event for a cancelled response: this one carries its status
                self._put(ResponseIncomplete(self._next(), response))

    def _next(self) -> int:
        return self._number + len(self._lines)

    def _put(self, event: ResponseEvent) -> None:
        if not self._is_silent:
            self._lines.append(NamedLine(str(event.__struct_config__.tag), event))
