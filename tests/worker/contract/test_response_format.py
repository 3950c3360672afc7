"""Schemas that can be checked safely are accepted, all others refused with a reason; answers are held to them."""

import json
import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from millrace.worker.contract import response_format
from millrace.worker.contract.response_format import MAX_NODES, SchemaRefused, check_schema, fits

MILL = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "pattern": {"type": "string"}, "wheels": {"$ref": "#/$defs/Wheels"}},
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"Wheels": {"type": "array", "items": {"type": "integer", "minimum": 1}}},
}


@pytest.mark.parametrize(
    "schema", [MILL, {}, {"type": "array", "items": {"enum": ["a", 1, None]}}, {"const": {"a": 1}}]
)
def test_a_schema_that_can_be_checked_is_accepted(schema: dict[str, Any]) -> None:
    check_schema(schema)


def doubling(levels: int) -> dict[str, Any]:
    """Return a small schema whose references double with each level."""
    definitions: dict[str, Any] = {"d0": {"type": "string"}}
    for level in range(levels):
        twice = [{"$ref": f"#/$defs/d{level}"}] * 2
        definitions[f"d{level + 1}"] = {"allOf": twice}
    return {"$ref": f"#/$defs/d{levels}", "$defs": definitions}


def nested(levels: int) -> dict[str, Any]:
    """Return arrays within arrays."""
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "objekt"}, "not a JSON schema"),
        ({"properties": []}, "not a JSON schema"),
        ({"type": "string", "pattern": "(a+)+$"}, "pattern is not supported"),
        ({"patternProperties": {"(a+)+$": {}}}, "patternProperties is not supported"),
        ({"properties": {"a": {"items": {"pattern": "a"}}}}, "pattern is not supported"),
        ({"$ref": "http://127.0.0.1:1/schema"}, "definition of its own"),
        ({"$ref": "#/$defs/absent"}, "definition of its own"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}, "recursive"),
        ({"$id": "http://127.0.0.1:1/"}, "is not supported"),
        ({"items": {"$schema": "http://json-schema.org/draft-07/schema#"}}, r"\$schema is not supported within"),
        (doubling(30), "too large"),
        (nested(60), "too large"),
        ({"enum": list(range(MAX_NODES))}, "too large"),
    ],
)
def test_a_schema_that_is_wrong_or_unsafe_is_refused_with_a_reason(schema: dict[str, Any], reason: str) -> None:
    started = time.process_time()
    with pytest.raises(SchemaRefused, match=reason):
        check_schema(schema)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"name": "Tidal", "wheels": [1, 2]}', True),
        (' {"name": "Tidal"}\n', True),
        ('{"name": 5}', False),
        ('{"name": "a", "wheels": [0]}', False),
        ('{"name": "a", "more": 1}', False),
        ('```json\n{"name": "a"}\n```', False),
        ('{"name": "a"', False),
        ("", False),
        ("[" * 100_000, False),
    ],
)
def test_an_answer_fits_or_does_not(text: str, expected: bool) -> None:
    assert fits(text, MILL) is expected


def test_numbers_that_json_does_not_have_do_not_fit() -> None:
    assert not fits("NaN", {"type": "number"})
    assert fits(json.dumps(1e300), {"type": "number"})


def guarded(levels: int) -> dict[str, Any]:
    """Return a schema whose check takes four times as long with each level."""
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(levels):
        schema = {"allOf": [schema], "unevaluatedProperties": False}
    return schema


@pytest.fixture
def turns() -> Iterator[list[bool]]:
    """The turns of another greenlet so far."""
    taken: list[bool] = []

    def take() -> None:
        while True:
            taken.append(True)
            gevent.sleep(0)

    greenlet = gevent.spawn(take)
    yield taken
    greenlet.kill()


def test_a_check_that_takes_too_long_is_ended_and_lets_other_greenlets_run(
    monkeypatch: pytest.MonkeyPatch, turns: list[bool]
) -> None:
    monkeypatch.setattr(response_format, "CHECK_SECONDS", 0.2)
    each_item = {"items": {"allOf": [{"type": "integer"}] * 900}}
    for text, schema in (("{}", guarded(20)), (json.dumps([1] * 100_000), each_item)):
        check_schema(schema)
        turns.clear()
        assert not fits(text, schema)
        assert len(turns) >= 10


def test_a_large_schema_lets_other_greenlets_run_while_it_is_checked(turns: list[bool]) -> None:
    check_schema({"properties": {f"p{number}": {"type": "integer"} for number in range(500)}})
    assert len(turns) >= 2


def test_a_list_of_different_objects_is_unique_whatever_its_length() -> None:
    schema = {"type": "array", "uniqueItems": True}
    many = [{"number": number} for number in range(20_000)]
    assert fits(json.dumps(many), schema)
    assert not fits(json.dumps([*many, many[0]]), schema)
    assert not fits('[{"a": 1, "b": [2]}, {"b": [2.0], "a": 1e0}]', schema)
    assert fits('[1, true, "1", null, [1], 1.5, {}]', schema)
