"""Parser of the bodies of chat completions and responses; rejects what OpenAI rejects, with its messages. Pure."""

from typing import Any, cast

from deploy.emulator.openai.errors import invalid, parse_error
from deploy.emulator.openai.parameters import (
    CHAT_PARAMETERS,
    RESPONSE_PARAMETERS,
    check_parameters,
    check_tool_results,
)
from deploy.emulator.request import EmulatedRequest, ForcedTool, Json, Turn, parse_strict_json
from deploy.emulator.token_counter import count_prompt_tokens, window_of

# In the id of a model that continues a final assistant message, as some servers of open models do; OpenAI's do not.
_PREFILL = "prefill"
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_TEXT_PARTS = ("text", "input_text", "output_text")
_PARTS = (*_TEXT_PARTS, "image_url", "input_audio", "file", "refusal", "input_image", "input_file")
_JSON_OBJECT: Json = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}


def parse_chat(body: bytes) -> EmulatedRequest:
    """Return the request of a chat completion; raises ServiceError."""
    fields = _parse(body)
    messages = _messages(fields, "messages")
    if fields.get("n") not in (None, 1):
        raise invalid("Invalid 'n': the emulated model gives one choice.", "n", "invalid_value")
    model = _model(fields)
    check_parameters(fields, model, CHAT_PARAMETERS)
    check_tool_results(messages)
    name = "max_completion_tokens" if fields.get("max_completion_tokens") is not None else "max_tokens"
    max_tokens = _max_tokens(fields, name, 1)
    system = [message for message in messages if message["role"] in ("system", "developer")]
    rest = {name: value for name, value in fields.items() if name != "messages"}
    tools = {tool["function"]["name"]: tool["function"] for tool in _tools(fields, "function")}
    return _request("ChatCompletions", model, fields, messages, system, rest, max_tokens, tools)


def parse_responses(body: bytes) -> EmulatedRequest:
    """Return the request of a response; raises ServiceError."""
    fields = _parse(body)
    if isinstance(fields.get("input"), str):
        fields["input"] = [{"role": "user", "content": fields["input"]}]
    messages = _messages(fields, "input")
    model = _model(fields)
    check_parameters(fields, model, RESPONSE_PARAMETERS)
    max_tokens = _max_tokens(fields, "max_output_tokens", 16)
    rest = {name: value for name, value in fields.items() if name not in ("input", "instructions")}
    tools = {tool["name"]: tool for tool in _tools(fields, "name")}
    return _request("Responses", model, fields, messages, fields.get("instructions"), rest, max_tokens, tools)


def _request(  # noqa: PLR0917 - the two callers name all of them in this order
    operation: str,
    model: str,
    fields: Json,
    messages: list[Json],
    system: Any,
    inference: Json,
    max_tokens: int | None,
    tools: dict[str, Json],
) -> EmulatedRequest:
    tokens = count_prompt_tokens(messages, fields.get("instructions"), fields.get("tools"))
    where = "messages" if operation == "ChatCompletions" else "input"
    window = window_of(model)
    wanted = tokens + (max_tokens or 0)
    if wanted > window:
        raise invalid(
            f"This model's maximum context length is {window} tokens. However, you requested {wanted} tokens "
            f"({tokens} in the {where}, {max_tokens or 0} in the completion). Please reduce the length of the "
            f"{where}.",
            where,
            "context_length_exceeded",
        )
    return EmulatedRequest(
        *(operation, model, fields.get("stream") is True),
        *(messages, tuple(_turns(messages)), system, inference, max_tokens, tokens),
        forced_tool=_forced_tool(fields, tools),
        continues_prefill=_PREFILL in model,
        schema=_schema(fields, messages),
    )


def _parse(body: bytes) -> Json:
    try:
        fields = parse_strict_json(body)
    except ValueError as error:
        raise parse_error(error) from error
    if not isinstance(fields.get("stream", False), bool | None):
        raise _wrong_type("stream", "a boolean", fields["stream"])
    return fields


def _model(fields: Json) -> str:
    model = fields.get("model")
    if not isinstance(model, str) or not model:
        raise invalid("you must provide a model parameter", None)
    return model


def _messages(fields: Json, where: str) -> list[Json]:
    if where not in fields:
        raise invalid(f"Missing required parameter: '{where}'.", where, "missing_required_parameter")
    value = fields[where]
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in cast("list[Any]", value)):
        raise _wrong_type(where, "an array of objects", value)
    messages = cast("list[Json]", value)
    if not messages:
        raise invalid(f"Invalid '{where}': empty array. Expected an array with minimum length 1.", where, "empty_array")
    for index, message in enumerate(messages):
        _check_message(message, f"{where}[{index}]", is_chat=where == "messages")
    return messages


