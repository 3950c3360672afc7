"""Parser for the bodies of `generateContent`; rejects what Google rejects, with its messages. Pure."""

import re
from base64 import b64decode
from typing import Any, cast

from deploy.emulator.gemini.errors import field_error, invalid_argument, unknown_field
from deploy.emulator.request import EmulatedRequest, ForcedTool, Json, Turn, parse_strict_json
from deploy.emulator.signature import is_signature
from deploy.emulator.token_counter import count_prompt_tokens, window_of

_ROLES = {"user": "user", "model": "assistant", "function": "user", None: "user"}
_MAX_STOP_SEQUENCES = 5
_FIELDS = """
contents systemInstruction generationConfig tools toolConfig safetySettings cachedContent labels serviceTier store model
"""
_GENERATION_FIELDS = """
candidateCount stopSequences maxOutputTokens temperature topP topK seed responseMimeType responseSchema
responseJsonSchema responseModalities presencePenalty frequencyPenalty responseLogprobs logprobs thinkingConfig
mediaResolution speechConfig imageConfig enableEnhancedCivicAnswers
"""
_THINKING_FIELDS = "includeThoughts thinkingBudget thinkingLevel"
# The fields of Google's own Schema, a part of OpenAPI's. A JSON schema has a field of its own in requests.
_SCHEMA_FIELDS = """
type format title description nullable enum maxItems minItems properties required minProperties maxProperties minLength
maxLength pattern example anyOf propertyOrdering default items minimum maximum
"""


def parse_request(model: str, body: bytes, *, is_streamed: bool) -> EmulatedRequest:
    """Parse a body; raises ServiceError (INVALID_ARGUMENT)."""
    try:
        value = parse_strict_json(body)
    except ValueError as error:
        raise invalid_argument(f"Invalid JSON payload received. {error}") from error
    fields = _message(value, "", _FIELDS)
    config = _message(fields.get("generationConfig", {}), "generation_config", _GENERATION_FIELDS)
    system = _message(fields.get("systemInstruction", {}), "system_instruction", "parts role")
    if system:
        _texts(system, "system_instruction")
    request = EmulatedRequest(
        operation="StreamGenerateContent" if is_streamed else "GenerateContent",
        model=model,
        is_streamed=is_streamed,
        messages=_objects(fields.get("contents", []), "contents"),
        turns=_parse_turns(fields),
        system=fields.get("systemInstruction"),
        inference=config,
        max_tokens=_max_tokens(config),
        input_tokens=count_prompt_tokens(*(fields.get(name) for name in ("contents", "systemInstruction", "tools"))),
        forced_tool=_forced_tool(fields),
        schema=_schema(config),
        has_whole_tools=True,
    )
    _reject_combinations(fields, config)
    window = window_of(model)
    if request.input_tokens > window:
        raise invalid_argument(
            f"The input token count ({request.input_tokens}) exceeds the maximum number of tokens allowed ({window})."
        )
    return request


def _parse_turns(fields: Json) -> tuple[Turn, ...]:
    contents = _objects(fields.get("contents", []), "contents")
    if not contents:
        raise field_error("contents", "contents is not specified")
    turns: list[Turn] = []
    for index, content in enumerate(contents):
        role = content.get("role")
        if role not in _ROLES:
            raise invalid_argument("Please use a valid role: user, model.")
        turns.append(Turn(_ROLES[role], _texts(content, f"contents[{index}]")))
    return tuple(turns)


def _texts(content: Json, where: str) -> tuple[str, ...]:
    parts = _objects(content.get("parts", []), f"{where}.parts")
    if not parts:
        raise field_error(f"{where}.parts", "contents.parts must not be empty.")
    for place, part in enumerate(parts):
        if not any(value for name, value in part.items() if name not in ("thought", "thoughtSignature")):
            field = f"{where}.parts[{place}].data"
            raise field_error(field, "required oneof field 'data' must have one initialized field")
        if part.get("text") and "thoughtSignature" in part and not _is_signed(part["thoughtSignature"]):
            raise invalid_argument("Thought signature is not valid.")
        if not isinstance(part.get("text", ""), str):
            raise invalid_argument(f"Invalid value at '{where}.parts[{place}].text' (TYPE_STRING)")
    return tuple(part["text"] for part in parts if part.get("text") and not part.get("thought"))


def _is_signed(signature: Any) -> bool:
    try:
        return is_signature(b64decode(signature, validate=True).decode("ascii"))
    except (ValueError, TypeError):
        return False


def _forced_tool(fields: Json) -> ForcedTool | None:
    """Return the function that mode ANY forces; of several allowed ones, the emulated model calls the first."""
    declared = _declarations(fields)
    choice = _message(fields.get("toolConfig", {}), "tool_config", None).get("functionCallingConfig", {})
    config = _message(choice, "tool_config.function_calling_config", None)
    if config.get("mode") != "ANY":
        return None
    allowed = config.get("allowedFunctionNames") or list(declared)
    if not allowed:
        raise invalid_argument("Function calling mode ANY requires at least one function declaration.")
    unknown = [name for name in allowed if name not in declared]
    if unknown:
        raise invalid_argument(
            "Allowed function names must be a subset of the function declarations' names; there is no "
            f"`{unknown[0]}` among them."
        )
    return ForcedTool(allowed[0], declared[allowed[0]])


