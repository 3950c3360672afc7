"""Tests of the parser of `POST /v1/messages`: which requests are rejected, and with which words."""

import json
from typing import Any

import pytest

from deploy.emulator.anthropic.request import parse_request
from deploy.emulator.faults import ServiceError
from deploy.emulator.request import EmulatedRequest, ForcedTool, Turn

USER = {"role": "user", "content": "Hi"}
TOOL = {"name": "look_up", "input_schema": {"type": "object"}}
CACHED = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}
OPEN = {"type": "object", "properties": {}}
CLOSED = OPEN | {"additionalProperties": False}
THINKING = {"type": "enabled", "budget_tokens": 2000}


def parse(**fields: Any) -> EmulatedRequest:
    return parse_request(json.dumps({"model": "m", "max_tokens": 9, "messages": [USER]} | fields).encode())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
        ({"max_tokens": None}, "max_tokens: Input should be a valid integer"),
        ({"model": ""}, "model: Input should be a valid string"),
        ({"stream": 1}, "stream: Input should be a valid boolean"),
        ({"colour": 1}, "colour: Extra inputs are not permitted"),
        ({"messages": []}, "messages: at least one message is required"),
        ({"messages": 5}, "messages: Input should be a valid list"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages.0.role: Input should be"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages.0: all messages must have non-empty content"),
        ({"messages": [{"role": "user", "content": " \n"}]}, "text content blocks must contain non-whitespace text"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 'first message must use the "user" role'),
        ({"messages": [USER, {"role": "assistant", "content": "x "}]}, "cannot end with trailing whitespace"),
        ({"messages": [USER, {"role": "assistant", "content": "x"}], "model": "no-prefill"}, "prefill"),
        ({"system": [{"type": "text", "text": " "}]}, "text content blocks must contain non-whitespace text"),
        ({"stop_sequences": ["\n"]}, "each stop sequence must contain non-whitespace"),
        ({"model": "claude-sonnet-4-5", "temperature": 1, "top_p": 0.5}, "cannot both be specified"),
        ({"tool_choice": {"type": "any"}}, "may only be specified while providing tools"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "x"}}, "Tool 'x' not found in provided tools"),
        ({"tools": [TOOL], "tool_choice": "any"}, "tool_choice: Input should be an object"),
        ({"tools": [TOOL], "tool_choice": {"type": "any"}, "thinking": THINKING}, "Thinking may not be enabled"),
        ({"model": "no-temperature", "temperature": 0.5}, "`temperature` is deprecated"),
        ({"temperature": 1.5}, "temperature: Input should be a valid number from 0 to 1"),
        ({"top_p": "1"}, "top_p: Input should be a valid number from 0 to 1"),
        ({"system": [CACHED] * 2, "messages": [{"role": "user", "content": [CACHED] * 3}]}, "maximum of 4 blocks"),
        ({"tools": [{"name": "x"}]}, "tools.0.custom.input_schema: Field required"),
        ({"tools": [TOOL, TOOL | {"input_schema": {}}]}, "tools.1.custom.input_schema.type: Input should be 'object'"),
        ({"thinking": THINKING | {"budget_tokens": 9}}, "greater than or equal to 1024"),
        ({"thinking": THINKING}, "must be greater than `thinking.budget_tokens`"),
        ({"thinking": THINKING, "max_tokens": 4000, "temperature": 0.5}, "may only be set to 1 when thinking"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema: Field required"),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": CLOSED | {"properties": {"a": OPEN}}}}},
            "'additionalProperties' must be explicitly set to false",
        ),
        ({"model": "m:1k", "messages": [{"role": "user", "content": "a " * 1100}]}, "prompt is too long: 110"),
        ({"model": "m:1k", "max_tokens": 2000}, "exceed context limit: "),
    ],
)
def test_a_bad_request_is_rejected_in_anthropics_words(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ServiceError) as caught:
        parse(**fields)
    assert message in caught.value.message
    assert (caught.value.status, caught.value.code) == (400, "invalid_request_error")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b"{}", b"[" * 100_000])
def test_a_body_that_is_no_request_is_rejected(body: bytes) -> None:
    with pytest.raises(ServiceError):
        parse_request(body)


def test_a_lone_surrogate_makes_a_body_invalid() -> None:
    with pytest.raises(ServiceError, match="JSON"):
        parse(messages=[{"role": "user", "content": "\ud800"}])


def test_a_request_is_parsed_in_full() -> None:
    answer = {"role": "assistant", "content": [{"type": "text", "text": "So"}, {"type": "tool_use", "id": "1"}]}
    choice = {"type": "tool", "name": "look_up"}
    request = parse(messages=[USER, USER, answer], system="Be brief.", stream=True, tools=[TOOL], tool_choice=choice)
    assert request.turns == (Turn("user", ("Hi",)), Turn("user", ("Hi",)), Turn("assistant", ("So",)))
    assert (request.question, request.prefill, request.max_tokens) == ("Hi", "So", 9)
    assert (request.is_streamed, request.system, request.operation) == (True, "Be brief.", "Messages")
    assert request.forced_tool == ForcedTool("look_up", {"type": "object"})
    assert request.inference == {"max_tokens": 9, "stream": True, "tools": [TOOL], "tool_choice": choice}


def test_any_tool_is_the_first_one_and_a_free_choice_forces_none() -> None:
    tools = [TOOL, TOOL | {"name": "other"}]
    assert parse(tools=tools, tool_choice={"type": "any"}).forced_tool == ForcedTool("look_up", {"type": "object"})
    for kind in ("auto", "none"):
        assert parse(tools=tools, tool_choice={"type": kind}).forced_tool is None


def test_the_schema_of_structured_output_is_found() -> None:
    schema = CLOSED | {"properties": {"a": {"type": "string"}}}
    assert parse(output_config={"format": {"type": "json_schema", "schema": schema}}).schema == schema
    assert parse(output_config={"effort": "low"}).schema is None
