"""The events of a log: one struct per type, one encoder, one decoder.

Events are encoded with the standard `json` module as ASCII, because a model's text may hold lone surrogates,
which msgspec rejects, and because CR, LF, NUL and U+2028 must not break a line of an event stream.
"""

import json
from json.encoder import encode_basestring_ascii
from typing import Any, Literal, assert_never, get_args

import msgspec
from msgspec import UNSET, UnsetType

from millrace.worker.errors import MESSAGES, ErrorCode

FinalStatus = Literal["completed", "cancelled", "failed"]
Status = Literal["queued", "running", "completed", "cancelled", "failed"]
CancelledBy = Literal["user", "abandoned", "deleted"]
SnapshotReason = Literal["takeover", "expired", "lost", "gap", "fallback"]
ImageFormat = Literal["png", "jpeg", "gif", "webp"]
Purpose = Literal["answer", "intent", "naming", "title", "suggestions", "learning"]


class Event(msgspec.Struct, frozen=True, tag_field="type", tag=str.lower, omit_defaults=True):
    """The base of all events; the tag, `type`, is always the first field of the JSON."""


class Usage(msgspec.Struct, frozen=True):
    """Tokens as the provider counted them or, where `exact` is false, as estimated from the text.

    `input_tokens` excludes cached ones; `reasoning_tokens` are part of `output_tokens`. `cost`, in US dollars, is
    absent where the model's price is not known.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    exact: bool = True
    reasoning_tokens: int = 0
    cost: float | UnsetType = UNSET


class PaidCall(Usage, frozen=True, kw_only=True):
    """One paid call of a model for a generation, and what it was for."""

    purpose: Purpose
    provider: str
    model: str


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds from the claim to the first delta (None where there was none) and to the end.

    `reasoning_ms` are those from the first reasoning to the first text after it, or to the end; absent without
    reasoning.
    """

    first_delta_ms: int | None
    total_ms: int
    reasoning_ms: int | UnsetType = UNSET


class StatusEvent(Event, frozen=True, tag="status"):
    """The generation's progress; the first event of every log is `queued` and carries the ids.

    `running` names the provider and the model that are asked; after a `retrying` it comes again with those that answer.
    `retrying` names those that are asked next, and the error code of the call before.
    """

    status: Literal["queued", "running", "searching", "retrying"]
    attempt: int | None = None
    model: str | None = None
    provider: str | None = None
    requested_model: str | None = None
    code: str | None = None
    generation: str | None = None
    conversation_id: str | None = None
    message_id: str | None = None


class Link(msgspec.Struct, frozen=True):
    """A web page used for an answer."""

    title: str
    url: str


class ContextEvent(Event, frozen=True, tag="context"):
    """The context of the answer: web pages, and counts of messages, profiles and memories; `failed` ones are missing.

    `intent` is the message's intent, `updated` the slots of the conversation's context that the message has changed.
    """

    sources: list[Link]
    history: int
    profile: int
    memory: int
    failed: int
    intent: str | None = None
    updated: dict[str, Any] | None = None


class ImageReference(msgspec.Struct, frozen=True):
    """An image of an answer; `bytes` is its size."""

    id: str
    format: ImageFormat
    bytes: int


class Snapshot(Event, frozen=True, tag="snapshot"):
    """The whole answer so far: replace everything received before."""

    content: str
    reasoning: str
    citations: list[Any]
    tools: list[Any]
    reason: SnapshotReason
    images: list[ImageReference] = []


class Chunk(Event, frozen=True):
    """Append `content` to the text."""

    content: str


class Reasoning(Event, frozen=True):
    """Append `content` to the reasoning."""

    content: str


class Citation(Event, frozen=True, rename="camel"):
    """A citation, with the fields and names of Bedrock's `CitationsDelta`."""

    title: str | None = None
    source: str | None = None
    source_content: list[Any] | None = None
    location: dict[str, Any] | None = None


class Image(Event, frozen=True):
    """An image of the answer, at this place of its text; `bytes` is its size."""

    id: str
    format: ImageFormat
    bytes: int


class ToolUse(Event, frozen=True, tag="tool_use"):
    """The model's use of a tool; `input` is the parsed JSON of all its input deltas."""

    id: str
    name: str
    input: Any


class ToolResult(Event, frozen=True, tag="tool_result"):
    """The result of a tool that ran on the provider's side."""

    id: str
    content: list[Any]
    status: str | None = None


class Complete(Event, frozen=True):
    """The outcome of a complete answer; `provider` and `model` are those that gave it.

    `usage` is that of the answer, `usage_by` all paid calls so far, and `usage_total` their sum.
    """

    mode: Literal["live", "chunked", "whole"]
    stop_reason: str
    usage: Usage
    latency: Latency
    model: str
    provider: str
    message_id: str
    stored: bool
    requested_model: str | None = None
    provider_details: dict[str, Any] | None = None
    usage_by: list[PaidCall] = []
    usage_total: Usage | None = None