def _declarations(fields: Json) -> dict[str, Json]:
    """Return the schema of each declared function by its name."""
    declared: dict[str, Json] = {}
    for index, tool in enumerate(_objects(fields.get("tools", []), "tools")):
        given = _message(tool, f"tools[{index}]", None).get("functionDeclarations", [])
        for place, each in enumerate(_objects(given, f"tools[{index}].function_declarations")):
            where = f"tools[{index}].function_declarations[{place}]"
            declaration = _message(each, where, None)
            if not isinstance(declaration.get("name"), str):
                raise field_error(f"{where}.name", "Invalid function name. Must start with a letter or an underscore.")
            declared[declaration["name"]] = _declared_schema(declaration, where)
    return declared


def _declared_schema(declaration: Json, where: str) -> Json:
    if "parametersJsonSchema" in declaration:
        return declaration["parametersJsonSchema"]
    if "parameters" not in declaration:
        return {"type": "object"}
    return _to_json_schema(declaration["parameters"], f"{where}.parameters")


def _schema(config: Json) -> Json | None:
    """Return the JSON schema of `responseJsonSchema`, or of Google's own kind in `responseSchema`."""
    if config.get("responseJsonSchema") is not None:
        return config["responseJsonSchema"]
    given = config.get("responseSchema")
    return None if given is None else _to_json_schema(given, "generation_config.response_schema")


def _to_json_schema(schema: Any, where: str) -> Json:
    """Return Google's Schema as a JSON schema, which has its types in lower case."""
    fields = _message(schema, where, _SCHEMA_FIELDS)
    converted = dict(fields)
    if isinstance(fields.get("type"), str):
        converted["type"] = fields["type"].lower()
        if converted["type"] == "object" and not fields.get("properties"):
            raise field_error(f"{where}.properties", "should be non-empty for OBJECT type")
    if "items" in fields:
        converted["items"] = _to_json_schema(fields["items"], f"{where}.items")
    if "properties" in fields:
        properties = _message(fields["properties"], f"{where}.properties", None, keeps_names=True)
        converted["properties"] = {
            name: _to_json_schema(each, f"{where}.properties[{index}].value")
            for index, (name, each) in enumerate(properties.items())
        }
    return converted


def _reject_combinations(fields: Json, config: Json) -> None:
    """Raise ServiceError where fields are valid, but not together or not with these values."""
    is_json = config.get("responseMimeType") == "application/json"
    if is_json and fields.get("tools"):
        raise invalid_argument("Function calling with a response mime type: 'application/json' is unsupported")
    if not is_json and ("responseSchema" in config or "responseJsonSchema" in config):
        raise field_error(
            "generation_config.response_schema", "only supported with the response mime type 'application/json'"
        )
    if "responseSchema" in config and "responseJsonSchema" in config:
        raise invalid_argument("Only one of response_schema and response_json_schema can be set.")
    thinking = _message(config.get("thinkingConfig", {}), "generation_config.thinking_config", _THINKING_FIELDS)
    if {"thinkingBudget", "thinkingLevel"} <= thinking.keys():
        raise invalid_argument("You can only set only one of thinking budget and thinking level.")
    temperature = config.get("temperature", 1)
    if not isinstance(temperature, int | float) or not 0 <= temperature <= 2:
        raise field_error("generation_config.temperature", "temperature must be in the range [0.0, 2.0].")
    if len(config.get("stopSequences", [])) > _MAX_STOP_SEQUENCES:
        raise field_error(
            "generation_config.stop_sequences", f"at most {_MAX_STOP_SEQUENCES} stop sequences are allowed."
        )


def _max_tokens(config: Json) -> int | None:
    value = config.get("maxOutputTokens")
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid_argument(f"Invalid value at 'generation_config.max_output_tokens' (TYPE_INT32), {value!r}")
    if value < 1:
        raise field_error("generation_config.max_output_tokens", "max_output_tokens must be positive.")
    return value


def _message(value: Any, where: str, known: str | None, *, keeps_names: bool = False) -> Json:
    """Return an object under the names of JSON, which Google also takes in snake case; rejects unknown names."""
    if not isinstance(value, dict):
        raise invalid_argument(f"Invalid value at '{where}': expected an object")
    fields = {name if keeps_names else _camel(name): each for name, each in cast(Json, value).items()}
    for name in fields:
        if known is not None and name not in known.split():
            raise unknown_field(name, where)
    return fields


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)


def _objects(value: Any, where: str) -> list[Json]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in cast("list[Any]", value)):
        raise invalid_argument(f"Invalid value at '{where}': expected a list of objects")
    return cast("list[Json]", value)
