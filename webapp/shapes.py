"""What the API's answers are made of: one struct an answer, so that the OpenAPI document tells what is really sent."""

import json
from typing import Any, Literal

import msgspec
from flask import Response
from msgspec import UNSET, UnsetType

from worker.contract.events import Cancelled, Complete, Error, Status, Usage
from worker.contract.request import OnDisconnect

Outcome = Literal["complete", "cancelled", "error"]


class Receipt(msgspec.Struct, frozen=True):
    """The generation is made; where to follow and stop it."""

    id: str
    status: Literal["queued"]
    conversation_id: str
    message_id: str
    events_url: str
    cancel_url: str


class Failure(msgspec.Struct, frozen=True):
    """Why an answer failed; `message` is safe to show."""

    code: str
    message: str
    retryable: bool


class WholeAnswer(msgspec.Struct, frozen=True):
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
    error: Failure | UnsetType = UNSET


class Standing(msgspec.Struct, frozen=True):
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


class Stopped(msgspec.Struct, frozen=True):
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


def reply(shape: msgspec.Struct, status: int = 200) -> Response:
    """Return the answer that consists of this; lone surrogates pass, as JSON's escapes."""
    return Response(json.dumps(msgspec.to_builtins(shape)), status, content_type="application/json")
