"""The dialect of `/api/conversation-stream/USER_ID` and `/api/conversation/USER_ID`: lines typed status to complete."""

from typing import Any, Literal

import msgspec
from flask import Blueprint, Response, request
from msgspec import UNSET, UnsetType

from millrace.webapp.facades.dialect import Appended, Line
from millrace.webapp.facades.fields import refusing_in, rename
from millrace.webapp.facades.stream import stream_answer
from millrace.webapp.generation.creation import create_generation, idempotency_key
from millrace.webapp.generation.validation import parse
from millrace.webapp.generation.views import whole_answer
from millrace.webapp.guard.auth import current_owner, ensure_owner
from millrace.webapp.guard.limits import limited
from millrace.webapp.openapi.document import IDEMPOTENCY_KEY, Description, described
from millrace.webapp.problems import Problem
from millrace.webapp.request_input import Json, read_object
from millrace.webapp.schemas import FailureSchema, generation_url, json_response
from millrace.webapp.services import services
from millrace.worker.contract.events import (
    AnyEvent,
    Cancelled,
    Complete,
    ContextEvent,
    Done,
    Error,
    Link,
    StatusEvent,
    Suggestions,
    Title,
)
from millrace.worker.contract.ids import START

ME = "me"
_FIELDS = {"message": "message", "session_id": "conversation_id", "model": "model", "search": "search"}
_WORDS = {
    "queued": "Waiting for a worker",
    "running": "Answering",
    "searching": "Searching the web",
    "retrying": "Trying again",
}
_AGAIN = "The answer begins again."
_INTERRUPTED = "This server is being restarted. Please ask again."

routes = Blueprint("conversation_facade", __name__, url_prefix="/api")


class ConversationFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message, within a session or, where that is null, in a new one."""

    message: str
    session_id: str | None = None
    model: str | UnsetType = UNSET
    search: bool | Literal["auto"] | UnsetType = UNSET


class SessionAnswer(msgspec.Struct, frozen=True):
    """The answer in one piece."""

    message: str
    suggestions: list[str]
    session_id: str


class TypedLine(msgspec.Struct, frozen=True, tag_field="type", tag=lambda name: name.removesuffix("Line").lower()):
    """The base of the lines."""


class StatusLine(TypedLine, frozen=True):
    """Where the answer stands, as a word and as a text to show."""

    status: Literal["queued", "running", "searching", "retrying", "restarted"]
    message: str
    session_id: str


class ContextLine(TypedLine, frozen=True):
    """What the answer is built on: pages, and how many messages, profiles and memories."""

    sources: list[Link]
    history: int
    profile: int
    memory: int
    intent: str | None
    updated: dict[str, Any] | None
    session_id: str


class ChunkLine(TypedLine, frozen=True):
    """Append `content`."""

    content: str


class CompleteLine(TypedLine, frozen=True):
    """The end: the whole text, also where chunks were held back, and what to ask next."""

    message: str
    suggestions: list[str]
    title: str | None
    is_cancelled: bool
    session_id: str


class ErrorLine(TypedLine, frozen=True):
    """The end of an answer that failed; `error` and `message` are the same text, safe to show."""

    error: str
    message: str
    code: str
    retryable: bool
    session_id: str


SESSION_LINES = (StatusLine, ContextLine, ChunkLine, CompleteLine, ErrorLine)


@routes.post("/conversation-stream/<path:user>")
@described(Description(body=ConversationFields, stream=SESSION_LINES, parameters=(IDEMPOTENCY_KEY,)))
@limited("create")
def stream(user: str) -> Response:
    """Answer with the stream of a new turn."""
    owner = _owner(user)
    body = _body()
    with refusing_in(_FIELDS):
        return stream_answer(owner, parse(body, services().settings), ConversationDialect())


@routes.post("/conversation/<path:user>")
@described(Description(body=ConversationFields, answers={200: SessionAnswer}, parameters=(IDEMPOTENCY_KEY,)))
@limited("create")
def answer(user: str) -> Response:
    """Answer a new turn in one piece.

    Raises Problem 502 where the answer fails, 504 where it takes too long.
    """
    owner = _owner(user)
    body = _body()
    with refusing_in(_FIELDS):
        asked = parse(body, services().settings)
        ids = create_generation(services(), owner, asked, idempotency_key(request), is_streamed=False)
    whole = whole_answer(ids, services().hub.entries(ids.generation, START, services().settings.relay.wait_seconds))
    if whole is None:
        detail = "The answer takes longer than this call may. It goes on: follow it by its events."
        url = f"{generation_url(ids.generation)}/events"
        raise Problem(504, "still_running", detail, generation_id=ids.generation, events_url=url)
    if isinstance(whole.error, FailureSchema):
        failure = whole.error
        raise Problem(502, failure.code, failure.message, retryable=failure.retryable, session_id=ids.conversation)
    return json_response(SessionAnswer(whole.message, whole.suggestions, ids.conversation))


def _owner(user: str) -> str:
    """Return the asker's owner; raises Problem 404 where the address names another."""
    if user == ME:
        return ensure_owner()
    owner = current_owner()
    if owner is None or user != owner:
        raise Problem(
            404, "not_found", "There is no such user, or it is not you. The address takes your own id, or me."
        )
    return owner


def _body() -> Json:
    """Return the body in our own fields; `session_id` may be null, as such apps begin."""
    body = rename(read_object(request, services().settings.limits.max_body_bytes), _FIELDS)
    return {name: value for name, value in body.items() if (name, value) != ("conversation_id", None)}


class ConversationDialect:
    """Tells a new turn of a session."""

    def __init__(self) -> None:
        self.is_over = False
        self._text = Appended()
        self._session = ""
        self._title: str | None = None
        self._suggestions: list[str] = []
        self._outcome: Complete | Cancelled | Error | None = None

    def tell(self, event: AnyEvent) -> list[Line]:
        """Return the event's lines; the text comes whole with `complete`, also where a snapshot replaced it."""
        was_contradicted = self._text.is_contradicted
        content = self._text.add(event)
        if content:
            return [ChunkLine(content)]
        if self._text.is_contradicted and not was_contradicted:
            return [StatusLine("restarted", _AGAIN, self._session)]
        return self._tell_other(event)

    def _tell_other(self, event: AnyEvent) -> list[Line]:
        match event:
            case StatusEvent(status=status, conversation_id=conversation):
                self._session = conversation or self._session
                return [StatusLine(status, _WORDS[status], self._session)]
            case ContextEvent(sources, history, profile, memory, intent=intent, updated=updated):
                return [ContextLine(sources, history, profile, memory, intent, updated, self._session)]
            case Title(title):
                self._title = title
            case Suggestions(suggestions):
                self._suggestions = suggestions
            case Complete() | Cancelled():
                self._outcome = event
            case Error(code, message, retryable):
                self._outcome = event
                return [ErrorLine(message, message, code, retryable, self._session)]
            case Done():
                return self._end()
            case _:
                pass  # the dialect has no word for it
        return []

    def interrupted(self) -> list[Line]:
        """Return the error of a stream that this process has to end."""
        self.is_over = True
        return [ErrorLine(_INTERRUPTED, _INTERRUPTED, "stream_lost", True, self._session)]

    def _end(self) -> list[Line]:
        self.is_over = True
        if isinstance(self._outcome, Error):
            return []
        is_cancelled = isinstance(self._outcome, Cancelled)
        return [CompleteLine(self._text.text, self._suggestions, self._title, is_cancelled, self._session)]
