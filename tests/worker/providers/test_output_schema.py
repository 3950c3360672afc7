"""Schemas for the output format: closed objects, no limits, and nothing that it cannot say."""

from typing import Any

import pytest

from millrace.worker.providers.output_schema import to_output_schema

TEXT = {"type": "string"}
NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}


def test_objects_are_closed_and_limits_are_left_out_at_every_depth() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "title": "Mill",
        "properties": {
            "names": {"type": "array", "items": {**TEXT, "minLength": 1, "format": "date"}, "maxItems": 3},
            "size": {"oneOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]},
            "minimum": {"enum": [1, "a", None]},
            "weir": {"$ref": "#/$defs/weir"},
        },
        "required": ["names"],
        "$defs": {"weir": {"type": "object", "properties": {"high": {**TEXT, "format": "odd"}}}},
    }
    assert to_output_schema(schema) == {
        "type": "object",
        "title": "Mill",
        "properties": {
            "names": {"type": "array", "items": {**TEXT, "format": "date"}},
            "size": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "minimum": {"enum": [1, "a", None]},
            "weir": {"$ref": "#/$defs/weir"},
        },
        "required": ["names"],
        "$defs": {"weir": {"type": "object", "properties": {"high": TEXT}, "additionalProperties": False}},
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    "schema",
    [
        TEXT,
        {},
        {"type": "object"},
        {"type": "object", "properties": {}, "additionalProperties": True},
        {"type": "object", "properties": {}, "additionalProperties": TEXT},
        {"type": "object", "properties": {"a": True}},
        {"type": "object", "properties": {"a": {"not": TEXT}}},
        {"type": "object", "properties": []},
        {"type": "object", "properties": {"a": {"anyOf": {}}}},
        {**NODE, "$defs": {"node": NODE}},
        {"$ref": "#/$defs/node", "$defs": {"node": NODE}},
        {"type": "object", "properties": {"a": {"$ref": "https://example.org/a"}}},
    ],
)
def test_a_schema_that_the_output_format_cannot_say_has_none(schema: dict[str, Any]) -> None:
    assert to_output_schema(schema) is None


def test_a_schema_that_is_nested_without_end_has_none() -> None:
    schema: dict[str, Any] = TEXT
    for _ in range(2000):
        schema = {"type": "object", "properties": {"a": schema}}
    assert to_output_schema(schema) is None
