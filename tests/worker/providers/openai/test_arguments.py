"""The bodies of both APIs, field by field."""

import json
from dataclasses import replace
from typing import Any

import msgspec

from millrace.worker.contract.request import PromptMessage
from millrace.worker.providers.openai.arguments import build_chat, build_responses, features_of
from millrace.worker.providers.protocol import Prompt, Tool
from millrace.worker.settings.catalog import UNKNOWN_MODEL

HISTORY = (PromptMessage("user", "One?"), PromptMessage("assistant", "Two."), PromptMessage("user", "Three?"))
PROMPT = Prompt("m", HISTORY, 100, ("Be kind.", "Be brief."), 0.5, 0.9, ("STOP",))
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
TOOL = Tool("name_it", "Names it.", SCHEMA)
TURNS = [{"role": "user", "content": "One?"}, {"role": "assistant", "content": "Two."}]
QUESTION = {"role": "user", "content": "Three?"}
WITH_SCHEMA = replace(PROMPT, schema=SCHEMA, traits=msgspec.structs.replace(UNKNOWN_MODEL, schema=True))


def chat(prompt: Prompt, *, is_openai: bool = False, is_stream: bool = True) -> dict[str, Any]:
    features = features_of(prompt, is_stream=is_stream, is_chat=True, is_openai=is_openai)
    return build_chat(prompt, features, is_stream=is_stream)


def responses(prompt: Prompt, *, is_stream: bool = True) -> dict[str, Any]:
    features = features_of(prompt, is_stream=is_stream, is_chat=False, is_openai=True)
    return build_responses(prompt, features, is_stream=is_stream)


def test_every_field_of_the_prompt_is_in_a_chat_completion() -> None:
    expected = {
        "model": "m",
        "messages": [{"role": "system", "content": "Be kind.\n\nBe brief."}, *TURNS, QUESTION],
        "max_tokens": 100,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["STOP"],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert chat(PROMPT) == expected
    del expected["max_tokens"], expected["stream"], expected["stream_options"]
    assert chat(PROMPT, is_openai=True, is_stream=False) == expected | {"max_completion_tokens": 100}


def test_every_field_of_the_prompt_but_the_stop_sequences_is_in_a_response() -> None:
    expected = {
        "model": "m",
        "input": [*TURNS, QUESTION],
        "instructions": "Be kind.\n\nBe brief.",
        "max_output_tokens": 100,
        "temperature": 0.5,
        "top_p": 0.9,
        "stream": True,
        "store": False,
    }
    assert responses(PROMPT) == expected
    del expected["stream"]
    assert responses(PROMPT, is_stream=False) == expected


def test_absent_fields_are_left_out() -> None:
    bare = Prompt("m", (PromptMessage("user", "?"),), 9)
    messages = [{"role": "user", "content": "?"}]
    assert chat(bare, is_stream=False) == {"model": "m", "messages": messages, "max_tokens": 9}
    assert set(responses(bare, is_stream=False)) == {"model", "input", "max_output_tokens", "store"}


def test_a_tool_is_forced_or_asked_for_in_words() -> None:
    prompt = replace(PROMPT, tool=TOOL)
    function = {"name": "name_it", "description": "Names it.", "parameters": SCHEMA}
    body = chat(prompt)
    assert body["tools"] == [{"type": "function", "function": function}]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "name_it"}}
    body = responses(prompt)
    assert body["tools"] == [{"type": "function", **function, "strict": False}]
    assert body["tool_choice"] == {"type": "function", "name": "name_it"}
    unable = replace(prompt, traits=msgspec.structs.replace(UNKNOWN_MODEL, tools=False))
    for body in (chat(unable), responses(unable)):
        assert "tools" not in body
        last = (body.get("messages") or body["input"])[-1]["content"]
        assert last.startswith("Three?\n\nNames it. Reply with one JSON object")
        assert last.endswith(json.dumps(SCHEMA))


def test_a_schema_is_sent_and_explained_to_models_that_may_not_know_the_field() -> None:
    format_ = {"name": "answer", "schema": SCHEMA, "strict": False}
    assert chat(WITH_SCHEMA)["response_format"] == {"type": "json_schema", "json_schema": format_}
    assert responses(WITH_SCHEMA)["text"] == {"format": {"type": "json_schema", **format_}}
    assert chat(WITH_SCHEMA)["messages"][-1] == QUESTION
    unknown = chat(replace(PROMPT, schema=SCHEMA))
    assert unknown["response_format"]
    assert unknown["messages"][-1]["content"].endswith(json.dumps(SCHEMA))


def test_a_schema_is_strict_where_openai_can_hold_an_answer_to_it() -> None:
    closed = SCHEMA | {"additionalProperties": False}
    empty = {"type": "object", "additionalProperties": False}
    cases: list[tuple[Any, bool]] = [
        (closed, True),
        (SCHEMA, False),
        (closed | {"required": []}, False),
        (empty, True),
        (closed | {"properties": {"title": closed}}, True),
        (closed | {"properties": {"title": SCHEMA}}, False),
        (closed | {"$defs": {"a": {"anyOf": [SCHEMA]}}}, False),
        ({"type": "object"}, False),
    ]
    for schema, is_strict in cases:
        body = chat(replace(WITH_SCHEMA, schema=schema))
        assert body["response_format"]["json_schema"]["strict"] == is_strict, schema


def test_consecutive_messages_of_one_role_are_one() -> None:
    messages = (PromptMessage("user", "a"), PromptMessage("user", "b"), PromptMessage("assistant", "c"))
    expected = [{"role": "user", "content": "a\n\nb"}, {"role": "assistant", "content": "c"}]
    assert chat(Prompt("m", messages, 9))["messages"] == expected
