"""Tests of request validation and of what a request asks for, with OpenAI's errors and messages."""

import json
from typing import Any

import openai
import pytest

from deploy.emulator.faults import ServiceError
from deploy.emulator.openai.request import parse_chat, parse_responses
from tests.emulator.harness import emulate

USER = {"role": "user", "content": "I live in Leeds."}
SCHEMA = {
    "type": "object",
    "properties": {"town": {"enum": ["York", "Leeds"]}},
    "required": ["town"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "note", "parameters": SCHEMA}}


def json_format(**fields: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": fields}}


INVALID: list[tuple[dict[str, Any], str | None, str]] = [
    ({"messages": None}, "messages", "expected an array of objects, but got null"),
    ({"messages": []}, "messages", "empty array"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role", "'robot'"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "string or array"),
    ({"messages": [{"role": "user", "content": [{"type": "smell"}]}]}, "messages[0].content[0]", "smell"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text", "a string"),
    ({"model": ""}, None, "model parameter"),
    ({"stream": "yes"}, "stream", "a boolean"),
    ({"n": 2}, "n", "one choice"),
    ({"max_tokens": "5"}, "max_tokens", "an integer, but got a string"),
    ({"max_completion_tokens": 0}, "max_completion_tokens", ">= 1"),
    ({"model": "gpt-5-mini", "max_tokens": 9}, "max_tokens", "max_completion_tokens"),
    ({"model": "openai/o3", "temperature": 0.2}, "temperature", "default (1)"),
    ({"model": "a-model:1k", "messages": [{"role": "user", "content": "mill " * 1100}]}, "messages", "maximum context"),
    ({"tools": [{"type": "function"}]}, "tools[0].function", "Missing"),
    ({"tool_choice": "required"}, "tool_choice", "tools"),
    ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "b"}}}, "tool_choice", "'b'"),
    ({"response_format": {"type": "json_object"}}, "messages", "the word 'json'"),
    (json_format(schema=SCHEMA), "response_format.name", "Missing"),
    (json_format(name="x"), "response_format.schema", "Missing"),
    (json_format(name="x", strict=True, schema={"type": "object"}), "response_format", "additionalProperties"),
    (json_format(name="x", strict=True, schema=SCHEMA | {"required": []}), "response_format", "'town'"),
    ({"messages": [{"role": "user", "content": "\ud800"}]}, None, "parse the JSON"),
    ({"messages": [{"role": "user", "content": emulate(tokenz=1)}]}, None, "tokenz"),
]


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "a-model", "messages": [USER]} | fields).encode("ascii")


@pytest.mark.parametrize(("changed", "param", "expected"), INVALID)
def test_an_invalid_request_is_an_error_that_names_the_parameter(
    sdk: openai.OpenAI, changed: dict[str, Any], param: str | None, expected: str
) -> None:
    given = {"model": "a-model", "messages": [USER]} | changed
    if changed.get("messages") == [{"role": "user", "content": "\ud800"}]:  # the SDK cannot send it either
        with pytest.raises(ServiceError, match=expected):
            parse_chat(json.dumps(given).encode("ascii"))
        return
    with pytest.raises(openai.BadRequestError, match=expected.replace("(", r"\(").replace(")", r"\)")) as caught:
        sdk.post("/chat/completions", body=given, cast_to=object)
    assert caught.value.param == param


@pytest.mark.parametrize("given", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_a_body_that_is_not_a_json_object_is_rejected(given: bytes) -> None:
    for parse in (parse_chat, parse_responses):
        with pytest.raises(ServiceError, match="could not parse the JSON body") as caught:
            parse(given)
        assert caught.value.status == 400


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"input": "Why?"}, "Why?"),
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "Why?"}]}]}, "Why?"),
        (
            {
                "input": [
                    {"role": "user", "content": "Why?"},
                    {"type": "reasoning", "summary": []},
                    {"type": "function_call", "call_id": "a", "name": "b", "arguments": "{}"},
                    {"type": "function_call_output", "call_id": "a", "output": "7"},
                ]
            },
            "",
        ),
    ],
)
def test_the_question_of_a_response_is_the_users_last_text(fields: dict[str, Any], expected: str) -> None:
    request = parse_responses(json.dumps({"model": "a-model", "instructions": "Be kind."} | fields).encode())
    assert (request.question, request.system) == (expected, "Be kind.")


def test_the_result_of_a_tool_ends_the_turn_of_a_chat_that_a_directive_began() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "note", "arguments": "{}"}}
    asked = {"role": "user", "content": emulate(tool=True)}
    called = {"role": "assistant", "content": None, "tool_calls": [call]}
    messages = [asked, called, {"role": "tool", "tool_call_id": "a", "content": "7"}]
    assert parse_chat(body(messages=messages)).question == ""


def test_a_final_assistant_message_is_continued_only_by_a_model_that_can() -> None:
    messages = [USER, {"role": "assistant", "content": "So"}]
    assert parse_chat(body(messages=messages)).prefill == ""
    assert parse_chat(body(messages=messages, model="a-prefill-model")).prefill == "So"


@pytest.mark.parametrize("stream", [True, False])
def test_a_forced_tool_is_called_with_an_input_of_its_schema(sdk: openai.OpenAI, stream: bool) -> None:
    chat = {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "note"}}}
    completion = sdk.chat.completions.create(model="m", messages=[USER], **chat)  # type: ignore[call-overload]
    (call,) = completion.choices[0].message.tool_calls or []
    assert (call.function.name, json.loads(call.function.arguments)) == ("note", {"town": "Leeds"})
    assert completion.choices[0].finish_reason == "stop"
    flat = {"tools": [{"type": "function", "name": "note", "parameters": SCHEMA}], "tool_choice": "required"}
    found: Any = sdk.responses.create(model="m", input="I live in York.", stream=stream, **flat)  # type: ignore[call-overload]
    (item,) = (list(found)[-1].response if stream else found).output
    assert (item.type, item.name, json.loads(item.arguments)) == ("function_call", "note", {"town": "York"})


def test_a_request_for_json_is_answered_with_json_of_its_schema(sdk: openai.OpenAI) -> None:
    asked = json_format(name="place", strict=True, schema=SCHEMA)
    completion = sdk.chat.completions.create(model="m", messages=[USER], **asked)  # type: ignore[call-overload]
    assert json.loads(completion.choices[0].message.content) == {"town": "Leeds"}
    text: Any = {"format": {"type": "json_schema", "name": "place", "strict": True, "schema": SCHEMA}}
    response = sdk.responses.create(model="m", input="I live in York.", text=text)
    assert json.loads(response.output_text) == {"town": "York"}
    messages: Any = [{"role": "user", "content": "Answer in JSON."}]
    answer = sdk.chat.completions.create(model="m", messages=messages, response_format={"type": "json_object"})
    assert json.loads(answer.choices[0].message.content or "") == {"answer": "Answer in JSON"}
