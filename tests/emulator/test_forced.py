"""What a forced tool is given: pure, and through boto3."""

from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError

from deploy.emulator.forced import input_for
from tests.emulator.asking import MODEL, said_by_user, scripted
from tests.emulator_process import EmulatorProcess

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

STRINGS = {"type": "array", "items": {"type": "string"}}
TOLD = "My name is Ada. What is a mill? I live in Leeds."


def made(schema: dict[str, Any], *texts: str) -> Any:
    roles = ("user", "assistant")
    messages = [{"role": roles[at % 2], "content": [{"text": text}]} for at, text in enumerate(texts)]
    return input_for({"type": "object", "properties": {"it": schema}, "required": ["it"]}, messages)["it"]


@pytest.mark.parametrize(
    ("schema", "given"),
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
def test_the_input_is_made_by_the_schema_of_the_users_words(schema: dict[str, Any], given: Any) -> None:
    assert made(schema, TOLD) == given


def test_a_list_that_must_not_be_empty_is_of_what_to_ask_next() -> None:
    assert made(STRINGS | {"minItems": 2}, "A mill?") == ["More about A mill?", "Why is that so: A mill?"]


def test_a_number_is_the_users_own_within_its_bounds() -> None:
    assert made({"type": "integer"}, "for 4 people") == 4
    assert made({"type": "number", "maximum": 3}, "for 4 people") == 3


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("Leeds next week", {"town": "Leeds", "day": "next week"}),
        ("make it Friday", {"day": "Friday"}),
        ("for four", {"people": 4}),
        ("and cheap", {}),
    ],
)
def test_what_the_words_say_nothing_of_is_left_out_where_it_may_be(text: str, slots: dict[str, Any]) -> None:
    properties = {
        "town": {"enum": ["York", "Leeds"]},
        "day": {"type": "string", "pattern": "next week|[A-Z][a-z]+day"},
        "people": {"type": "integer"},
    }
    messages = [{"role": "user", "content": [{"text": text}]}]
    assert input_for({"type": "object", "properties": properties}, messages) == slots


def test_a_turn_that_is_looked_back_at_counts_and_not_what_is_asked_about_it() -> None:
    assert made({"type": "string"}, "Old?", "Yes.", "A mill?", "It grinds.", "Name it.") == "A mill"
    assert made({"type": "string"}, scripted(text="x"), "x", "Name it.") == "a scripted answer"


def force(bedrock: "BedrockRuntimeClient", text: str, name: str = "note") -> Any:
    schema = {"type": "object", "properties": {"it": {"type": "string"}}}
    tool = {"toolSpec": {"name": "note", "description": "Notes.", "inputSchema": {"json": schema}}}
    config = {"tools": [tool], "toolChoice": {"tool": {"name": name}}}
    return bedrock.converse(modelId=MODEL, messages=cast(Any, said_by_user(text)), toolConfig=cast(Any, config))


def test_a_forced_tool_is_used_and_listed(bedrock: "BedrockRuntimeClient", emulator: EmulatorProcess) -> None:
    answer = force(bedrock, "A mill?")
    (block,) = answer["output"]["message"]["content"]
    assert (block["toolUse"]["name"], block["toolUse"]["input"]) == ("note", {"it": "A mill"})
    assert answer["stopReason"] == "tool_use"
    assert [call["tool"] for call in emulator.calls()] == ["note"]


def test_only_what_is_scripted_for_the_tool_counts(bedrock: "BedrockRuntimeClient") -> None:
    answer = force(bedrock, scripted(fault="validation", forced={"note": {"tool": {"input": {"it": "x"}}}}))
    assert answer["output"]["message"]["content"][0]["toolUse"]["input"] == {"it": "x"}
    assert force(bedrock, scripted(fault="validation"))["stopReason"] == "tool_use"


def test_a_fault_of_a_forced_tool_strikes_as_often_as_it_says(bedrock: "BedrockRuntimeClient") -> None:
    text = scripted(forced={"note": {"fault": "throttle", "times": 1}})
    with pytest.raises(ClientError, match="ThrottlingException"):
        force(bedrock, text)
    assert force(bedrock, text)["stopReason"] == "tool_use"


def test_a_tool_that_is_not_there_can_not_be_forced(bedrock: "BedrockRuntimeClient") -> None:
    with pytest.raises(ClientError, match="toolConfig"):
        force(bedrock, "A mill?", "other")
