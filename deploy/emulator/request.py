"""Parse the bodies of the four operations into one request, refusing what Bedrock refuses, in its words."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, Unpack, cast

from deploy.emulator.errors import ServiceError, invalid
from deploy.emulator.tokens import count_all, refuse_what_is_too_long

Json = dict[str, Any]
Family = Literal["converse", "invoke"]

_NO_PREFILL = "no-prefill"  # in a model's id: one that continues nothing, as the newer ones


@dataclass(frozen=True)
class Forced:
    """The tool that the caller forces the model to use, and the JSON schema of its input."""

    name: str
    schema: Json


@dataclass(frozen=True)
class Request:
    """What a caller asked; `messages`, `system` and `inference` are kept as they were received."""

    model: str
    messages: list[Json]
    question: str  # the last text of the last user message; empty where that has none
    prefill: str  # the text of a last message of the assistant's, which the answer continues
    system: Any
    inference: Json
    max_tokens: int | None
    input_tokens: int  # as counted here, by no tokenizer of a real model
    forced: Forced | None = None


def parse_request(family: Family, model: str, body: bytes) -> Request:
    """Parse the body of an operation of this family; raises ServiceError (ValidationException)."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid(f"Malformed input request, please reformat your input and try again: {error}") from error
    if not isinstance(value, dict):
        raise invalid("Malformed input request: #: expected an object, please reformat your input and try again.")
    fields = cast(Json, value)
    input_tokens = count_all(fields.get("messages"), fields.get("system"), fields.get("toolConfig"))
    request = _converse(model, fields, input_tokens) if family == "converse" else _invoke(model, fields, input_tokens)
    refuse_what_is_too_long(model, input_tokens, request.max_tokens)
    return request


def _converse(model: str, fields: Json, input_tokens: int) -> Request:
    messages = _messages(fields, _converse_texts)
    system = fields.get("system", [])
    for index, block in enumerate(_objects(system, "system")):
        _refuse_blank(block.get("text"), f"system.{index}")
    inference = fields.get("inferenceConfig", {})
    if not isinstance(inference, dict):
        raise invalid("The value at 'inferenceConfig' must be an object")
    config = cast(Json, inference)
    max_tokens = _max_tokens(config, "maxTokens", "inferenceConfig.maxTokens")
    forced = _forced(fields.get("toolConfig"))
    rest = _Rest(input_tokens=input_tokens, system=system, inference=config, max_tokens=max_tokens, forced=forced)
    return _request(model, messages, _converse_texts, **rest)


def _forced(config: Any) -> Forced | None:
    """Return the tool that Converse's `toolConfig` forces; other choices are the model's, and it makes none."""
    if config is None:
        return None
    try:
        name = config.get("toolChoice", {}).get("tool", {}).get("name")
        schemas = {tool["toolSpec"]["name"]: tool["toolSpec"]["inputSchema"]["json"] for tool in config["tools"]}
        if name is None:
            return None
        return Forced(name, schemas[name])
    except (AttributeError, LookupError, TypeError) as error:
        raise invalid("The value at 'toolConfig' is malformed, or forces a tool that it does not name.") from error


def _invoke(model: str, fields: Json, input_tokens: int) -> Request:
    for required in ("anthropic_version", "max_tokens", "messages"):
        if required not in fields:
            raise invalid(f"{required}: Field required")
    messages = _messages(fields, _anthropic_texts)
    inference = {key: value for key, value in fields.items() if key not in ("messages", "system")}
    max_tokens = _max_tokens(fields, "max_tokens", "max_tokens")
    rest = _Rest(
        input_tokens=input_tokens,
        system=fields.get("system"),
        inference=inference,
        max_tokens=max_tokens,
        forced=None,
    )
    return _request(model, messages, _anthropic_texts, **rest)


class _Rest(TypedDict):
    input_tokens: int
    system: Any
    inference: Json
    max_tokens: int | None
    forced: Forced | None


Texts = Callable[[Json, int], list[str]]


def _messages(fields: Json, texts: Texts) -> list[Json]:
    messages = _objects(fields.get("messages"), "messages")
    if not messages or messages[0].get("role") != "user":
        raise invalid(
            "A conversation must start with a user message. "
            "Try again with a conversation that starts with a user message."
        )
    for index, message in enumerate(messages):
        if message.get("role") != ("user", "assistant")[index % 2]:
            raise invalid(
                f"A conversation must alternate between user and assistant roles (messages.{index}). "
                "Make sure the conversation alternates between user and assistant roles and try again."
            )
        for text in texts(message, index):
            if not text.strip():
                raise _blank(f"messages.{index}.content")
    return messages


def _converse_texts(message: Json, index: int) -> list[str]:
    where = f"messages.{index}.content"
    blocks = _objects(message.get("content"), where)
    if not blocks:
        raise invalid(f"The content field in the Message object at messages.{index} is empty. Add a ContentBlock.")
    for place, block in enumerate(blocks):
        if len(block) != 1:
            raise invalid(f"The ContentBlock object at {where}.{place} must set exactly one of its fields.")
        _refuse_blank(block.get("text"), f"{where}.{place}")
    return [block["text"] for block in blocks if "text" in block]


def _anthropic_texts(message: Json, index: int) -> list[str]:
    content = message.get("content")
    if isinstance(content, str):
        return [content]
    blocks = _objects(content, f"messages.{index}.content")
    if not blocks:
        raise invalid(f"messages.{index}: content must be non-empty")
    for place, block in enumerate(blocks):
        if block.get("type") == "text":
            _refuse_blank(block.get("text", ""), f"messages.{index}.content.{place}")
    return [block["text"] for block in blocks if block.get("type") == "text"]


def _request(model: str, messages: list[Json], texts: Texts, **rest: Unpack[_Rest]) -> Request:
    last = len(messages) - 1
    prefill = ""
    if messages[last]["role"] == "assistant":
        prefill = "".join(texts(messages[last], last))
        if _NO_PREFILL in model:
            raise invalid(
                "This model does not support assistant message prefill. The conversation must end with a user message."
            )
        if prefill != prefill.rstrip():
            raise invalid("messages: final assistant content cannot end with trailing whitespace")
        last -= 1
    question = (texts(messages[last], last) or [""])[-1]
    return Request(model, messages, question, prefill, **rest)


def _max_tokens(fields: Json, key: str, where: str) -> int | None:
    value = fields.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise invalid(
            f"1 validation error detected: Value '{value}' at '{where}' failed to satisfy constraint: "
            "Member must have value greater than or equal to 1"
        )
    return value


def _objects(value: Any, where: str) -> list[Json]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in cast(list[Any], value)):
        raise invalid(f"The value at '{where}' must be a list of objects")
    return cast(list[Json], value)


def _refuse_blank(text: Any, where: str) -> None:
    if text is None:  # a block of another kind
        return
    if not isinstance(text, str):
        raise invalid(f"The text field in the ContentBlock object at {where} must be a string.")
    if not text.strip():
        raise _blank(where)


def _blank(where: str) -> ServiceError:
    return invalid(
        f"The text field in the ContentBlock object at {where} is blank. Add text to the text field, and try again."
    )
