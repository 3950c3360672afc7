"""The form that a request asks of its answer: JSON that fits a schema.

The web tier checks the schema, the worker the answer.

Schemas come from users, so checking an answer must neither fetch anything nor take long: a schema has no regular
expressions, refers only to its own definitions, is not recursive, and is small also when its references are expanded.
"""

import json
from typing import Any, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry

Schema = dict[str, Any]

MAX_NODES = 2000  # values in the schema, each reference counted as often as it is used
MAX_DEPTH = 50
_REFUSED = {"pattern", "patternProperties", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$anchor", "$id"}


class SchemaRefused(ValueError):
    """The schema is not a JSON schema, or is one that cannot be checked safely; the text says why."""


def check_schema(schema: Schema) -> None:
    """Raise SchemaRefused for a schema that is not valid or not supported."""
    _Inspection(schema).inspect(schema, 0, ())
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise SchemaRefused(f"it is not a JSON schema: {error.message[:200]}") from error


class _Inspection:
    """Walks through a schema with its references expanded, and counts its values."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._nodes = 0

    def inspect(self, value: Any, depth: int, used: tuple[str, ...]) -> None:
        """Inspect a value within the schema, which the references `used` have led to; raises SchemaRefused."""
        self._nodes += 1
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            raise SchemaRefused(f"it is too large: at most {MAX_NODES} values, {MAX_DEPTH} within each other")
        children: list[Any] = [*cast("list[Any]", value)] if isinstance(value, list) else []
        if isinstance(value, dict):
            members = cast("Schema", value)
            for name in _REFUSED & members.keys():
                if name == "patternProperties" or not isinstance(members[name], dict | bool):  # else a property's name
                    raise SchemaRefused(f"{name} is not supported")
            children = [*members.values()]
            reference = members.get("$ref")
            if isinstance(reference, str):
                if reference in used:
                    raise SchemaRefused("it is recursive, which is not supported")
                self.inspect(_definition(self._schema, reference), depth + 1, (*used, reference))
        for each in children:
            self.inspect(each, depth + 1, used)


def _definition(schema: Schema, reference: str) -> Any:
    """Return the definition that a reference within the schema names."""
    place, _, name = reference.rpartition("/")
    definitions = schema.get(place.removeprefix("#/")) if place in ("#/$defs", "#/definitions") else None
    if not isinstance(definitions, dict) or name not in definitions:
        raise SchemaRefused(f"$ref refers to a definition of its own, such as #/$defs/NAME, not to {reference[:100]}")
    return cast("Schema", definitions)[name]


def fits(text: str, schema: Schema) -> bool:
    """Return whether the text is JSON that fits the schema, which `check_schema` has accepted."""
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    validator = Draft202012Validator(schema, registry=Registry())
    try:
        return bool(validator.is_valid(value))
    except RecursionError:
        return False


def _refuse(name: str) -> Any:
    raise ValueError(name)
