"""Checks of a request's parameters: unknown ones, values out of range, and those that a model does not take. Pure."""

import re
from typing import Any, NoReturn, cast

from deploy.emulator.faults import ServiceError
from deploy.emulator.openai.errors import invalid
from deploy.emulator.request import Json
from deploy.emulator.wire import json_bytes

_SHARED = """
metadata model moderation parallel_tool_calls prompt_cache_key prompt_cache_options
prompt_cache_retention safety_identifier service_tier store stream stream_options temperature tool_choice tools
top_logprobs top_p user
"""
CHAT_PARAMETERS = frozenset(
    f"""
    {_SHARED} audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens
    messages modalities n prediction presence_penalty reasoning_effort response_format seed stop verbosity
    web_search_options
    """.split()
)
RESPONSE_PARAMETERS = frozenset(
    f"""
    {_SHARED} access_programs background background_options context_management conversation image include input
    instructions max_output_tokens max_tool_calls previous_response_id prompt reasoning text truncation
    """.split()
)
_MAX_STOPS = 4
_RANGES = {"temperature": 2, "top_p": 1}
_REASONING_MODEL = re.compile(r"(^|/)(o[134]|gpt-5)\b(?!.*chat)")  # in OpenAI's own ids
_REASONING_REJECTS = ("max_tokens", "stop")
# In the id of a model on a server that lacks a feature, and how such servers reject it.
_LACKS = {
    "no-usage": ("stream_options", "Unrecognized request argument supplied: stream_options"),
    "no-schema": (
        "response_format",
        "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
    ),
    "no-tool-choice": ("tool_choice", "This model does not support this tool_choice"),
    "no-stop": ("stop", "Unsupported parameter: 'stop' is not supported with this model."),
}
_OLD_LIMIT_ONLY = "no-max-completion"  # as servers that validate strictly and know `max_tokens` alone


def check_parameters(fields: Json, model: str, known: frozenset[str]) -> None:
    """Raise ServiceError for a parameter that is unknown, out of range, or not for this model."""
    for name in fields:
        if name not in known:
            raise invalid(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    for name, maximum in _RANGES.items():
        value = fields.get(name)
        if isinstance(value, int | float) and not 0 <= value <= maximum:
            sign, bound = (">=", 0) if value < 0 else ("<=", maximum)
            message = (
                f"Invalid '{name}': decimal out of range. Expected a value {sign} {bound}, but got {value} instead."
            )
            raise invalid(message, name, f"decimal_{'below_min' if value < 0 else 'above_max'}_value")
    stop: Any = fields.get("stop")
    if isinstance(stop, list) and len(cast("list[Any]", stop)) > _MAX_STOPS:
        count = len(cast("list[Any]", stop))
        raise invalid(
            f"Invalid 'stop': array too long. Expected an array with maximum length {_MAX_STOPS}, but got an array "
            f"with length {count} instead.",
            "stop",
            "array_above_max_length",
        )
    if fields.get("stream_options") is not None and not fields.get("stream"):
        raise invalid(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            "stream_options",
            "invalid_value",
        )
    _check_model(fields, model)


def _check_model(fields: Json, model: str) -> None:
    for marker, (name, message) in _LACKS.items():
        if marker in model and fields.get(name) is not None:
            raise invalid(message, name, "unsupported_parameter")
    if "no-schema" in model and "json_schema" in str(fields.get("text")):
        raise invalid("Invalid parameter: 'text.format' of type 'json_schema' is not supported.", "text.format")
    if _OLD_LIMIT_ONLY in model and "max_completion_tokens" in fields:
        _reject_extra("max_completion_tokens", fields["max_completion_tokens"])
    if not _REASONING_MODEL.search(model):
        return
    for name in _REASONING_REJECTS:
        if fields.get(name) is not None:
            advice = " Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
            message = f"Unsupported parameter: '{name}' is not supported with this model.{advice}"
            raise invalid(message, name, "unsupported_parameter")
    for name in _RANGES:
        if fields.get(name) not in (None, 1):
            raise invalid(
                f"Unsupported value: '{name}' does not support {fields[name]} with this model. Only the default (1) "
                "value is supported.",
                name,
                "unsupported_value",
            )


def _reject_extra(name: str, value: Any) -> NoReturn:
    message = "Extra inputs are not permitted"
    detail = {"type": "extra_forbidden", "loc": ["body", name], "msg": message, "input": value}
    raise ServiceError(422, None, message, json_bytes({"detail": [detail]}))


def check_tool_results(messages: list[Json]) -> None:
    """Raise ServiceError unless the results of a chat's tool calls follow at once, each for a call."""
    waiting: set[str] = set()
    for index, message in enumerate(messages):
        if message["role"] == "tool":
            if message.get("tool_call_id") not in waiting:
                raise invalid(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceding message with "
                    "'tool_calls'.",
                    f"messages.[{index}].role",
                )
            waiting.discard(str(message.get("tool_call_id")))
        elif waiting:
            break
        elif message["role"] == "assistant":
            waiting = {str(call.get("id")) for call in cast("list[Json]", message.get("tool_calls") or [])}
    if waiting:
        raise invalid(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(sorted(waiting))}",
            "messages",
        )
