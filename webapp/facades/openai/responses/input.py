"""The input of a response: a text, or a list of messages, of which the leading ones may be instructions."""

from dataclasses import dataclass
from typing import Any, cast

from millrace.webapp.facades.openai.errors import invalid_parameter, missing_parameter, unknown_parameter, wrong_type
from millrace.webapp.facades.openai.parameters import text_of
from millrace.webapp.generation.validation import MAX_ECHO_CHARS
from millrace.webapp.request_input import Json

_INSTRUCTING = ("system", "developer")
_ROLES = (*_INSTRUCTING, "user", "assistant")
_MESSAGE_FIELDS = frozenset(("type", "role", "content", "id", "status", "phase"))
_KINDS = ("input_text", "output_text")


@dataclass(frozen=True)
class ResponseInput:
    """The texts of the leading instructions, and the messages after them, as our API takes them."""

    instructions: list[str]
    messages: list[Json]

    @property
    def is_question(self) -> bool:
        """Whether it is one message of the user, which can be a turn of a conversation."""
        return [each["role"] for each in self.messages] == ["user"]


def parse_input(given: Any) -> ResponseInput:
    """Return the parsed input; raises Problem 400 that names the item or the part at fault.

    A list may hold the items of earlier responses. Reasoning among them is left out, as models get none of it.
    """
    if given is None:
        raise missing_parameter("input")
    if isinstance(given, str):
        return ResponseInput([], [{"role": "user", "content": given}])
    if not isinstance(given, list):
        raise wrong_type("input", "a string or an array of messages")
    parsed = ResponseInput([], [])
    for number, item in enumerate(cast("list[Any]", given)):
        _add_item(parsed, item, f"input[{number}]")
    if not parsed.messages:
        raise invalid_parameter("input", "The input has no message of the user.")
    return parsed


def _add_item(parsed: ResponseInput, item: Any, where: str) -> None:
    if not isinstance(item, dict):
        raise wrong_type(where, "an object")
    members = cast("Json", item)
    kind = members.get("type")
    if kind == "reasoning":
        return
    if kind not in (None, "message"):
        detail = f"{where}: items of type '{str(kind)[:MAX_ECHO_CHARS]}' are not supported. This server takes messages."
        raise invalid_parameter(f"{where}.type", detail, "unsupported_value")
    for name in members:
        if name not in _MESSAGE_FIELDS:
            raise unknown_parameter(f"{where}.{name}")
    role = members.get("role")
    if role not in _ROLES:
        raise invalid_parameter(f"{where}.role", f"{where}.role must be one of: {', '.join(_ROLES)}.")
    separator = "" if role == "assistant" else "\n\n"  # the parts of an answer are pieces of one text
    text = text_of(members.get("content"), f"{where}.content", _KINDS, separator)
    if role not in _INSTRUCTING:
        parsed.messages.append({"role": role, "content": text})
    elif parsed.messages:
        detail = f"{where}: messages of the roles {' and '.join(_INSTRUCTING)} must come before all others."
        raise invalid_parameter(f"{where}.role", detail, "unsupported_value")
    else:
        parsed.instructions.append(text)
