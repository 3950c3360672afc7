"""`/api/chat`: a message with its history in, lines of content and `[DONE]` out; no conversation is stored.

A body of Vercel's AI SDK, which has the same address by default, is answered by its own facade.
"""

from typing import Any, Literal, assert_never, cast

import msgspec
from flask import Blueprint, Response
from msgspec import UNSET, UnsetType

from millrace.webapp import problems
from millrace.webapp.facades.aisdk.errors import SDK_VERSION, render_problem
from millrace.webapp.facades.aisdk.parts import UI_PARTS
from millrace.webapp.facades.aisdk.request import UiChatFields, is_chat_of_sdk
from millrace.webapp.facades.aisdk.routes import answer_chat
from millrace.webapp.facades.dialect import AppendOnlyText, Line, problems_in, rename_fields, split_instructions
from millrace.webapp.facades.stream import stream_answer
from millrace.webapp.generation.responses import idempotency_key, read_question
from millrace.webapp.generation.validation import ParsedRequest, parse
from millrace.webapp.guard.auth import ensure_owner
from millrace.webapp.guard.limits import limited
from millrace.webapp.openapi.document import IDEMPOTENCY_KEY, Description, described
from millrace.webapp.problems import invalid
from millrace.webapp.relay.frames import COMMENT
from millrace.webapp.request_input import Json
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
    Reasoning,
    Snapshot,
    StatusEvent,
    Suggestions,
    Title,
    ToolResult,
    ToolUse,
)
from millrace.worker.settings.schema import Settings

_FIELDS = {"message": "message", "history": "messages", "model": "model"}
_DONE = "[DONE]"
_RESTARTED = "The answer restarted with different text. Please ask again."
_INTERRUPTED = "This server is being restarted. Please ask again."

routes = Blueprint("chat_facade", __name__, url_prefix="/api")
problems.install(routes, render_problem)


class PastMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message of the history; neighbours of one role count as one message, and empty ones as none."""

    role: Literal["system", "user", "assistant"]
    content: str


class ChatFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message and the messages before it, which begin with the user's; one of `system` may come first."""

    message: str
    history: list[PastMessage] | UnsetType = UNSET
    model: str | UnsetType = UNSET


class ChatContent(msgspec.Struct, frozen=True):
    """Append `content`."""

    content: str


class ChatError(msgspec.Struct, frozen=True):
    """The answer failed; nothing follows."""

    error: str


CHAT_LINES = (ChatContent, ChatError, Literal["[DONE]"])


@routes.post("/chat")
@described(
    Description(
        body=(ChatFields, UiChatFields),
        stream=(*CHAT_LINES, *UI_PARTS),
        parameters=(IDEMPOTENCY_KEY, SDK_VERSION),
        problem=str,
    )
)
@limited("create")
def chat() -> Response:
    """Stream the answer to the message, given the history, or to a chat of the AI SDK."""
    settings = services().settings
    given = read_question(idempotency_key())
    if is_chat_of_sdk(given):
        return answer_chat(given)
    body = rename_fields(given, _FIELDS)
    with problems_in({"history": "system"}), problems_in(_FIELDS):
        parsed = _parse(body, settings)
        return stream_answer(ensure_owner(), parsed, lambda _: ChatDialect())


def _parse(body: Json, settings: Settings) -> ParsedRequest:
    history: Any = body.pop("messages", None)
    if history is None or history == "":
        history = []
    parse(body, settings)  # the other fields are valid: any later error is about the history
    if not isinstance(history, list):
        raise invalid("messages", "A history is a list of messages.")
    instructions, history = split_instructions(cast("list[Any]", history))
    message = {"role": "user", "content": body.pop("message")}
    given = {**body, "system": instructions, "messages": [*history, message]}
    return parse(given, settings, merges_neighbours=True)


class ChatDialect:
    """Renders lines of `content`, then `[DONE]`, or an `error` as the last line."""

    key = "content lines"
    has_ids = False
    heartbeat = COMMENT

    def __init__(self) -> None:
        self.is_over = False
        self._text = AppendOnlyText()

    def render(self, event: AnyEvent, number: int) -> list[Line]:
        """Return the lines for an event; withdrawing text that was sent is an error in this protocol."""
        content = self._text.add(event)
        if content:
            return [ChatContent(content)]
        if self._text.is_contradicted:
            return self._fail(_RESTARTED)
        match event:
            case Error(message=message):
                return self._fail(message)
            case Done():
                self.is_over = True
                return [_DONE]
            case StatusEvent() | ContextEvent() | Complete() | Cancelled() | Title() | Suggestions():
                return []  # this protocol has only text, an error and the end
            case Chunk() | Snapshot() | Reasoning() | Citation() | Image() | ToolUse() | ToolResult():
                return []
            case _:
                assert_never(event)

    def rejoin(self, snapshot: Snapshot, number: int) -> list[Line]:
        """Return an error line: how much of the text the client has is not known."""
        return self._fail(_RESTARTED)

    def interrupted(self) -> list[Line]:
        """Return the error line for a stream that this process has to end."""
        return [ChatError(_INTERRUPTED)]

    def _fail(self, message: str) -> list[Line]:
        self.is_over = True
        return [ChatError(message)]
