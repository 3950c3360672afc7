"""The messages on a WebSocket beside events: the fields of the client's, and the server's replies."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from millrace.webapp.problems import Problem, invalid
from millrace.webapp.request_input import Json
from millrace.worker.contract.events import Status
from millrace.worker.contract.state import GenerationState

MAX_REQUEST_CHARACTERS = 128

MessageType = Literal["send", "follow", "unfollow", "cancel", "ping"]


class FollowFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A generation, and the cursor to follow it from."""

    generation: str
    after: str | UnsetType = UNSET


class GenerationField(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The generation to cancel, or to follow no longer."""

    generation: str


class NoFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fields of a message that has none."""


class KeyField(msgspec.Struct, frozen=True):
    """The idempotency key of a message that creates a generation."""

    idempotency_key: Annotated[str, Meta(min_length=1)] | UnsetType = UNSET


class SocketReply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """A message of the server to one of the client's, with the `request` of that message if it had one."""

    request: str | None = None


class Accepted(SocketReply, frozen=True, tag="accepted"):
    """The reply to `send`: the generation exists, and its events follow."""

    generation: str
    status: Status
    conversation_id: str
    message_id: str


class Following(SocketReply, frozen=True, tag="following"):
    """The reply to `follow`: the events after the cursor follow."""

    generation: str


class Ended(SocketReply, frozen=True, tag="ended"):
    """No further events come: the generation has ended with nothing after the cursor (`done`), or is `unfollowed`."""

    generation: str
    why: Literal["done", "unfollowed"]
    status: Status | None = None


class CancelAccepted(SocketReply, frozen=True, tag="cancel_accepted"):
    """The reply to `cancel`, with the generation's status; its `cancelled` event is the outcome."""

    generation: str
    status: Status


class Pong(SocketReply, frozen=True, tag="pong"):
    """The reply to `ping`."""


class Rejected(SocketReply, frozen=True, tag="rejected"):
    """A message that had no effect: the members of the problem that the same request over HTTP gets."""

    status: int
    code: str
    detail: str
    field: str | None = None
    retry_after: int | None = None
    generation: str | None = None


class SocketReady(msgspec.Struct, frozen=True, tag="ready", tag_field="type"):
    """The first message on every socket."""

    heartbeat_seconds: float
    max_follows: int
    max_message_bytes: int


def accepted(state: GenerationState, request: str | None) -> Accepted:
    """Return the reply to a `send`."""
    return Accepted(
        generation=state.generation,
        status=state.status,
        conversation_id=state.conversation,
        message_id=state.message,
        request=request,
    )


def rejected(problem: Problem, request: str | None) -> Rejected:
    """Return the reply to a message that has caused a problem."""
    members: dict[str, Any] = problem.members
    return Rejected(
        status=problem.status,
        code=problem.code,
        detail=problem.detail,
        field=members.get("field"),
        retry_after=problem.retry_after,
        generation=members.get("generation_id"),
        request=request,
    )


def take_request(body: Json) -> str | None:
    """Remove and return the client's own id of its message; raises Problem 422."""
    given = body.pop("request", None)
    if given is None or given == "":
        return None
    is_text = isinstance(given, str) and len(given) <= MAX_REQUEST_CHARACTERS
    if not is_text or not all(" " <= each <= "~" for each in given):
        raise invalid("request", f"request takes 1 to {MAX_REQUEST_CHARACTERS} printable ASCII characters.")
    return str(given)
