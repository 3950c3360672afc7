"""The dialect of `/api/conversation-stream/USER_ID` and `/api/conversation/USER_ID`: lines typed status to complete."""

from flask import Blueprint, Response, jsonify, request

from webapp.answering import Json, whole_answer
from webapp.auth import known_owner, owner_or_new
from webapp.body import read_object
from webapp.creating import idempotency_key, make
from webapp.facades.dialect import Appended, Line
from webapp.facades.fields import refusing_in, rename
from webapp.facades.stream import stream_answer
from webapp.problems import Problem
from webapp.services import services
from webapp.validation import parse
from worker.contract.events import AnyEvent, Cancelled, Complete, Done, Error, StatusEvent, Suggestions, Title
from worker.contract.ids import START

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


@routes.post("/conversation-stream/<path:user>")
def stream(user: str) -> Response:
    """Answer with the stream of a new turn."""
    owner = _owner(user)
    body = _body()
    with refusing_in(_FIELDS):
        return stream_answer(owner, parse(body, services().settings), ConversationDialect())


@routes.post("/conversation/<path:user>")
def answer(user: str) -> Response:
    """Answer a new turn in one piece; raises Problem 502 where the answer fails, 504 where it takes too long."""
    owner = _owner(user)
    body = _body()
    with refusing_in(_FIELDS):
        asked = parse(body, services().settings)
        ids = make(services(), owner, asked, idempotency_key(request), is_streamed=False)
    whole = whole_answer(ids, services().hub.entries(ids.generation, START, services().settings.wait_seconds))
    if whole is None:
        detail = "The answer takes longer than this call may. It goes on: follow it by its events."
        url = f"/api/generations/{ids.generation}/events"
        raise Problem(504, "still_running", detail, generation_id=ids.generation, events_url=url)
    if error := whole.get("error"):
        code, retryable = error["code"], error["retryable"]
        raise Problem(502, code, error["message"], retryable=retryable, session_id=ids.conversation)
    return jsonify(message=whole["message"], suggestions=whole["suggestions"], session_id=ids.conversation)


def _owner(user: str) -> str:
    """Return the asker's owner; raises Problem 404 where the address names another."""
    if user == ME:
        return owner_or_new()
    owner = known_owner()
    if owner is None or user != owner:
        raise Problem(
            404, "not_found", "There is no such user, or it is not you. The address takes your own id, or me."
        )
    return owner


def _body() -> Json:
    """Return the body in our own fields; `session_id` may be null, as such apps begin."""
    body = rename(read_object(request, services().settings.max_body_bytes), _FIELDS)
    return {name: value for name, value in body.items() if (name, value) != ("conversation_id", None)}


class ConversationDialect:
    """Lines typed `status`, `context`, `chunk`, `complete` and `error`, all but chunks with the `session_id`."""

    def __init__(self) -> None:
        self.is_over = False
        self._text = Appended()
        self._session: str | None = None
        self._title: str | None = None
        self._suggestions: list[str] = []
        self._outcome: Complete | Cancelled | Error | None = None

    def tell(self, event: AnyEvent) -> list[Line]:
        """Return the event's lines; the text comes whole with `complete`, also where a snapshot replaced it."""
        was_contradicted = self._text.is_contradicted
        content = self._text.add(event)
        if content:
            return [{"type": "chunk", "content": content}]
        if self._text.is_contradicted and not was_contradicted:
            return [self._line("status", status="restarted", message=_AGAIN)]
        return self._tell_other(event)

    def _tell_other(self, event: AnyEvent) -> list[Line]:
        match event:
            case StatusEvent(status=status, conversation_id=conversation):
                self._session = conversation or self._session
                return [self._line("status", status=status, message=_WORDS[status])]
            case Title(title):
                self._title = title
            case Suggestions(suggestions):
                self._suggestions = suggestions
            case Complete() | Cancelled():
                self._outcome = event
            case Error(code, message, retryable):
                self._outcome = event
                return [self._error(code, message, retryable=retryable)]
            case Done():
                return self._end()
            case _:
                pass  # the dialect has no word for it
        return []

    def interrupted(self) -> list[Line]:
        """Return the error of a stream that this process has to end."""
        self.is_over = True
        return [self._error("stream_lost", _INTERRUPTED, retryable=True)]

    def _end(self) -> list[Line]:
        self.is_over = True
        if isinstance(self._outcome, Error):
            return []
        return [
            self._line(
                "complete",
                message=self._text.text,
                suggestions=self._suggestions,
                title=self._title,
                is_cancelled=isinstance(self._outcome, Cancelled),
            )
        ]

    def _error(self, code: str, message: str, *, retryable: bool) -> Json:
        return self._line("error", error=message, message=message, code=code, retryable=retryable)

    def _line(self, kind: str, **fields: object) -> Json:
        return {"type": kind, **fields, "session_id": self._session}
