"""Parser for the body of `POST /v1/messages`; rejects what Anthropic rejects, with its messages. Pure."""

import json
from collections.abc import Iterator
from typing import Any, cast

from deploy.emulator.anthropic.errors import invalid_request
from deploy.emulator.anthropic.thinking import check_thinking
from deploy.emulator.faults import ServiceError
from deploy.emulator.request import EmulatedRequest, ForcedTool, Json, Turn, parse_strict_json
from deploy.emulator.token_counter import count_prompt_tokens, window_of

# In the id of a model that rejects a prefill or `temperature`, as newer models do; those that take one sampler only.
_NO_PREFILL = "no-prefill"
_NO_TEMPERATURE = "no-temperature"
_ONE_SAMPLER = ("opus-4", "sonnet-4", "haiku-4", "opus-5", "sonnet-5", "haiku-5")
_MAX_CACHE_BREAKPOINTS = 4
_MIN_THINKING_BUDGET = 1024
_FIELDS = """
model messages max_tokens system stream stop_sequences temperature top_p top_k tools tool_choice thinking metadata
service_tier container context_management mcp_servers output_config cache_control inference_geo
"""


def parse_request(body: bytes) -> EmulatedRequest:
    """Parse a body; raises ServiceError (invalid_request_error)."""
    try:
        fields = parse_strict_json(body)
    except ValueError as error:
        raise invalid_request(f"The request body is not valid JSON: {error}") from error
    for name in ("model", "max_tokens", "messages"):
        if name not in fields:
            raise invalid_request(f"{name}: Field required")
    for name in fields:
        if name not in _FIELDS.split():
            raise invalid_request(f"{name}: Extra inputs are not permitted")
    request = EmulatedRequest(
        operation="Messages",
        model=_string(fields, "model"),
        is_streamed=_boolean(fields, "stream"),
        messages=_objects(fields["messages"], "messages"),
        turns=_parse_turns(fields),
        system=fields.get("system"),
        inference={key: value for key, value in fields.items() if key not in ("messages", "system", "model")},
        max_tokens=_max_tokens(fields),
        input_tokens=count_prompt_tokens(*(fields.get(name) for name in ("messages", "system", "tools"))),
        forced_tool=parse_forced_tool(fields),
        schema=parse_schema(fields),
    )
    _reject_unsupported(fields, request)
    check_thinking_in(fields, request)
    _reject_oversized_prompt(request)
    return request


def _parse_turns(fields: Json) -> tuple[Turn, ...]:
    messages = _objects(fields["messages"], "messages")
    if not messages:
        raise invalid_request("messages: at least one message is required")
    turns: list[Turn] = []
    for index, message in enumerate(messages):
        role, where = message.get("role"), f"messages.{index}"
        if role not in ("user", "assistant"):
            raise invalid_request(f"{where}.role: Input should be 'user' or 'assistant'")
        texts = _texts(message.get("content"), f"{where}.content")
        if not texts and not isinstance(message.get("content"), list):
            raise invalid_request(f"{where}: all messages must have non-empty content")
        turns.append(Turn(role, texts))
    if turns[0].role != "user":
        raise invalid_request('messages: first message must use the "user" role')
    for index, text in enumerate(_texts(fields.get("system") or [], "system")):
        if not text.strip():
            raise invalid_request(f"system.{index}: text content blocks must contain non-whitespace text")
    return tuple(turns)


def _texts(content: Any, where: str) -> tuple[str, ...]:
    """Return the texts of a string or of a list of blocks; raises ServiceError for a blank one."""
    if isinstance(content, str):
        if not content:
            return ()
        content = [{"type": "text", "text": content}]
    texts = [block.get("text") for block in _objects(content, where) if block.get("type") == "text"]
    for text in texts:
        if not isinstance(text, str):
            raise invalid_request(f"{where}.text: Input should be a valid string")
        if not text.strip():
            raise invalid_request("messages: text content blocks must contain non-whitespace text")
    return tuple(cast("list[str]", texts))


def parse_forced_tool(fields: Json) -> ForcedTool | None:
    """Return the tool that `tool_choice` forces; raises ServiceError."""
    tools, choice = _tools(fields), fields.get("tool_choice")
    if choice is None:
        return None
    if not tools:
        raise invalid_request("tool_choice: tool_choice may only be specified while providing tools.")
    if not isinstance(choice, dict) or cast(Json, choice).get("type") not in ("auto", "any", "tool", "none"):
        raise invalid_request("tool_choice: Input should be an object with a type of 'auto', 'any', 'tool' or 'none'")
    chosen = cast(Json, choice)
    if chosen["type"] in ("auto", "none"):
        return None
    name = chosen.get("name") if chosen["type"] == "tool" else next(iter(tools))
    if name not in tools:
        raise invalid_request(f"Tool '{name}' not found in provided tools")
    return ForcedTool(cast(str, name), tools[name]["input_schema"])


def _tools(fields: Json) -> dict[str, Json]:
    """Return the client's tools by name; the vendor's own ones have a type and no schema."""
    tools: dict[str, Json] = {}
    for index, tool in enumerate(_objects(fields.get("tools", []), "tools")):
        name, schema = tool.get("name"), tool.get("input_schema")
        if not isinstance(name, str):
            raise invalid_request(f"tools.{index}.custom.name: Field required")
        if tool.get("type", "custom") != "custom":
            continue
        if not isinstance(schema, dict):
            raise invalid_request(f"tools.{index}.custom.input_schema: Field required")
        if cast(Json, schema).get("type") != "object":
            raise invalid_request(f"tools.{index}.custom.input_schema.type: Input should be 'object'")
        tools[name] = tool
    return tools


