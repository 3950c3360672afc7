"""The request of a chat completion: theirs to ours, or a Problem that names the parameter."""

from typing import Annotated, Any, Literal, NamedTuple, assert_never, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType

from millrace.webapp.facades.dialect import problems_in
from millrace.webapp.facades.openai.errors import (
    invalid_parameter,
    missing_parameter,
    unknown_parameter,
    unsupported_parameter,
    wrong_type,
)
from millrace.webapp.facades.openai.parameters import Neutral, check_model, keep_supported, text_of
from millrace.webapp.generation.validation import MAX_ECHO_CHARS, ParsedRequest, convert, parse
from millrace.webapp.request_input import Json
from millrace.worker.settings.schema import Settings

_TEXT_PARTS = ("text",)
_INSTRUCTIONS = ("system", "developer")
_TURNS = ("user", "assistant")
_ECHOED = ("role", "content", "refusal", "annotations", "reasoning_content", "reasoning")
"""Members of a message: those that clients send back from an answer have no effect."""
_REFUSED_IN_MESSAGES: Neutral = {"tool_calls": ([],), "function_call": (), "name": (), "tool_call_id": (), "audio": ()}
_REFUSED: Neutral = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "moderation": (),
    "reasoning_effort": (),
    "verbosity": (),
    "seed": (),
    "store": (False,),
    "service_tier": ("auto", "default"),
}
_REASONS = {
    "n": "This server gives one choice: leave out 'n', or set it to 1.",
    "store": "Completions are kept for a limited time in any case. Leave out 'store', or set it to false.",
    "tools": "This server does not take tools. Leave out 'tools'.",
}


