"""`/api/conversation-stream/USER` and `/api/conversation/USER`: a turn of a session, as typed lines or in one piece."""

from typing import Any, Literal, assert_never

import msgspec
from flask import Blueprint, Response
from msgspec import UNSET, UnsetType

from millrace.webapp.facades.dialect import AppendOnlyText, Line, problems_in, rename_fields
from millrace.webapp.facades.stream import stream_answer
from millrace.webapp.generation.responses import create_and_wait, idempotency_key, read_question
from millrace.webapp.generation.validation import parse
from millrace.webapp.guard.auth import current_owner, ensure_owner
from millrace.webapp.guard.limits import limited
from millrace.webapp.openapi.document import IDEMPOTENCY_KEY, Description, described
from millrace.webapp.problems import Problem
from millrace.webapp.relay.frames import COMMENT
from millrace.webapp.request_input import Json
from millrace.webapp.schemas import FailureSchema, generation_url, json_response
from millrace.webapp.services import services
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
    Link,
    Reasoning,
    Snapshot,
    StatusEvent,
    Suggestions,
    Title,
    ToolResult,
    ToolUse,
)

ME = "me"
_FIELDS = {"message": "message", "session_id": "conversation_id", "model": "model", "search": "search"}
_STATUS_MESSAGES = {
    "queued": "Waiting for a worker",
    "running": "Answering",
    "searching": "Searching the web",
    "retrying": "Trying again",
}
_RESTARTED = "The answer restarts with different text."
_INTERRUPTED = "This server is being restarted. Please ask again."

routes = Blueprint("conversation_facade", __name__, url_prefix="/api")


class ConversationFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message in a session, or in a new one where `session_id` is null."""

    message: str
    session_id: str | UnsetType = UNSET
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
    """The state of the answer, as a word and as a text to show."""

    status: Literal["queued", "running", "searching", "retrying", "restarted"]
    message: str
    session_id: str


class ContextLine(TypedLine, frozen=True):
    """The context of the answer: web pages, and the counts of messages, profiles and memories."""

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
    """The end: the whole text, including withheld chunks, and suggestions for the next question."""

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
    """Stream the answer of a new turn."""
    _check_user(user)
    body = _body()
    with problems_in(_FIELDS):
        parsed = parse(body, services().settings)
        return stream_answer(ensure_owner(), parsed, lambda _: ConversationDialect())


@routes.post("/conversation/<path:user>")
@described(Description(body=ConversationFields, answers={200: SessionAnswer}, parameters=(IDEMPOTENCY_KEY,)))
@limited("create")
def answer(user: str) -> Response:
    """Return the answer of a new turn in one piece.

    Raises Problem 502 where the answer fails, 504 where it takes too long.
    """
    _check_user(user)
    body = _body()
    with problems_in(_FIELDS):
        parsed = parse(body, services().settings)
        state, whole = create_and_wait(ensure_owner(), parsed, idempotency_key())
    headers = {"Millrace-Generation-Id": state.generation}  # a new owner is kept although the status is an error
    session: dict[str, object] = {"session_id": state.conversation}
    if whole is None:
        detail = "The answer takes longer than this call waits. It is still running: follow it at events_url."
        running = {"generation_id": state.generation, "events_url": f"{generation_url(state.generation)}/events"}
        raise Problem(504, "still_running", detail, headers=headers, **session, **running)
    if isinstance(whole.error, FailureSchema):
        failure = whole.error
        raise Problem(502, failure.code, failure.message, headers=headers, **session, retryable=failure.retryable)
    return json_response(SessionAnswer(whole.message, whole.suggestions, state.conversation))


def _check_user(user: str) -> None:
    """Raise Problem 404 if the path names another user than the request's owner."""
    if user not in (ME, current_owner()):
        raise Problem(
            404, "not_found", "There is no such user, or it is another user. Use your own id or me in the path."
        )


def _body() -> Json:
    """Return the body with our field names."""
    return rename_fields(read_question(idempotency_key()), _FIELDS)


class ConversationDialect:
    """Renders one turn of a session."""

    key = "typed lines"
    has_ids = False
    heartbeat = COMMENT

    def __init__(self) -> None:
        self.is_over = False
        self._text = AppendOnlyText()
        self._session = ""
        self._title: str | None = None
        self._suggestions: list[str] = []
        self._outcome: Complete | Cancelled | Error | None = None

    def render(self, event: AnyEvent, number: int) -> list[Line]:
        """Return the lines for an event; `complete` carries the whole text, even after a snapshot has replaced it."""
        was_contradicted = self._text.is_contradicted
        content = self._text.add(event)
        if content:
            return [ChunkLine(content)]
        if self._text.is_contradicted and not was_contradicted:
            return [StatusLine("restarted", _RESTARTED, self._session)]
        return self._render_other(event)

    def _render_other(self, event: AnyEvent) -> list[Line]:
        match event:
            case StatusEvent(status=status, conversation_id=conversation):
                self._session = conversation or self._session
                return [StatusLine(status, _STATUS_MESSAGES[status], self._session)]
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
            case Chunk() | Snapshot():
                pass  # `render` has taken their text already
            case Reasoning() | Citation() | Image() | ToolUse() | ToolResult():
                pass  # this protocol has no counterpart
            case _:
                assert_never(event)
        return []

    def rejoin(self, snapshot: Snapshot, number: int) -> list[Line]:
        """Return a line that says that the text begins again; the last line carries all of it."""
        self._text.add(snapshot)
        return [StatusLine("restarted", _RESTARTED, self._session)]

    def interrupted(self) -> list[Line]:
        """Return the error line for a stream that this process has to end."""
        return [ErrorLine(_INTERRUPTED, _INTERRUPTED, "stream_lost", True, self._session)]

    def _end(self) -> list[Line]:
        self.is_over = True
        if isinstance(self._outcome, Error):
            return []
        is_cancelled = isinstance(self._outcome, Cancelled)
        return [CompleteLine(self._text.text, self._suggestions, self._title, is_cancelled, self._session)]
