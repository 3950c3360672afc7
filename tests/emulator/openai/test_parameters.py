"""Tests of the checks of parameters: OpenAI's own, and those of servers that lack a feature."""

import json
from typing import Any

import openai
import pytest
from openai.types.chat import completion_create_params
from openai.types.responses import response_create_params

from deploy.emulator.faults import ServiceError
from deploy.emulator.openai.parameters import CHAT_PARAMETERS, RESPONSE_PARAMETERS, check_tool_results

MESSAGES: Any = [{"role": "user", "content": "Why?"}]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
TOOLS = [{"type": "function", "function": {"name": "note"}}]
REJECTED: list[tuple[str, dict[str, Any], str | None, str]] = [
    ("m", {"top_k": 5}, "top_k", "Unknown parameter"),
    ("m", {"temperature": 2.5}, "temperature", "<= 2, but got 2.5"),
    ("m", {"top_p": -1}, "top_p", ">= 0, but got -1"),
    ("m", {"stop": ["a", "b", "c", "d", "e"]}, "stop", "maximum length 4"),
    ("m", {"stream_options": {}}, "stream_options", "only allowed when 'stream'"),
    ("gpt-5-mini", {"max_tokens": 9}, "max_tokens", "Use 'max_completion_tokens'"),
    ("o4-mini", {"stop": ["a"]}, "stop", "not supported with this model"),
    ("openai/o3", {"temperature": 0.2}, "temperature", "default .1. value"),
    ("no-usage", {"stream": True, "stream_options": {"include_usage": True}}, "stream_options", "Unrecognized"),
    ("no-schema", {"response_format": SCHEMA}, "response_format", "not supported"),
    ("no-tool-choice", {"tools": TOOLS, "tool_choice": "required"}, "tool_choice", "does not support"),
    ("no-stop", {"stop": ["a"]}, "stop", "not supported"),
]


def test_known_parameters_are_those_of_the_official_sdk() -> None:
    chat = completion_create_params.CompletionCreateParamsStreaming.__annotations__
    responses = response_create_params.ResponseCreateParamsStreaming.__annotations__
    assert (set(chat), set(responses)) == (CHAT_PARAMETERS, RESPONSE_PARAMETERS)


@pytest.mark.parametrize(("model", "fields", "param", "expected"), REJECTED)
def test_a_parameter_is_rejected_by_its_name(
    sdk: openai.OpenAI, model: str, fields: dict[str, Any], param: str | None, expected: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=expected) as caught:
        sdk.post("/chat/completions", body={"model": model, "messages": MESSAGES} | fields, cast_to=object)
    assert caught.value.param == param


def test_the_new_name_of_the_limit_is_an_extra_input_for_a_strict_server(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        sdk.chat.completions.create(model="no-max-completion", messages=MESSAGES, max_completion_tokens=9)
    assert "Extra inputs are not permitted" in caught.value.response.text
    assert sdk.chat.completions.create(model="no-max-completion", messages=MESSAGES, max_tokens=9).choices


def test_a_model_that_only_sounds_like_one_takes_everything(sdk: openai.OpenAI) -> None:
    for model in ("gpt-5-chat-latest", "o30", "gpt-50"):
        completion = sdk.chat.completions.create(
            model=model, messages=MESSAGES, max_tokens=9, temperature=0.2, stop="a"
        )
        assert completion.choices[0].finish_reason == "length"


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        (["call", "tool"], ""),
        (["call", "tool", "user", "call", "tool"], ""),
        (["tool"], "must be a response"),
        (["call", "user", "tool"], "did not have response messages: a"),
        (["call"], "did not have response messages: a"),
        (["call", "tool", "tool"], "must be a response"),
    ],
)
def test_the_results_of_calls_follow_them_at_once(roles: list[str], expected: str) -> None:
    shapes: dict[str, dict[str, Any]] = {
        "call": {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "note"}}]},
        "tool": {"role": "tool", "tool_call_id": "a", "content": "7"},
        "user": {"role": "user", "content": "Why?"},
    }
    messages = json.loads(json.dumps([shapes["user"], *(shapes[role] for role in roles)]))
    if not expected:
        check_tool_results(messages)
        return
    with pytest.raises(ServiceError, match=expected):
        check_tool_results(messages)
