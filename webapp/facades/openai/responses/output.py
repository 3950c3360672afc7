"""The items of a response's output: while they grow, and at once from a whole answer."""

import json
from dataclasses import dataclass, field
from typing import Any

from millrace.webapp.facades.openai.ids import FUNCTION_CALL, MESSAGE, REASONING, id_of
from millrace.webapp.facades.openai.responses.objects import (
    FunctionCallItem,
    ItemStatus,
    MessageItem,
    OutputItem,
    OutputText,
    PageCitation,
    ReasoningItem,
    SummaryText,
)
from millrace.worker.contract.transcript import Transcript


@dataclass
class GrowingReasoning:
    """A reasoning item."""

    id: str
    index: int
    pieces: list[str] = field(default_factory=list[str])
    status: ItemStatus = "in_progress"

    def text(self) -> SummaryText:
        """Return the text so far."""
        return SummaryText("".join(self.pieces))

    def item(self) -> ReasoningItem:
        """Return the item so far."""
        return ReasoningItem(self.id, self.status, [self.text()] if self.pieces else [])


@dataclass
class GrowingMessage:
    """The message item, of which an answer has one at most."""

    id: str
    index: int
    pieces: list[str] = field(default_factory=list[str])
    annotations: list[PageCitation] = field(default_factory=list[PageCitation])
    status: ItemStatus = "in_progress"

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self.pieces)

    def part(self) -> OutputText:
        """Return the text so far with its citations."""
        return OutputText(self.text, list(self.annotations))

    def item(self) -> MessageItem:
        """Return the item so far."""
        return MessageItem(self.id, self.status, [self.part()])


@dataclass
class GrowingCall:
    """The use of a tool, which a log has whole."""

    id: str
    index: int
    call: str
    name: str
    arguments: str
    status: ItemStatus = "in_progress"

    def item(self) -> FunctionCallItem:
        """Return the item."""
        return FunctionCallItem(self.id, self.call, self.name, self.arguments, self.status)


Growing = GrowingReasoning | GrowingMessage | GrowingCall


@dataclass(frozen=True)
class ItemIds:
    """The ids of the items of one generation, which need no log: the first reasoning has the same one everywhere."""

    generation: str

    def reasoning(self, count: int) -> str:
        """Return the id of a reasoning item, after as many others."""
        return id_of(REASONING, self.generation, count + 1 if count else None)

    def message(self) -> str:
        """Return the id of the message item."""
        return id_of(MESSAGE, self.generation)

    def call(self, count: int) -> str:
        """Return the id of the use of a tool, after as many others."""
        return id_of(FUNCTION_CALL, self.generation, count + 1)


def begin_call(ids: ItemIds, calls: list[GrowingCall], index: int, call: str, name: str) -> GrowingCall:
    """Return the use of a tool after others, without its arguments yet.

    A client tells calls apart by `call_id`. Where a model repeats one, the item's own id takes its place.
    """
    item = ids.call(len(calls))
    is_new = bool(call) and all(each.call != call for each in calls)
    return GrowingCall(item, index, call if is_new else item, name, "")


def arguments_of(given: Any) -> str:
    """Return a tool's input as the JSON of its arguments."""
    return json.dumps(given)


def annotation_of(title: str | None, source: str | None, location: Any, position: int) -> PageCitation | None:
    """Return a citation of a web page; None for one of anything else, which the protocol has no place for."""
    url = source if source and source.startswith(("https://", "http://")) else None
    match location:
        case {"web": {"url": str(found)}}:
            url = found
        case _:
            pass
    return None if url is None else PageCitation(url, title or url, position, position)


def annotations_of(citations: list[Any], position: int) -> list[PageCitation]:
    """Return the citations of web pages among those of a transcript or a snapshot."""
    found = (annotation_of(each.get("title"), each.get("source"), each.get("location"), position) for each in citations)
    return [each for each in found if each is not None]


def output_of(generation: str, transcript: Transcript, status: ItemStatus) -> list[OutputItem]:
    """Return the items of an answer; `status` is that of its last one, and those before it are complete.

    They are those of a stream, except where the model has reasoned between two texts: that reasoning is one item here.
    """
    ids, items = ItemIds(generation), list[OutputItem]()
    if transcript.reasoning:
        items.append(GrowingReasoning(ids.reasoning(0), 0, [transcript.reasoning], "completed").item())
    if transcript.content or transcript.citations:
        annotations = annotations_of(transcript.citations, len(transcript.content))
        if transcript.content or annotations:
            items.append(GrowingMessage(ids.message(), 0, [transcript.content], annotations, status).item())
    calls: list[GrowingCall] = []
    for tool in transcript.tools:
        calls.append(begin_call(ids, calls, 0, tool["id"], tool["name"]))
        calls[-1].arguments, calls[-1].status = arguments_of(tool["input"]), "completed"
    items += [each.item() for each in calls]
    if items and isinstance(items[-1], ReasoningItem):
        items[-1] = GrowingReasoning(ids.reasoning(0), 0, [transcript.reasoning], status).item()
    return items
