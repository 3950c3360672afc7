"""Tests of the Messages API's routes: keys, versions, paths, tools and structured output."""

import json
from typing import Any, cast

import pytest
from anthropic import Anthropic

from tests.emulator.sdk import raw_request, scripted
from tests.emulator_process import EmulatorProcess

HEADERS = {"x-api-key": "a-key", "anthropic-version": "2023-06-01"}
BODY = {"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": "How high is the weir?"}]}
TOOL = {"name": "rate", "input_schema": {"type": "object", "properties": {"stars": {"type": "integer", "minimum": 1}}}}


@pytest.mark.parametrize(
    ("headers", "request_line", "status", "kind"),
    [
        ({"anthropic-version": "2023-06-01"}, "POST /v1/messages", 401, "authentication_error"),
        ({"x-api-key": "k"}, "POST /v1/messages", 400, "invalid_request_error"),
        (HEADERS, "POST /v1/messages/batches", 404, "not_found_error"),
        (HEADERS, "GET /v1/messages", 405, "invalid_request_error"),
    ],
)
def test_a_request_that_cannot_be_served_is_rejected_in_anthropics_shape(
    emulator: EmulatorProcess, headers: dict[str, str], request_line: str, status: int, kind: str
) -> None:
    method, path = request_line.split()
    found, _, body = raw_request(emulator.url + path, BODY, headers, method)
    error = json.loads(body)
    assert (found, error["type"], error["error"]["type"]) == (status, "error", kind)


def test_a_bearer_token_is_a_key_as_well(emulator: EmulatorProcess) -> None:
    headers = {"authorization": "Bearer t", "anthropic-version": "2023-06-01"}
    assert raw_request(f"{emulator.url}/v1/messages", BODY, headers)[0] == 200


def test_an_answer_without_a_directive_says_that_no_model_was_called(claude: Anthropic) -> None:
    message = claude.messages.create(**cast(Any, BODY | {"max_tokens": 9999}))
    assert "No model was called" in cast(Any, message.content[0]).text


def test_a_forced_tool_is_called_with_input_of_its_schema(claude: Anthropic, emulator: EmulatorProcess) -> None:
    choice = {"type": "tool", "name": "rate"}
    message = claude.messages.create(**cast(Any, BODY | {"tools": [TOOL], "tool_choice": choice}))
    (block,) = cast(Any, message.content)
    assert (block.type, block.name, message.stop_reason) == ("tool_use", "rate", "tool_use")
    assert block.input == {} or block.input["stars"] >= 1
    assert emulator.calls()[0]["tool"] == "rate"


def test_structured_output_is_json_of_its_schema(claude: Anthropic) -> None:
    fields = {"properties": {"topic": {"type": "string"}}, "required": ["topic"]}
    schema = {"type": "object", "additionalProperties": False} | fields
    config = {"format": {"type": "json_schema", "schema": schema}}
    message = claude.messages.create(**cast(Any, BODY | {"output_config": config}))
    assert json.loads(cast(Any, message.content[0]).text) == {"topic": "How high is the weir"}


def test_a_call_is_recorded_under_its_request_id(claude: Anthropic, emulator: EmulatorProcess) -> None:
    system = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    response = claude.messages.with_raw_response.create(
        model="m", max_tokens=99, system=cast(Any, system), messages=cast(Any, scripted(tokens=3))
    )
    (call,) = emulator.calls()
    assert call["id"] == response.headers["request-id"]
    assert (call["operation"], call["system"], call["deltas_sent"]) == ("Messages", system, 3)


@pytest.mark.parametrize("key", ["reasoning_field", "stream"])
def test_a_key_that_this_wire_does_not_have_is_rejected_by_name(emulator: EmulatorProcess, key: str) -> None:
    body = BODY | {"messages": scripted(**{key: "sse"})}
    status, _, data = raw_request(f"{emulator.url}/v1/messages", body, HEADERS)
    assert (status, key in json.loads(data)["error"]["message"]) == (400, True)
