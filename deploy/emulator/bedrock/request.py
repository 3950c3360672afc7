"""Parser for the bodies of the four operations; rejects what Bedrock rejects, with Bedrock's messages. Pure."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypedDict, Unpack, cast

from deploy.emulator.anthropic.request import check_thinking_in, parse_forced_tool, parse_schema
from deploy.emulator.bedrock.errors import validation_error
from deploy.emulator.faults import ServiceError
from deploy.emulator.request import EmulatedRequest, ForcedTool, Json, Turn
from deploy.emulator.token_counter import count_prompt_tokens, window_of

# In the id of a model that rejects a prefill, as newer models do; cache points; a forced tool.
_NO_PREFILL = "no-prefill"
_NO_CACHE = "no-cache"
_NO_TOOL_CHOICE = "no-tool-choice"
_ONE_SAMPLER = re.compile(r"anthropic\.claude-(opus-4-[1-6]|sonnet-4-[56]|haiku-4-5)\b")
_ANTHROPIC = re.compile(r"(^|[./])anthropic\.")


@dataclass(frozen=True)
class Operation:
    """One of Bedrock's operations, and the family that decides its bodies."""

    name: str
    family: Literal["converse", "invoke"]
    is_streamed: bool


def parse_request(operation: Operation, model: str, body: bytes) -> EmulatedRequest:
    """Parse the body of an operation; raises ServiceError (ValidationException)."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise validation_error(f"Malformed input request, please reformat your input and try again: {error}") from error
    if not isinstance(value, dict):
        raise validation_error(
            "Malformed input request: #: expected an object, please reformat your input and try again."
        )
    fields = cast(Json, value)
    input_tokens = count_prompt_tokens(*(fields.get(name) for name in ("messages", "system", "toolConfig", "tools")))
    parse = _parse_converse if operation.family == "converse" else _parse_invoke
    request = parse(operation, model, fields, input_tokens)
    _reject_oversized_prompt(model, input_tokens, request.max_tokens)
    return request


def _parse_converse(operation: Operation, model: str, fields: Json, input_tokens: int) -> EmulatedRequest:
    messages = _parse_messages(fields, _converse_texts)
    system = fields.get("system", [])
    for index, block in enumerate(_objects(system, "system")):
        _reject_blank(block.get("text"), f"system.{index}")
    inference = fields.get("inferenceConfig", {})
    if not isinstance(inference, dict):
        raise validation_error("The value at 'inferenceConfig' must be an object")
    config = cast(Json, inference)
    _reject_unsupported(model, fields, config)
    max_tokens = _max_tokens(config, "maxTokens", "inferenceConfig.maxTokens")
    rest = _RequestFields(
        input_tokens=input_tokens,
        system=system,
        inference=config,
        max_tokens=max_tokens,
        forced_tool=_forced_tool(fields.get("toolConfig")),
        schema=_output_schema(fields.get("outputConfig")),
    )
    request = _request(operation, model, messages, _converse_texts, **rest)
    _check_reasoning(fields, request)
    return request


def _check_reasoning(fields: Json, request: EmulatedRequest) -> None:
    """Raise ServiceError for reasoning in the messages that the model does not take."""
    more = fields.get("additionalModelRequestFields")
    config = cast(Json, more).get("thinking") if isinstance(more, dict) else None
    blocks = [[_as_thinking(block) for block in message["content"]] for message in request.messages]
    try:
        check_thinking_in({"thinking": config}, replace(request, messages=[{"content": each} for each in blocks]))
    except ServiceError as error:
        raise validation_error(f"The model returned the following errors: {error.message}") from error


def _as_thinking(block: Json) -> Json:
    """Return a block of reasoning as Anthropic's API has it, and any other block without its contents."""
    reasoning = block.get("reasoningContent")
    if not isinstance(reasoning, dict):
        return {"type": next(iter(block), "")}
    given = cast(Json, reasoning)
    if "redactedContent" in given:
        return {"type": "redacted_thinking", "data": given["redactedContent"]}
    text = given.get("reasoningText")
    members = cast(Json, text) if isinstance(text, dict) else {}
    return {"type": "thinking", "thinking": members.get("text"), "signature": members.get("signature")}


