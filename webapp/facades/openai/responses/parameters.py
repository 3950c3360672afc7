"""The parameters of a new response: from the body to our fields, or a 400 that names the parameter."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType

from millrace.webapp.facades.openai.errors import (
    invalid_parameter,
    missing_parameter,
    unknown_parameter,
    unsupported_parameter,
    wrong_type,
)
from millrace.webapp.facades.openai.parameters import IGNORED, check_model, keep_supported
from millrace.webapp.facades.openai.responses.input import ResponseInput, parse_input
from millrace.webapp.facades.openai.responses.objects import EchoedParameters
from millrace.webapp.generation.validation import convert, without_absent
from millrace.webapp.request_input import Json
from millrace.worker.settings.schema import Settings

FIELDS = {
    "input": "messages",
    "instructions": "system",
    "max_output_tokens": "max_tokens",
    "text.format": "response_format",
    "previous_response_id": "conversation_id",
}
"""The parameters that have other names here, with ours."""

_SUPPORTED = frozenset(
    (
        *("input", "instructions", "model", "previous_response_id", "store", "stream", "background", "metadata"),
        *("max_output_tokens", "temperature", "top_p", "text", "reasoning", "include", "truncation", "stream_options"),
    )
)
_REFUSED: dict[str, tuple[Any, ...]] = {
    "tools": ([],),
    "tool_choice": ("auto", "none"),
    "parallel_tool_calls": (True, False),
    "max_tool_calls": (),
    "conversation": (),
    "prompt": (),
    "top_logprobs": (0,),
    "service_tier": ("auto", "default", "flex", "scale", "priority", "fast", "ultrafast"),
    "context_management": ([],),
    "moderation": (),
    "image": (),
    "access_programs": (),
    "background_options": (),
}
"""Parameters without an effect here, with the values that mean nothing else than what happens."""
_REASONS = {
    "tools": "This server does not take tools of requests. Leave out 'tools', or send an empty array.",
    "tool_choice": "This server does not take tools of requests. Leave out 'tool_choice'.",
    "conversation": "Continue a conversation with 'previous_response_id' instead of 'conversation'.",
}
_NEUTRAL_REASONING: dict[str, tuple[Any, ...]] = {
    "effort": (),
    "summary": ("auto",),
    "generate_summary": ("auto",),
    "context": ("auto",),
    "mode": ("standard",),
}
_NEUTRAL_TEXT: dict[str, tuple[Any, ...]] = {"verbosity": ("medium",)}
_FORMATS = {
    "text": ("type",),
    "json_object": ("type",),
    "json_schema": ("type", "name", "schema", "strict", "description"),
}
"""The forms of an answer, with their members."""
_HARMLESS_INCLUDES = frozenset(
    (
        *("file_search_call.results", "web_search_call.results", "web_search_call.action.sources"),
        *("message.input_image.image_url", "computer_call_output.output.image_url", "code_interpreter_call.outputs"),
        "reasoning.encrypted_content",
    )
)
"""Details of items that no response here has."""


class ResponseFields(msgspec.Struct, frozen=True):
    """A new response. `input` is a text or a list of messages; with `previous_response_id` it is the next question."""

    input: str | list[Any]
    model: str | UnsetType = UNSET
    instructions: str | UnsetType = UNSET
    previous_response_id: str | UnsetType = UNSET
    store: bool | UnsetType = UNSET
    stream: bool | UnsetType = UNSET
    background: bool | UnsetType = UNSET
    max_output_tokens: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    temperature: Annotated[float, Meta(ge=0, le=2)] | UnsetType = UNSET
    top_p: Annotated[float, Meta(ge=0, le=1)] | UnsetType = UNSET
    metadata: dict[str, str] | UnsetType = UNSET
    text: dict[str, Any] | UnsetType = UNSET
    reasoning: dict[str, Any] | UnsetType = UNSET
    include: list[str] | UnsetType = UNSET
    truncation: Literal["auto", "disabled"] | UnsetType = UNSET
    stream_options: dict[str, Any] | UnsetType = UNSET


@dataclass(frozen=True)
class ResponseRequest:
    """A request for a response, before its history is known.

    `options` are our fields that shape the answer. `question` holds the parameters that make up the question, for the
    Idempotency-Key.
    """

    input: ResponseInput
    options: Json
    previous: str | None
    is_stored: bool
    is_streamed: bool
    is_in_background: bool
    echo: EchoedParameters
    question: Json


def parse_parameters(body: Json, settings: Settings) -> ResponseRequest:
    """Return the request; raises Problem 400 and 404 in the words of the protocol, 422 for a value of a wrong type."""
    given = without_absent(keep_supported(body, _SUPPORTED, _REFUSED, _REASONS), ResponseFields)
    if "input" not in given:
        raise missing_parameter("input")
    fields = convert(given, ResponseFields)
    check_model(given.get("model"), settings)
    _check_neutral(given.get("reasoning"), "reasoning", _NEUTRAL_REASONING)
    _check_neutral(given.get("stream_options"), "stream_options", {"include_obfuscation": (True, False)})
    _check_includes(given.get("include") or [])
    parsed = parse_input(fields.input)
    instructions = [*([fields.instructions] if isinstance(fields.instructions, str) else []), *parsed.instructions]
    options: Json = {
        "system": "\n\n".join(filter(str.strip, instructions)),
        "max_tokens": given.get("max_output_tokens"),
        "response_format": _response_format(given.get("text")),
        **{name: given.get(name) for name in ("model", "temperature", "top_p", "metadata")},
    }
    is_in_background = fields.background is True
    if is_in_background:
        options["on_disconnect"] = "continue"
    return ResponseRequest(
        parsed,
        options,
        fields.previous_response_id if isinstance(fields.previous_response_id, str) else None,
        fields.store is not False,
        fields.stream is True,
        is_in_background,
        _echo(body),
        {name: value for name, value in given.items() if name not in ("stream", "stream_options")},
    )


def _echo(body: Json) -> EchoedParameters:
    """Return the parameters that the response shows again, of a body that has been checked."""
    names = EchoedParameters.__struct_fields__
    shown = {name: value for name in names if (value := body.get(name)) is not None and value != ""}
    for name in IGNORED & shown.keys():
        if not isinstance(shown[name], str):
            raise wrong_type(name, "a string")
    if "text" in shown:
        shown["text"] = {"format": {"type": "text"}} | shown["text"]
    if "reasoning" in shown:
        shown["reasoning"] = {"effort": None, "summary": None} | shown["reasoning"]
    return msgspec.convert(shown, EchoedParameters)


def _check_neutral(given: Any, where: str, neutral: dict[str, tuple[Any, ...]]) -> None:
    for name, value in (given or {}).items():
        if name not in neutral:
            raise unknown_parameter(f"{where}.{name}")
        if value is not None and value not in neutral[name]:
            raise unsupported_parameter(f"{where}.{name}", f"This server does not support '{where}.{name}'.")


def _check_includes(includes: list[str]) -> None:
    for number, each in enumerate(includes):
        if each not in _HARMLESS_INCLUDES:
            raise unsupported_parameter(f"include[{number}]", f"This server cannot include '{each[:100]}'.")


def _response_format(text: Any) -> Json | None:
    """Return our form of the answer, None for plain text; raises Problem 400."""
    members: Json = text or {}
    _check_neutral({name: each for name, each in members.items() if name != "format"}, "text", _NEUTRAL_TEXT)
    given = members.get("format")
    if given is None:
        return None
    if not isinstance(given, dict):
        raise wrong_type("text.format", "an object")
    form = cast("Json", given)
    kind = form.get("type")
    if not isinstance(kind, str) or kind not in _FORMATS:
        raise invalid_parameter("text.format.type", f"text.format.type must be one of: {', '.join(_FORMATS)}.")
    for name in form:
        if name not in _FORMATS[kind]:
            raise unknown_parameter(f"text.format.{name}")
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "json_schema", "schema": {"type": "object"}}
    return {"type": "json_schema", "schema": _schema(form)}


def _schema(form: Json) -> Json:
    schema, description = form.get("schema"), form.get("description")
    if not isinstance(form.get("name"), str):
        raise missing_parameter("text.format.name")
    if not isinstance(schema, dict):
        raise wrong_type("text.format.schema", "an object")
    if description is None:
        return cast("Json", schema)
    if not isinstance(description, str):
        raise wrong_type("text.format.description", "a string")
    return {"description": description, **cast("Json", schema)}
