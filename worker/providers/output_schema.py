"""JSON schemas as Anthropic's output format takes them: a part of JSON Schema, with closed objects. Pure.

https://docs.claude.com/en/docs/build-with-claude/structured-outputs#json-schema-limitations
"""

from typing import Any, cast

Schema = dict[str, Any]

_MAX_DEPTH = 50
_LEFT_OUT = (  # the answer is validated in any case
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"),
    *("minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "pattern", "default", "examples"),
    *("$schema", "$id", "$comment", "format"),
)
_NAMED = ("properties", "$defs", "definitions")
_LISTED = ("anyOf", "oneOf")
_KEPT = ("type", "title", "description", "required", "enum", "const", "$ref")
_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")


class _Unsupported(Exception):
    """The schema says something that the output format cannot."""


def to_output_schema(schema: Schema) -> Schema | None:
    """Return a schema whose answers fit the given one, apart from limits of numbers and lengths.

    Returns None if there is none: for an open or recursive object, or an unknown keyword.
    """
    if schema.get("type") != "object" and "$ref" not in schema and "anyOf" not in schema:
        return None
    try:
        _reject_recursion(schema)
        return _convert(schema, _MAX_DEPTH)
    except _Unsupported:
        return None


def _convert(schema: Any, depth: int) -> Schema:
    if not isinstance(schema, dict) or not depth:
        raise _Unsupported
    members = cast("Schema", schema)
    converted: Schema = {}
    for name, value in members.items():
        if name in _NAMED and isinstance(value, dict):
            converted[name] = {key: _convert(each, depth - 1) for key, each in cast("Schema", value).items()}
        elif name in _LISTED and isinstance(value, list):
            converted["anyOf"] = [_convert(each, depth - 1) for each in cast("list[Any]", value)]
        elif name == "items":
            converted[name] = _convert(value, depth - 1)
        elif name in _KEPT or (name == "format" and value in _FORMATS):
            converted[name] = value
        elif name not in _LEFT_OUT and (name, value) != ("additionalProperties", False):
            raise _Unsupported
    if members.get("type") == "object" or "properties" in members:
        if "properties" not in members:  # an object of any form
            raise _Unsupported
        converted["additionalProperties"] = False
    return converted


def _reject_recursion(schema: Schema) -> None:
    """Raise _Unsupported for a definition that refers to itself, or for a reference to anything but a definition."""
    definitions = {
        f"#/{place}/{name}": each
        for place in ("$defs", "definitions")
        for name, each in (cast("Schema", schema[place]) if isinstance(schema.get(place), dict) else {}).items()
    }
    outside = {name: each for name, each in schema.items() if name not in ("$defs", "definitions")}
    level, rounds = _references(outside), 0
    while level:
        rounds += 1
        if rounds > len(definitions) or not level <= definitions.keys():
            raise _Unsupported
        level = {found for name in level for found in _references(definitions[name])}


def _references(schema: Any) -> set[str]:
    found: set[str] = set()
    waiting: list[Any] = [schema]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            members = cast("Schema", each)
            if isinstance(members.get("$ref"), str):
                found.add(members["$ref"])
            waiting += members.values()
        elif isinstance(each, list):
            waiting += cast("list[Any]", each)
    return found