def _check_message(message: Json, where: str, *, is_chat: bool) -> None:
    role = message.get("role")
    if not is_chat and message.get("type", "message") != "message":
        return  # a call of a tool, its output, a reasoning item
    if role not in _ROLES:
        raise invalid(
            f"Invalid value: '{role}'. Supported values are: {', '.join(repr(each) for each in _ROLES)}.",
            f"{where}.role",
            "invalid_value",
        )
    content = message.get("content")
    if isinstance(content, str) or (content is None and role == "assistant" and message.get("tool_calls")):
        return
    if not isinstance(content, list):
        raise _wrong_type(f"{where}.content", "one of a string or array of objects", content)
    for place, part in enumerate(cast("list[Any]", content)):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in _PARTS:
            raise invalid(f"Invalid value: '{kind}'.", f"{where}.content[{place}]", "invalid_value")
        if kind in _TEXT_PARTS and not isinstance(part.get("text"), str):
            raise _wrong_type(f"{where}.content[{place}].text", "a string", part.get("text"))


def _turns(messages: list[Json]) -> list[Turn]:
    turns: list[Turn] = []
    for message in messages:
        role, kind = message.get("role"), message.get("type")
        if role in ("tool", "function") or kind == "function_call_output":
            turns.append(Turn("user", ()))  # the caller's turn, without words of the user
        elif role in ("user", "assistant"):
            turns.append(Turn(role, tuple(_texts(message.get("content")))))
        elif kind == "function_call":
            turns.append(Turn("assistant", ()))
    return turns


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [part["text"] for part in content or [] if part.get("type") in _TEXT_PARTS]


def _max_tokens(fields: Json, name: str, least: int) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong_type(name, "an integer", value)
    if value < least:
        raise invalid(
            f"Invalid '{name}': integer below minimum value. Expected a value >= {least}, but got {value} instead.",
            name,
            "integer_below_min_value",
        )
    return value


def _tools(fields: Json, required: str) -> list[Json]:
    """Return the functions among the tools; `required` is the key of a function's description."""
    tools = fields.get("tools") or []
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in cast("list[Any]", tools)):
        raise _wrong_type("tools", "an array of objects", tools)
    functions = [tool for tool in cast("list[Json]", tools) if tool.get("type") == "function"]
    for index, tool in enumerate(functions):
        described = tool.get(required)
        if not described or (required == "function" and not cast(Json, described).get("name")):
            where = f"tools[{index}].{required}"
            raise invalid(f"Missing required parameter: '{where}'.", where, "missing_required_parameter")
    return functions


def _forced_tool(fields: Json, tools: dict[str, Json]) -> ForcedTool | None:
    """Return the tool that the request forces; with any other choice the emulated model calls no tool unscripted."""
    choice = fields.get("tool_choice")
    if choice in (None, "auto", "none"):
        return None
    if not tools:
        raise invalid(
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.", "tool_choice"
        )
    if choice == "required":
        name = next(iter(tools))
    else:
        name = choice.get("name") or choice.get("function", {}).get("name") if isinstance(choice, dict) else None
    if name not in tools:
        raise invalid(f"Tool choice '{name}' not found in 'tools' parameter.", "tool_choice")
    return ForcedTool(str(name), tools[str(name)].get("parameters") or {})


def _schema(fields: Json, messages: list[Json]) -> Json | None:
    """Return the schema of the JSON that the request asks for."""
    given = fields.get("response_format") or cast(Json, fields.get("text") or {}).get("format") or {}
    where = "response_format" if "response_format" in fields else "text.format"
    match given.get("type"):
        case "json_object":
            if "json" not in str(messages).lower():
                raise invalid(
                    "'messages' must contain the word 'json' in some form, to use 'response_format' of type "
                    "'json_object'.",
                    "messages",
                )
            return _JSON_OBJECT
        case "json_schema":
            described = cast(Json, given.get("json_schema") or given)
            name, schema = described.get("name"), described.get("schema")
            if not isinstance(name, str) or not isinstance(schema, dict):
                part = "schema" if isinstance(name, str) else "name"
                raise invalid(
                    f"Missing required parameter: '{where}.{part}'.", f"{where}.{part}", "missing_required_parameter"
                )
            if described.get("strict"):
                _check_strict(cast(Json, schema), name, where, ())
            return cast(Json, schema)
        case _:
            return None


def _check_strict(schema: Json, name: str, where: str, path: tuple[str, ...]) -> None:
    """Raise ServiceError unless each object of a strict schema is closed and requires all its properties."""
    properties = cast("dict[str, Json]", schema.get("properties", {}))
    if schema.get("type") == "object":
        start = f"Invalid schema for response_format '{name}': In context={path}, "
        if schema.get("additionalProperties") is not False:
            raise invalid(f"{start}'additionalProperties' is required to be supplied and to be false.", where)
        if missing := sorted(set(properties) - set(schema.get("required", ()))):
            raise invalid(
                f"{start}'required' is required to be supplied and to be an array including every key in properties. "
                f"Missing '{missing[0]}'.",
                where,
            )
    for key, each in properties.items():
        _check_strict(each, name, where, (*path, "properties", key))
    if isinstance(schema.get("items"), dict):
        _check_strict(schema["items"], name, where, (*path, "items"))


def _wrong_type(param: str, expected: str, value: Any) -> Exception:
    got = {
        dict: "an object",
        list: "an array",
        str: "a string",
        bool: "a boolean",
        int: "an integer",
        float: "a decimal",
    }
    found = got.get(type(value), "null")
    message = f"Invalid type for '{param}': expected {expected}, but got {found} instead."
    return invalid(message, param, "invalid_type")