def _reject_unsupported(model: str, fields: Json, inference: Json) -> None:
    """Raise ServiceError where the request uses a feature that the model does not have."""
    if _NO_CACHE in model and '"cachePoint"' in json.dumps([fields.get("system"), fields.get("messages")]):
        raise ServiceError(
            403,
            "AccessDeniedException",
            "You invoked an unsupported model or your request did not allow prompt caching. "
            "See the documentation for more information.",
        )
    tools = fields.get("toolConfig")
    if _NO_TOOL_CHOICE in model and isinstance(tools, dict) and "toolChoice" in tools:
        raise validation_error(
            "This model doesn't support the toolConfig.toolChoice.tool field. "
            "Remove toolConfig.toolChoice.tool and try again."
        )
    if _ONE_SAMPLER.search(model) and {"temperature", "topP"} <= inference.keys():
        raise validation_error(
            "The model returned the following errors: `temperature` and `top_p` cannot both be specified for this "
            "model. Please use only one."
        )
    sequences = inference.get("stopSequences")
    given = cast("list[Any]", sequences) if isinstance(sequences, list) else []
    if _ANTHROPIC.search(model) and any(not str(each).strip() for each in given):
        raise validation_error(
            "The model returned the following errors: stop_sequences: each stop sequence must contain non-whitespace"
        )


def _forced_tool(config: Any) -> ForcedTool | None:
    """Return the tool that Converse's `toolConfig` forces; with any other choice the emulated model calls no tool."""
    if config is None:
        return None
    try:
        name = config.get("toolChoice", {}).get("tool", {}).get("name")
        schemas = {tool["toolSpec"]["name"]: tool["toolSpec"]["inputSchema"]["json"] for tool in config["tools"]}
        if name is None:
            return None
        return ForcedTool(name, schemas[name])
    except (AttributeError, LookupError, TypeError) as error:
        raise validation_error(
            "The value at 'toolConfig' is malformed, or forces a tool that it does not define."
        ) from error


def _output_schema(config: Any) -> Json | None:
    """Return the schema that Converse's `outputConfig` holds the answer to."""
    try:
        text_format = (config or {}).get("textFormat")
        if text_format is None:
            return None
        schema = json.loads(text_format["structure"]["jsonSchema"]["schema"])
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise validation_error("The value at 'outputConfig.textFormat' is malformed.") from error
    return _checked_schema({"output_config": {"format": {"schema": schema}}})


def _checked_schema(fields: Json) -> Json | None:
    try:
        return parse_schema(fields)
    except ServiceError as error:
        raise validation_error(error.message) from error


def _parse_invoke(operation: Operation, model: str, fields: Json, input_tokens: int) -> EmulatedRequest:
    for required in ("anthropic_version", "max_tokens", "messages"):
        if required not in fields:
            raise validation_error(f"{required}: Field required")
    messages = _parse_messages(fields, _anthropic_texts)
    inference = {key: value for key, value in fields.items() if key not in ("messages", "system")}
    max_tokens = _max_tokens(fields, "max_tokens", "max_tokens")
    try:
        forced_tool = parse_forced_tool(fields)
    except ServiceError as error:
        raise validation_error(error.message) from error
    rest = _RequestFields(
        input_tokens=input_tokens,
        system=fields.get("system"),
        inference=inference,
        max_tokens=max_tokens,
        forced_tool=forced_tool,
        schema=_checked_schema(fields),
    )
    request = _request(operation, model, messages, _anthropic_texts, **rest)
    try:
        check_thinking_in(fields, request)
    except ServiceError as error:
        raise validation_error(error.message) from error
    return request


class _RequestFields(TypedDict):
    input_tokens: int
    system: Any
    inference: Json
    max_tokens: int | None
    forced_tool: ForcedTool | None
    schema: Json | None


