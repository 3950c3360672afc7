"""The bodies of the API's responses, one struct each, from which the OpenAPI document is generated; URLs in them."""

import json
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from flask import Response
from msgspec import UNSET, UnsetType

from millrace.webapp.mounts import url_of
from millrace.worker.contract.events import (
    Cancelled,
    Complete,
    Error,
    ImageReference,
    Latency,
    Link,
    Status,
    Usage,
)
from millrace.worker.contract.request import OnDisconnect

Outcome = Literal["complete", "cancelled", "error"]


class Receipt(msgspec.Struct, frozen=True):
    """A created generation, with the URLs to follow and cancel it; `question_id` is empty where nothing is stored."""

    id: str
    status: Literal["queued"]
    conversation_id: str
    message_id: str
    question_id: str
    events_url: str
    cancel_url: str


class FailureSchema(msgspec.Struct, frozen=True):
    """The reason why an answer failed; `message` can be shown to users."""

    code: str
    message: str
    retryable: bool


class WholeAnswerView(msgspec.Struct, frozen=True):
    """A whole answer; `error` is present if the outcome is an error."""

    id: str
    conversation_id: str
    message_id: str
    question_id: str
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
    """The current state of a generation; `content` and the like are null if they are no longer stored.

    `done`: its log is complete. Title and suggestions may follow the outcome until then.
    """

    id: str
    status: Status
    done: bool
    content: str | None
    reasoning: str | None
    citations: list[Any] | None
    tools: list[Any] | None
    images: list[ImageReference] | None
    sources: list[Link] | None
    last_event_id: str
    outcome: Complete | Cancelled | Error | None
    usage: Usage | None
    title: str | None
    suggestions: list[str]
    conversation_id: str
    message_id: str
    question_id: str
    attempt: int
    model: str | None
    metadata: dict[str, str]
    on_disconnect: OnDisconnect
    created_at: str


class ExcerptSchema(msgspec.Struct, frozen=True):
    """A piece of an excerpt, in plain text; `is_hit`: it is one of the words that were searched for."""

    text: str
    is_hit: bool


class MatchSchema(msgspec.Struct, frozen=True):
    """Where a search has found a conversation: in a message, or in its title if `message_id` is null."""

    message_id: str | None
    role: Literal["user", "assistant"] | None
    excerpt: list[ExcerptSchema]


class ConversationSchema(msgspec.Struct, frozen=True):
    """A conversation; `active_generation` is the generation that runs in it, if any; a search adds its `match`."""

    id: str
    title: str | None
    created_at: str
    updated_at: str
    active_generation: str | None
    match: MatchSchema | UnsetType = UNSET


class ConversationPage(msgspec.Struct, frozen=True):
    """A page of conversations, last changed first; `next` is the cursor of the following page."""

    conversations: list[ConversationSchema]
    next: str | None


class MessageSchema(msgspec.Struct, frozen=True):
    """A question, or an answer with its outcome; `parent_id` is the question that an answer belongs to."""

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
    images: list[ImageReference]
    suggestions: list[str]
    sources: list[Link]
    latency: Latency | None


class MessagePage(msgspec.Struct, frozen=True):
    """A page of a conversation's messages, oldest first; `next` is the cursor of the page of older messages."""

    messages: list[MessageSchema]
    next: str | None
    active_generation: str | None


class CancelReceipt(msgspec.Struct, frozen=True):
    """The status of a generation after a request to cancel it."""

    status: Status


class ProblemBody(msgspec.Struct, frozen=True):
    """A rejection or a failure (RFC 9457); `code` is stable, `field` names the invalid field of a request."""

    type: Literal["about:blank"]
    title: str
    status: int
    detail: str
    code: str
    field: str | UnsetType = UNSET
    generation_id: str | UnsetType = UNSET


def timestamp(milliseconds: int) -> str:
    """Return a time, given in milliseconds since 1970, as ISO 8601 in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")


def json_response(body: msgspec.Struct, status: int = 200) -> Response:
    """Return a JSON response in UTF-8, which for most languages is half as large as ASCII with escapes."""
    built = msgspec.to_builtins(body)
    try:
        encoded = json.dumps(built, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a lone surrogate, which only an escape can carry
        encoded = json.dumps(built).encode("ascii")
    return Response(encoded, status, content_type="application/json")


def generation_url(generation: str) -> str:
    """Return the path of a generation, including the prefix that the routes are mounted at."""
    return url_of("generations.get_generation", generation=generation)


def conversation_url(conversation: str) -> str:
    """Return the path of a conversation, including the prefix that the routes are mounted at."""
    return url_of("conversations.get_conversation", conversation=conversation)