def parse_schema(fields: Json) -> Json | None:
    """Return the schema of `output_config.format`; raises ServiceError."""
    config = fields.get("output_config")
    wanted = cast(Json, config).get("format") if isinstance(config, dict) else None
    if wanted is None:
        return None
    schema = cast(Json, wanted).get("schema") if isinstance(wanted, dict) else None
    if not isinstance(schema, dict):
        raise invalid_request("output_config.format.schema: Field required")
    if not all(each.get("additionalProperties") is False for each in _object_schemas(cast(Json, schema))):
        raise invalid_request(
            "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false"
        )
    return cast(Json, schema)


def _object_schemas(value: Any) -> Iterator[Json]:
    """Yield each schema of an object within a JSON schema."""
    if isinstance(value, dict):
        schema = cast(Json, value)
        if schema.get("type") == "object":
            yield schema
        for each in schema.values():
            yield from _object_schemas(each)
    elif isinstance(value, list):
        for each in cast("list[Any]", value):
            yield from _object_schemas(each)


def _reject_unsupported(fields: Json, request: EmulatedRequest) -> None:
    """Raise ServiceError where the request uses a feature that the model does not have."""
    if request.turns[-1].role == "assistant":
        if _NO_PREFILL in request.model:
            raise invalid_request(
                "This model does not support assistant message prefill. The conversation must end with a user message."
            )
        if request.prefill != request.prefill.rstrip():
            raise invalid_request("messages: final assistant content cannot end with trailing whitespace")
    if "temperature" in fields and _NO_TEMPERATURE in request.model:
        raise invalid_request("`temperature` is deprecated for this model.")
    for name in ("temperature", "top_p"):
        value = fields.get(name, 0)
        if not isinstance(value, int | float) or not 0 <= value <= 1:
            raise invalid_request(f"{name}: Input should be a valid number from 0 to 1")
    breakpoints = json.dumps([fields.get(name) for name in ("messages", "system", "tools")]).count('"cache_control":')
    if breakpoints > _MAX_CACHE_BREAKPOINTS:
        raise invalid_request(
            f"A maximum of {_MAX_CACHE_BREAKPOINTS} blocks with cache_control may be provided. Found {breakpoints}."
        )
    if {"temperature", "top_p"} <= fields.keys() and any(name in request.model for name in _ONE_SAMPLER):
        raise invalid_request("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    sequences = fields.get("stop_sequences")
    given = cast("list[Any]", sequences) if isinstance(sequences, list) else []
    if any(not str(each).strip() for each in given):
        raise invalid_request("stop_sequences: each stop sequence must contain non-whitespace")
    _reject_thinking(fields.get("thinking"), fields, request)


def check_thinking_in(fields: Json, request: EmulatedRequest) -> None:
    """Raise ServiceError for thinking blocks in the messages that the model does not take."""
    config = fields.get("thinking")
    is_off = isinstance(config, dict) and cast(Json, config).get("type") == "disabled"
    contents = (each.get("content") for each in request.messages)
    blocks = [cast("list[Json]", each) if isinstance(each, list) else [] for each in contents]
    check_thinking(blocks, request.model, is_disabled=is_off or request.forced_tool is not None)


def _reject_thinking(thinking: Any, fields: Json, request: EmulatedRequest) -> None:
    config = cast(Json, thinking) if isinstance(thinking, dict) else {}
    if config.get("type") not in ("enabled", "adaptive"):
        return
    if request.forced_tool:
        raise invalid_request("Thinking may not be enabled when tool_choice forces tool use.")
    if fields.get("temperature", 1) != 1:
        raise invalid_request("`temperature` may only be set to 1 when thinking is enabled.")
    budget = config.get("budget_tokens", 0 if config["type"] == "enabled" else _MIN_THINKING_BUDGET)
    if budget < _MIN_THINKING_BUDGET:
        raise invalid_request(
            f"thinking.enabled.budget_tokens: Input should be greater than or equal to {_MIN_THINKING_BUDGET}"
        )
    if request.max_tokens is not None and config["type"] == "enabled" and request.max_tokens <= budget:
        raise invalid_request("`max_tokens` must be greater than `thinking.budget_tokens`.")


def _reject_oversized_prompt(request: EmulatedRequest) -> None:
    window = window_of(request.model)
    if request.input_tokens > window:
        raise invalid_request(f"prompt is too long: {request.input_tokens} tokens > {window} maximum")
    if request.max_tokens and request.input_tokens + request.max_tokens > window:
        raise invalid_request(
            f"input length and `max_tokens` exceed context limit: {request.input_tokens} + {request.max_tokens} > "
            f"{window}, decrease input length or `max_tokens` and try again"
        )


def _max_tokens(fields: Json) -> int:
    value = fields["max_tokens"]
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid_request("max_tokens: Input should be a valid integer")
    if value < 1:
        raise invalid_request("max_tokens: Input should be greater than or equal to 1")
    return value


def _string(fields: Json, name: str) -> str:
    value = fields[name]
    if not isinstance(value, str) or not value:
        raise invalid_request(f"{name}: Input should be a valid string")
    return value


def _boolean(fields: Json, name: str) -> bool:
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise invalid_request(f"{name}: Input should be a valid boolean")
    return value


def _objects(value: Any, where: str) -> list[Json]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in cast("list[Any]", value)):
        raise invalid_request(f"{where}: Input should be a valid list")
    return cast("list[Json]", value)


def missing_header(name: str) -> ServiceError:
    """Return the error for a request without its key or version."""
    if name == "x-api-key":
        return ServiceError(401, "authentication_error", "x-api-key header is required")
    return invalid_request(f"{name}: header is required")