TextExtractor = Callable[[Json, int], list[str]]


def _parse_messages(fields: Json, texts: TextExtractor) -> list[Json]:
    messages = _objects(fields.get("messages"), "messages")
    if not messages or messages[0].get("role") != "user":
        raise validation_error(
            "A conversation must start with a user message. "
            "Try again with a conversation that starts with a user message."
        )
    for index, message in enumerate(messages):
        if message.get("role") != ("user", "assistant")[index % 2]:
            raise validation_error(
                f"A conversation must alternate between user and assistant roles (messages.{index}). "
                "Make sure the conversation alternates between user and assistant roles and try again."
            )
        for text in texts(message, index):
            if not text.strip():
                raise _blank_text(f"messages.{index}.content")
    return messages


def _converse_texts(message: Json, index: int) -> list[str]:
    where = f"messages.{index}.content"
    blocks = _objects(message.get("content"), where)
    if not blocks:
        raise validation_error(
            f"The content field in the Message object at messages.{index} is empty. Add a ContentBlock."
        )
    for place, block in enumerate(blocks):
        if len(block) != 1:
            raise validation_error(f"The ContentBlock object at {where}.{place} must set exactly one of its fields.")
        _reject_blank(block.get("text"), f"{where}.{place}")
    return [block["text"] for block in blocks if "text" in block]


def _anthropic_texts(message: Json, index: int) -> list[str]:
    content = message.get("content")
    if isinstance(content, str):
        return [content]
    blocks = _objects(content, f"messages.{index}.content")
    if not blocks:
        raise validation_error(f"messages.{index}: content must be non-empty")
    for place, block in enumerate(blocks):
        if block.get("type") == "text":
            _reject_blank(block.get("text", ""), f"messages.{index}.content.{place}")
    return [block["text"] for block in blocks if block.get("type") == "text"]


def _request(
    operation: Operation, model: str, messages: list[Json], texts: TextExtractor, **rest: Unpack[_RequestFields]
) -> EmulatedRequest:
    turns = tuple(Turn(each["role"], tuple(texts(each, index))) for index, each in enumerate(messages))
    request = EmulatedRequest(operation.name, model, operation.is_streamed, messages, turns, **rest)
    if turns[-1].role == "assistant":
        if _NO_PREFILL in model:
            raise validation_error(
                "This model does not support assistant message prefill. The conversation must end with a user message."
            )
        if request.prefill != request.prefill.rstrip():
            raise validation_error("messages: final assistant content cannot end with trailing whitespace")
    return request


def _reject_oversized_prompt(model: str, tokens: int, max_tokens: int | None) -> None:
    """Raise ServiceError if the prompt alone, or with `max_tokens`, exceeds the window."""
    window = window_of(model)
    if tokens > window:
        raise validation_error("Input is too long for requested model.")
    if max_tokens and tokens + max_tokens > window:
        raise validation_error(
            f"input length and `max_tokens` exceed context limit: {tokens} + {max_tokens} > {window}, "
            "decrease input length or `max_tokens` and try again"
        )


def _max_tokens(fields: Json, key: str, where: str) -> int | None:
    value = fields.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise validation_error(
            f"1 validation error detected: Value '{value}' at '{where}' failed to satisfy constraint: "
            "Member must have value greater than or equal to 1"
        )
    return value


def _objects(value: Any, where: str) -> list[Json]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in cast(list[Any], value)):
        raise validation_error(f"The value at '{where}' must be a list of objects")
    return cast(list[Json], value)


def _reject_blank(text: Any, where: str) -> None:
    if text is None:  # a block of another kind
        return
    if not isinstance(text, str):
        raise validation_error(f"The text field in the ContentBlock object at {where} must be a string.")
    if not text.strip():
        raise _blank_text(where)


def _blank_text(where: str) -> ServiceError:
    return validation_error(
        f"The text field in the ContentBlock object at {where} is blank. Add text to the text field, and try again."
    )