class Cancelled(Event, frozen=True):
    """The outcome of a cancelled answer; the text so far is kept.

    `usage` is a lower bound: a provider may bill the tokens that it generates after its connection is closed. `latency`
    is absent where no worker had begun.
    """

    by: CancelledBy
    usage: Usage
    model: str | None = None
    provider: str | None = None
    requested_model: str | None = None
    usage_by: list[PaidCall] = []
    latency: Latency | None = None
    usage_total: Usage | None = None


class Error(Event, frozen=True):
    """The outcome of a failed answer; the text so far is kept. `latency` is absent where no worker had begun."""

    code: str
    message: str
    retryable: bool
    usage: Usage | None = None
    model: str | None = None
    provider: str | None = None
    requested_model: str | None = None
    usage_by: list[PaidCall] = []
    latency: Latency | None = None
    usage_total: Usage | None = None


class Title(Event, frozen=True):
    """The conversation's title."""

    title: str


class Suggestions(Event, frozen=True):
    """Questions that the user may want to ask next."""

    suggestions: list[str]


class Done(Event, frozen=True):
    """The end of the log: every log has exactly one, and it is the last event.

    `usage_by` and `usage_total` replace those of the outcome if calls have been paid for after it, such as the title's.
    """

    status: FinalStatus
    usage_by: list[PaidCall] = []
    usage_total: Usage | None = None


AnyEvent = (
    StatusEvent
    | ContextEvent
    | Snapshot
    | Chunk
    | Reasoning
    | Citation
    | Image
    | ToolUse
    | ToolResult
    | Complete
    | Cancelled
    | Error
    | Title
    | Suggestions
    | Done
)

Outcome = Complete | Cancelled | Error
"""The events that say how an answer ended."""

EVENT_PREFIX = b'{"type":"'
TYPES = frozenset(str(each.__struct_config__.tag) for each in get_args(AnyEvent))
DONE_PREFIX = b'{"type":"done"'
SNAPSHOT_PREFIX = b'{"type":"snapshot"'

_dump = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), check_circular=False, allow_nan=False).encode


def kind_of(event: AnyEvent) -> str:
    """Return the event's `type`."""
    return str(event.__struct_config__.tag)


def encode(event: Event) -> bytes:
    """Return the event as one line of ASCII JSON whose first field is `type`; raises ValueError for NaN or infinity."""
    if type(event) is Chunk:  # nearly every event is one: this path makes no dict and no encoder
        return b'{"type":"chunk","content":%b}' % encode_basestring_ascii(event.content).encode("ascii")
    return _dump(msgspec.to_builtins(event)).encode("ascii")


_DECODER: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


def decode(data: bytes | str) -> AnyEvent:
    """Return the event that `encode` encoded; raises ValueError (msgspec's error is one) for anything else."""
    try:
        return _DECODER.decode(data)
    except msgspec.DecodeError:
        pass  # it may hold a lone surrogate, which only the standard library takes
    try:
        return msgspec.convert(json.loads(data), AnyEvent)
    except RecursionError as error:
        raise ValueError("the event is nested too deeply") from error


def is_of_unknown_type(data: bytes) -> bool:
    """Return whether an encoded event has a type that this version does not know, such as one of a newer worker."""
    return data.removeprefix(EVENT_PREFIX).split(b'"', 1)[0].decode("ascii", "replace") not in TYPES


def status_after(outcome: Outcome) -> FinalStatus:
    """Return the status of a generation that ended with this outcome."""
    match outcome:
        case Complete():
            return "completed"
        case Cancelled():
            return "cancelled"
        case Error():
            return "failed"
        case _:
            assert_never(outcome)


def _error(code: ErrorCode) -> str:
    return encode(Error(code, MESSAGES[code], retryable=True)).decode()


FINAL_EVENTS = json.dumps(
    {
        **{f"unclaimed:{by}": encode(Cancelled(by, Usage(exact=True))).decode() for by in get_args(CancelledBy)},
        # The usage of a lost attempt is unknown.
        **{f"cancelled:{by}": encode(Cancelled(by, Usage(exact=False))).decode() for by in get_args(CancelledBy)},
        **{f"done:{status}": encode(Done(status)).decode() for status in get_args(FinalStatus)},
        "worker_lost": _error("worker_lost"),
        "queue_timeout": _error("queue_timeout"),
    }
)
"""The events, by name, that a script writes when it ends a generation that no worker holds, as a JSON object."""
