"""The events of a response's stream, one struct per type; each has its number in the stream, without a hole.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from typing import Any

import msgspec

from millrace.webapp.facades.openai.responses.objects import (
    OutputItem,
    OutputText,
    PageCitation,
    ResponseObject,
    SummaryText,
)


class ResponseEvent(msgspec.Struct, frozen=True, tag_field="type"):
    """The base of all events; the tag, `type`, is also the name in the frame's `event:` line."""

    sequence_number: int


class StateEvent(ResponseEvent, frozen=True):
    """The base of the events that carry the whole response."""

    response: ResponseObject


class ResponseCreated(StateEvent, frozen=True, tag="response.created"):
    """The first event."""


class ResponseQueued(StateEvent, frozen=True, tag="response.queued"):
    """A response in the background waits for a worker."""


class ResponseInProgress(StateEvent, frozen=True, tag="response.in_progress"):
    """A worker answers."""


class ResponseCompleted(StateEvent, frozen=True, tag="response.completed"):
    """The end of a whole answer."""


class ResponseIncomplete(StateEvent, frozen=True, tag="response.incomplete"):
    """The end of an answer that was cut off, or cancelled: its `status` says which."""


class ResponseFailed(StateEvent, frozen=True, tag="response.failed"):
    """The end of an answer that failed."""


class ItemAdded(ResponseEvent, frozen=True, tag="response.output_item.added"):
    """An item begins."""

    output_index: int
    item: OutputItem


class ItemDone(ResponseEvent, frozen=True, tag="response.output_item.done"):
    """An item is whole."""

    output_index: int
    item: OutputItem


class ContentEvent(ResponseEvent, frozen=True):
    """The base of the events of a message's text; it is the only part of the message."""

    item_id: str
    output_index: int
    content_index: int


class PartAdded(ContentEvent, frozen=True, tag="response.content_part.added"):
    """The text begins."""

    part: OutputText


class PartDone(ContentEvent, frozen=True, tag="response.content_part.done"):
    """The text is whole, with its citations."""

    part: OutputText


class TextDelta(ContentEvent, frozen=True, tag="response.output_text.delta"):
    """Append `delta` to the text."""

    delta: str
    logprobs: list[Any] = []


class TextDone(ContentEvent, frozen=True, tag="response.output_text.done"):
    """The whole text."""

    text: str
    logprobs: list[Any] = []


class AnnotationAdded(ContentEvent, frozen=True, tag="response.output_text.annotation.added"):
    """A citation."""

    annotation_index: int
    annotation: PageCitation


class SummaryEvent(ResponseEvent, frozen=True):
    """The base of the events of a reasoning's text; it is the only part of the summary."""

    item_id: str
    output_index: int
    summary_index: int


class SummaryPartAdded(SummaryEvent, frozen=True, tag="response.reasoning_summary_part.added"):
    """The reasoning's text begins."""

    part: SummaryText


class SummaryPartDone(SummaryEvent, frozen=True, tag="response.reasoning_summary_part.done"):
    """The reasoning's text is whole."""

    part: SummaryText


class SummaryDelta(SummaryEvent, frozen=True, tag="response.reasoning_summary_text.delta"):
    """Append `delta` to the reasoning."""

    delta: str


class SummaryDone(SummaryEvent, frozen=True, tag="response.reasoning_summary_text.done"):
    """The whole reasoning."""

    text: str


class ArgumentsEvent(ResponseEvent, frozen=True):
    """The base of the events of a tool's arguments."""

    item_id: str
    output_index: int


class ArgumentsDelta(ArgumentsEvent, frozen=True, tag="response.function_call_arguments.delta"):
    """Append `delta` to the arguments."""

    delta: str


class ArgumentsDone(ArgumentsEvent, frozen=True, tag="response.function_call_arguments.done"):
    """The whole arguments."""

    name: str
    arguments: str


AnyResponseEvent = (
    ResponseCreated
    | ResponseQueued
    | ResponseInProgress
    | ResponseCompleted
    | ResponseIncomplete
    | ResponseFailed
    | ItemAdded
    | ItemDone
    | PartAdded
    | PartDone
    | TextDelta
    | TextDone
    | AnnotationAdded
    | SummaryPartAdded
    | SummaryPartDone
    | SummaryDelta
    | SummaryDone
    | ArgumentsDelta
    | ArgumentsDone
)
