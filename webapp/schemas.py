"""What the API's answers are made of: one struct an answer, so that the OpenAPI document tells what is really sent."""

import json
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from flask import Response
from msgspec import UNSET, UnsetType

from millrace.worker.contract.events import Cancelled, Complete, Error, Status, Usage
from millrace.worker.contract.request import OnDisconnect

Outcome = Literal["complete", "cancelled", "error"]


class Receipt(msgspec.Struct, frozen=True):
    """The generation is made; where to follow and stop it."""

    id: str
    status: Literal["queued"]
    conversation_id: str
    message_id: str
    events_url: str
    cancel_url: str


class FailureSchema(msgspec.Struct, frozen=True):
    """Why an answer failed; `message` is safe to show."""

    code: str
    message: str
    retryable: bool


class WholeAnswerView(msgspec.Struct, frozen=True):
    """An answer in one piece; `error` is there where the outcome is one."""

    id: str
    conversation_id: str
    message_id: str
    message: str
    title: str | None
    suggestions: list[str]
    outcome: Outcome
    mode: Literal["live", "chunked", "whole"] | None
    stop_reason: str | None
    usage: Usage | None
    model: str | None
    provider: str | None
    error: FailureSchema | UnsetType = UNSET


class GenerationView(msgspec.Struct, frozen=True):
    """A generation as it stands; `content` and its like are null where it is not kept any more."""

    id: str
    status: Status
    content: str | None
    reasoning: str | None
    citations: list[Any] | None
    tools: list[Any] | None
    last_event_id: str
    outcome: Complete | Cancelled | Error | None
    usage: Usage | None
    title: str | None
    suggestions: list[str]
    conversation_id: str
    message_id: str
    attempt: int
    model: str | None
    metadata: dict[str, str]
    on_disconnect: OnDisconnect
    created_at: str


class ConversationSchema(msgspec.Struct, frozen=True):
    """A conversation; `active_generation` is the one that runs in it just now."""

    id: str
    title: str | None
    created_at: str
    updated_at: str
    active_generation: str | None


class ConversationPage(msgspec.Struct, frozen=True):
    """A page of conversations, the last changed first; `next` is the cursor of the page after it."""

    conversations: list[ConversationSchema]
    next: str | None


class MessageSchema(msgspec.Struct, frozen=True):
    """A question, or an answer with how it came about; `parent_id` is the question that an answer belongs to."""

    id: str
    role: Literal["user", "assistant"]
    content: str
    created_at: str
    parent_id: str | None
    generation: str | None
    outcome: Complete | Cancelled | Error | None
    model: str | None
    provider: str | None
    reasoning: str
    citations: list[Any]
    tools: list[Any]
    suggestions: list[str]


class MessagePage(msgspec.Struct, frozen=True):
    """A page of a conversation, oldest first; `next` is the cursor of the page before it in time."""

    messages: list[MessageSchema]
    next: str | None
    active_generation: str | None


class CancelReceipt(msgspec.Struct, frozen=True):
    """Where a generation stands after it was asked to stop."""

    status: Status


class ProblemBody(msgspec.Struct, frozen=True):
    """A refusal or a failure (RFC 9457); `code` is stable, `field` names what is wrong in a request."""

    type: Literal["about:blank"]
    title: str
    status: int
    detail: str
    code: str
    field: str | UnsetType = UNSET
    generation_id: str | UnsetType = UNSET


def timestamp(milliseconds: int) -> str:
    """Return a time, in milliseconds since 1970, as ISO 8601 in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")


def json_response(shape: msgspec.Struct, status: int = 200) -> Response:
    """Return the answer that consists of this; lone surrogates pass, as JSON's escapes."""
    return Response(json.dumps(msgspec.to_builtins(shape)), status, content_type="application/json")