class UsageOption(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Options of a stream; without obfuscation, which has no effect here."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class TextFormat(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="text"):
    """An answer of any form."""


class AnyJsonFormat(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="json_object"):
    """An answer that is a JSON object."""


class NamedSchema(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A JSON schema, to which the answer is held whether `strict` or not."""

    name: Annotated[str, Meta(pattern="^[a-zA-Z0-9_-]{1,64}$")]
    schema: dict[str, Any]
    strict: bool | None = None
    description: str | None = None


class SchemaFormat(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="json_schema"):
    """An answer that is JSON of a schema."""

    json_schema: NamedSchema


class SearchOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A web search before answering."""

    search_context_size: Literal["medium"] | None = None


class CompletionOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters beside the messages; one that is null is absent."""

    model: str | UnsetType = UNSET
    stream: bool | UnsetType = UNSET
    stream_options: UsageOption | UnsetType = UNSET
    max_completion_tokens: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    max_tokens: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    temperature: Annotated[float, Meta(ge=0, le=2)] | UnsetType = UNSET
    top_p: Annotated[float, Meta(ge=0, le=1)] | UnsetType = UNSET
    stop: str | Annotated[list[str], Meta(max_length=4)] | UnsetType = UNSET
    response_format: TextFormat | AnyJsonFormat | SchemaFormat | UnsetType = UNSET
    metadata: dict[str, str] | UnsetType = UNSET
    web_search_options: SearchOptions | UnsetType = UNSET


class TextPart(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """A part of a message's content."""

    text: str


class InputMessage(msgspec.Struct, frozen=True):
    """A message of the history; neighbours of one role count as one message."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]


class CompletionFields(CompletionOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The messages, and the parameters that have an effect here; others that would have one are refused."""

    messages: list[InputMessage]


_SUPPORTED = frozenset(CompletionOptions.__struct_fields__) | {"messages"}


class CompletionRequest(NamedTuple):
    """A parsed request, and the form of its response."""

    parsed: ParsedRequest
    is_streamed: bool
    has_usage: bool


def parse_completion(body: Json, settings: Settings) -> CompletionRequest:
    """Return the request; raises Problem 400, 403, 404 or 422 with the parameter's name."""
    given = keep_supported(body, _SUPPORTED, _REFUSED, _REASONS)
    messages = _messages(given.pop("messages", None))
    check_model(given.get("model"), settings)
    options = convert(given, CompletionOptions)
    if options.stream_options and options.stream is not True:
        raise invalid_parameter(
            "stream_options", "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        )
    limit = _limit_name(options)
    history, instructions = _split(messages, settings)
    names = {f"messages[{number}]": "system" for number, *_ in instructions[:1]}
    names |= {limit: "max_tokens", "stop": "stop_sequences", "web_search_options": "search"}
    ours = {
        "messages": history,
        "system": "\n\n".join(text for _, text in instructions),
        "model": options.model,
        "max_tokens": getattr(options, limit),
        "temperature": _temperature(options),
        "top_p": options.top_p,
        "stop_sequences": [options.stop] if isinstance(options.stop, str) else options.stop,
        "response_format": _format(options),
        "metadata": options.metadata,
        "search": options.web_search_options is not UNSET,
    }
    with problems_in(names):
        parsed = parse({k: v for k, v in ours.items() if v is not UNSET}, settings, merges_neighbours=True)
    has_usage = bool(options.stream_options and options.stream_options.include_usage)
    return CompletionRequest(parsed, options.stream is True, has_usage)


def _messages(given: Any) -> list[Json]:
    if given is None:
        raise missing_parameter("messages")
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in cast("list[Any]", given)):
        raise wrong_type("messages", "an array of objects")
    if not given:
        raise invalid_parameter("messages", "There must be at least one message.", "empty_array")
    return cast("list[Json]", given)


def _split(messages: list[Json], settings: Settings) -> tuple[list[Json], list[tuple[int, str]]]:
    """Return the turns in our form, and the texts of the instructions with their places, wherever these stand."""
    history: list[Json] = []
    instructions: list[tuple[int, str]] = []
    for number, message in enumerate(messages):
        role, text = _read_message(message, f"messages[{number}]", settings)
        if role in _INSTRUCTIONS:
            instructions += [(number, text)] if text.strip() else []
        else:
            history.append({"role": role, "content": text})
    roles = [each["role"] for each in history if each["content"].strip()]
    if not roles or roles[0] != "user" or roles[-1] != "user":
        raise invalid_parameter(
            "messages", "The first and the last message with text, beside instructions, are the user's."
        )
    return history, instructions


def _read_message(message: Json, where: str, settings: Settings) -> tuple[str, str]:
    role = message.get("role")
    if role not in (*_INSTRUCTIONS, *_TURNS):
        if role in ("tool", "function"):
            raise unsupported_parameter(f"{where}.role", f"{where}: messages of the role '{role}' are not supported.")
        supported = ", ".join((*_INSTRUCTIONS, *_TURNS))
        raise invalid_parameter(f"{where}.role", f"{where}.role must be one of: {supported}.")
    for name, value in message.items():
        if name in _REFUSED_IN_MESSAGES and value is not None and value not in _REFUSED_IN_MESSAGES[name]:
            raise unsupported_parameter(f"{where}.{name}", f"{where}: '{name}' is not supported. Leave it out.")
        if name not in _REFUSED_IN_MESSAGES and name not in _ECHOED:
            raise unknown_parameter(f"{where}.{name[:MAX_ECHO_CHARS]}")
    separator = "" if role == "assistant" else "\n\n"
    content = "" if role == "assistant" and message.get("content", 0) is None else message.get("content")
    text = text_of(content, f"{where}.content", _TEXT_PARTS, separator)
    most = settings.limits.max_message_chars
    if len(text) > most:
        detail = f"{where}.content: A text has at most {most} characters."
        raise invalid_parameter(f"{where}.content", detail, "string_above_max_length")
    return str(role), text


def _limit_name(options: CompletionOptions) -> str:
    """Return the name of the one of the two parameters for the answer's length that is given."""
    if options.max_tokens is UNSET:
        return "max_completion_tokens"
    if options.max_completion_tokens not in (UNSET, options.max_tokens):
        raise invalid_parameter("max_tokens", "Give 'max_completion_tokens' or 'max_tokens', not both.")
    return "max_tokens"


def _temperature(options: CompletionOptions) -> float | UnsetType:
    if not isinstance(options.temperature, UnsetType) and options.temperature > 1:
        detail = f"This server takes a 'temperature' from 0 to 1, and not up to 2; {options.temperature} was given."
        raise invalid_parameter("temperature", detail, "decimal_above_max_value")
    return options.temperature


def _format(options: CompletionOptions) -> Json | UnsetType:
    match options.response_format:
        case SchemaFormat(NamedSchema(schema=schema, description=description)):
            described = {"description": description, **schema} if description else schema
            return {"type": "json_schema", "schema": described}
        case AnyJsonFormat():
            return {"type": "json_schema", "schema": {"type": "object"}}
        case TextFormat() | UnsetType():
            return UNSET
        case _:
            assert_never(options.response_format)
