"""Tests of the generated input of a forced tool: from its schema, and through boto3."""

import json
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError

from deploy.emulator.request import Turn
from deploy.emulator.tool_input import generate_input
from tests.emulator.harness import MODEL, emulate, user_message
from tests.emulator_process import EmulatorProcess

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

STRINGS = {"type": "array", "items": {"type": "string"}}
MESSAGE = "My name is Ada. What is a mill? I live in Leeds."


def property_for(schema: dict[str, Any], *texts: str) -> Any:
    roles = ("user", "assistant")
    turns = [Turn(roles[at % 2], (text,)) for at, text in enumerate(texts)]
    return generate_input({"type": "object", "properties": {"it": schema}, "required": ["it"]}, turns)["it"]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, "My name is Ada What is a mill"),
        ({"type": "string", "maxLength": 7}, "My name"),
        (STRINGS, ["My name is Ada.", "I live in Leeds."]),
        (STRINGS | {"maxItems": 1}, ["My name is Ada."]),
        ({"type": "array", "items": {"type": "object", "properties": {}}}, [{}, {}]),
        ({"enum": ["York", "Leeds"]}, "Leeds"),
        ({"enum": ["a-b", "c-d"]}, "a-b"),
        ({"const": 5}, 5),
        ({"type": "integer", "minimum": 2, "maximum": 9}, 2),
        ({"type": "boolean"}, False),
        ({"type": ["null", "string"]}, None),
    ],
)
def test_input_fits_the_schema_and_comes_from_the_message(schema: dict[str, Any], expected: Any) -> None:
    assert property_for(schema, MESSAGE) == expected


def test_list_that_must_not_be_empty_holds_follow_up_questions() -> None:
    assert property_for(STRINGS | {"minItems": 2}, "A mill?") == ["More about A mill?", "Why is that so: A mill?"]


def test_number_comes_from_the_message_within_its_bounds() -> None:
    assert property_for({"type": "integer"}, "for 4 people") == 4
    assert property_for({"type": "number", "maximum": 3}, "for 4 people") == 3


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("Leeds next week", {"town": "Leeds", "day": "next week"}),
        ("make it Friday", {"day": "Friday"}),
        ("for four", {"people": 4}),
        ("and cheap", {}),
    ],
)
def test_optional_property_without_a_value_in_the_message_is_omitted(text: str, slots: dict[str, Any]) -> None:
    properties = {
        "town": {"enum": ["York", "Leeds"]},
        "day": {"type": "string", "pattern": "next week|[A-Z][a-z]+day"},
        "people": {"type": "integer"},
    }
    turns = [Turn("user", (text,))]
    assert generate_input({"type": "object", "properties": properties}, turns) == slots


def test_input_comes_from_the_message_before_the_last_answer() -> None:
    assert property_for({"type": "string"}, "Old?", "Yes.", "A mill?", "It grinds.", "Name it.") == "A mill"
    assert property_for({"type": "string"}, emulate(text="x"), "x", "Name it.") == "a scripted answer"


def call_with_forced_tool(bedrock: "BedrockRuntimeClient", text: str, name: str = "note") -> Any:
    schema = {"type": "object", "properties": {"it": {"type": "string"}}}
    tool = {"toolSpec": {"name": "note", "description": "Notes.", "inputSchema": {"json": schema}}}
    config = {"tools": [tool], "toolChoice": {"tool": {"name": name}}}
    return bedrock.converse(modelId=MODEL, messages=cast(Any, user_message(text)), toolConfig=cast(Any, config))


def test_forced_tool_is_called_and_listed(bedrock: "BedrockRuntimeClient", emulator: EmulatorProcess) -> None:
    answer = call_with_forced_tool(bedrock, "A mill?")
    (block,) = answer["output"]["message"]["content"]
    assert (block["toolUse"]["name"], block["toolUse"]["input"]) == ("note", {"it": "A mill"})
    assert answer["stopReason"] == "tool_use"
    assert [call["tool"] for call in emulator.calls()] == ["note"]


def test_only_the_forced_key_scripts_a_forced_tool(bedrock: "BedrockRuntimeClient") -> None:
    answer = call_with_forced_tool(
        bedrock, emulate(fault="validation", forced={"note": {"tool": {"input": {"it": "x"}}}})
    )
    assert answer["output"]["message"]["content"][0]["toolUse"]["input"] == {"it": "x"}
    assert call_with_forced_tool(bedrock, emulate(fault="validation"))["stopReason"] == "tool_use"


def test_fault_of_a_forced_tool_applies_to_its_first_calls(bedrock: "BedrockRuntimeClient") -> None:
    text = emulate(forced={"note": {"fault": "throttle", "times": 1}})
    with pytest.raises(ClientError, match="ThrottlingException"):
        call_with_forced_tool(bedrock, text)
    assert call_with_forced_tool(bedrock, text)["stopReason"] == "tool_use"


def test_undefined_tool_cannot_be_forced(bedrock: "BedrockRuntimeClient") -> None:
    with pytest.raises(ClientError, match="toolConfig"):
        call_with_forced_tool(bedrock, "A mill?", "other")


def test_an_instruction_that_ends_with_a_schema_is_answered_with_json(bedrock: "BedrockRuntimeClient") -> None:
    schema = {"type": "object", "properties": {"town": {"enum": ["York", "Leeds"]}}, "required": ["town"]}
    content = [{"text": "I live in Leeds."}, {"text": f"Reply with JSON.\n{json.dumps(schema)}"}]
    answer = bedrock.converse(modelId=MODEL, messages=cast(Any, [{"role": "user", "content": content}]))
    assert json.loads(cast(Any, answer["output"])["message"]["content"][0]["text"]) == {"town": "Leeds"}
