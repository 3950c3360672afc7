"""The body that `useChat` sends: the chat's messages and the app's own options, as a request of ours."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from millrace.webapp.facades.dialect import FieldNames, problems_in, rename_fields, split_instructions
from millrace.webapp.generation.validation import (
    MAX_ECHO_CHARS,
    AnswerFields,
    ParsedRequest,
    convert,
    parse,
    parse_again,
)
from millrace.webapp.problems import invalid
from millrace.webapp.request_input import Json
from millrace.worker.settings.schema import Settings
from millrace.worker.store.messages import StoredQuestion

MAX_CHAT_CHARS = 255

_IGNORED = (
    *("reasoning", "reasoning-file", "source-url", "source-document", "step-start", "custom", "dynamic-tool"),
    *("data-", "tool-"),
)
"""Types of parts, or their beginnings, that are not sent to the model again."""


class UiChatFields(AnswerFields, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A chat with its messages; `message` has only the last one, for apps that leave the history to the server."""

    id: str
    messages: list[Any] | UnsetType = UNSET
    message: dict[str, Any] | UnsetType = UNSET
    trigger: Literal["submit-message", "regenerate-message"] | UnsetType = UNSET
    messageId: str | UnsetType = UNSET  # noqa: N815 - the protocol's name


_FIELDS: FieldNames = {name: name for name in UiChatFields.__struct_fields__ if name != "stream"}
"""The fields of the body; the answer to this protocol is always a stream."""


class UiMessage(msgspec.Struct, frozen=True):
    """One message; its other fields, such as its id and its metadata, are the app's."""

    role: Literal["system", "user", "assistant"]
    parts: list[dict[str, Any]]


@dataclass(frozen=True)
class ChatRequest:
    """A chat's request: the text of its last message, the messages that the model gets, and options of ours.

    `field` is the body's field that has the messages.
    """

    chat: str
    field: Literal["message", "messages"]
    is_regeneration: bool
    message_id: str | None
    question: str
    history: list[Json]
    options: Json
    given: Json

    @property
    def has_history(self) -> bool:
        """Whether the request carries the history; otherwise the stored one is the context."""
        return len(self.history) > 1


def is_chat_of_sdk(body: Json) -> bool:
    """Return whether a body at `/api/chat` is the SDK's; the older protocol has a `message` that is a text."""
    return "id" in body or isinstance(body.get("message"), dict) or ("messages" in body and "message" not in body)


def read_chat(body: Json) -> ChatRequest:
    """Return the parts of the body that belong to the protocol; raises Problem 422."""
    fields = convert(rename_fields(body, _FIELDS), UiChatFields)
    if not 1 <= len(fields.id) <= MAX_CHAT_CHARS:
        raise invalid("id", f"A chat's id has 1 to {MAX_CHAT_CHARS} characters.")
    field, messages = _messages(fields)
    instructions, history = split_instructions(_contents(field, messages))
    if not history or history[-1]["role"] != "user":
        raise invalid(field, "The last message must be the user's.")
    own = ("id", "messages", "message", "trigger", "messageId")
    options = {name: value for name, value in body.items() if name not in own}
    if instructions:
        if options.get("system"):
            raise invalid("system", "Give either system or a message of the role system, not both.")
        options["system"] = instructions
    return ChatRequest(
        chat=fields.id,
        field=field,
        is_regeneration=fields.trigger == "regenerate-message",
        message_id=None if isinstance(fields.messageId, UnsetType) else fields.messageId,
        question=history[-1]["content"],
        history=history,
        options=options,
        given=body,
    )


def parse_chat(asked: ChatRequest, settings: Settings) -> ParsedRequest:
    """Return the request, still without its conversation; raises Problem 403 and 422."""
    if not asked.has_history:
        with problems_in({asked.field: "message"}):
            parsed = parse({**asked.options, "message": asked.question}, settings)
    else:
        parsed = parse({**asked.options, "messages": asked.history}, settings, merges_neighbours=True)
    on_disconnect = parsed.on_disconnect or settings.generation.on_disconnect  # the SDK can resume its streams
    return replace(parsed, is_turn=True, on_disconnect=on_disconnect, given=asked.given)


def parse_regeneration(asked: ChatRequest, question: StoredQuestion, settings: Settings) -> ParsedRequest:
    """Return the request for another answer to a stored question; raises Problem 403 and 422."""
    parsed = parse_chat(asked, settings)
    if asked.has_history:
        return replace(parsed, conversation=question.conversation, question=question.id)
    again = parse_again(asked.options, question, settings)
    return replace(again, on_disconnect=parsed.on_disconnect, given=parsed.given)


def _messages(fields: UiChatFields) -> tuple[Literal["message", "messages"], list[Any]]:
    """Return the messages and the field that has them; raises Problem 422."""
    if isinstance(fields.message, UnsetType):
        if isinstance(fields.messages, UnsetType):
            raise invalid("messages", "messages is required: the chat's messages, or the last one of them.")
        return "messages", fields.messages
    if not isinstance(fields.messages, UnsetType):
        raise invalid("message", "Give either message or messages, not both.")
    return "message", [fields.message]


def _contents(field: str, messages: list[Any]) -> list[Json]:
    """Return the messages with their texts; raises Problem 422 that names the message and the part."""
    found: list[Json] = []
    for number, each in enumerate(messages):
        place = field if field == "message" else f"{field}[{number}]"
        try:
            message = msgspec.convert(each, UiMessage, strict=True)
        except (msgspec.ValidationError, UnicodeEncodeError) as error:
            detail = str(error)[:MAX_ECHO_CHARS] if isinstance(error, msgspec.ValidationError) else "invalid text"
            raise invalid(field, f"{place}: {detail}. A message has a role and parts.") from error
        texts = [
            _text_of(part, field, f"{place}.parts[{index}]", message.role) for index, part in enumerate(message.parts)
        ]
        found.append({"role": message.role, "content": "".join(texts)})
    return found


def _text_of(part: dict[str, Any], field: str, place: str, role: str) -> str:
    """Return the text of a part, empty for one that is not sent to the model again; raises Problem 422."""
    match part:
        case {"type": "text", "text": str(text)}:
            return text
        case {"type": "file"} if role == "assistant":
            return ""  # an image of an earlier answer
        case {"type": "file"}:
            raise invalid(field, f"{place}: files are not supported. Send text.")
        case {"type": str(kind)} if kind.startswith(_IGNORED):
            return ""
        case _:
            kind = str(part.get("type"))[:MAX_ECHO_CHARS]
            raise invalid(field, f"{place}: a part of the type {kind!a} is not supported or has no text.")
