"""Tests of request validation: invalid bodies are rejected with AWS's errors and messages."""

import json
from typing import Any

import pytest

from tests.emulator.harness import converse_body, emulate, rejection
from tests.emulator_process import EmulatorProcess

CONVERSE = "/model/a-model/converse-stream"
INVOKE = "/model/a-model/invoke"


def message(role: str, text: str = "x") -> dict[str, Any]:
    return {"role": role, "content": [{"text": text}]}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": []}, "must start with a user message"),
        ({"messages": [message("assistant")]}, "must start with a user message"),
        ({"messages": [message("user"), message("user")]}, "must alternate"),
        ({"messages": [message("user"), message("assistant"), message("assistant")]}, "must alternate"),
        ({"messages": [message("user", "")]}, "messages.0.content.0 is blank"),
        ({"messages": [message("user", " \n")]}, "is blank"),
        ({"messages": [message("user"), message("assistant", "so ")]}, "trailing whitespace"),
        ({"messages": [{"role": "user", "content": []}]}, "messages.0 is empty"),
        ({"messages": [{"role": "user", "content": "x"}]}, "messages.0.content"),
        ({"messages": [message("user")], "system": [{"text": ""}]}, "system.0 is blank"),
        ({"messages": [message("user")], "inferenceConfig": {"maxTokens": 0}}, "inferenceConfig.maxTokens"),
        (converse_body(emulate(tokenz=1)), "tokenz"),
    ],
)
def test_invalid_converse_body_is_a_validation_exception_that_names_the_place(
    emulator: EmulatorProcess, body: dict[str, Any], expected: str
) -> None:
    status, kind, text = rejection(emulator, CONVERSE, json.dumps(body).encode())
    assert (status, kind) == (400, "ValidationException")
    assert expected in text
    assert emulator.calls() == []


@pytest.mark.parametrize(
    ("missing", "changed", "expected"),
    [
        ("anthropic_version", {}, "anthropic_version: Field required"),
        ("max_tokens", {}, "max_tokens: Field required"),
        ("messages", {}, "messages: Field required"),
        ("", {"max_tokens": "7"}, "max_tokens"),
        ("", {"messages": [{"role": "user", "content": ""}]}, "is blank"),
        ("", {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}, "is blank"),
    ],
)
def test_invalid_invoke_body_is_a_validation_exception_that_names_the_place(
    emulator: EmulatorProcess, missing: str, changed: dict[str, Any], expected: str
) -> None:
    body = {"anthropic_version": "v", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]} | changed
    body.pop(missing, None)
    status, kind, text = rejection(emulator, INVOKE, json.dumps(body).encode())
    assert (status, kind) == (400, "ValidationException")
    assert expected in text


@pytest.mark.parametrize(("path", "content"), [("converse-stream", [{"text": "So"}]), ("invoke", "So")])
def test_model_without_prefill_support_rejects_a_prefill(emulator: EmulatorProcess, path: str, content: object) -> None:
    messages = [*converse_body("x")["messages"], {"role": "assistant", "content": content}]
    body = json.dumps({"messages": messages, "anthropic_version": "v", "max_tokens": 9}).encode()
    expected = "This model does not support assistant message prefill. The conversation must end with a user message."
    assert rejection(emulator, f"/model/a-no-prefill-model/{path}", body) == (400, "ValidationException", expected)


@pytest.mark.parametrize(
    ("model", "fields", "status", "expected"),
    [
        ("a-no-cache-model", {"system": [{"text": "x"}, {"cachePoint": {"type": "default"}}]}, 403, "prompt caching"),
        ("a-no-tool-choice-model", {"toolConfig": {"tools": [], "toolChoice": {"any": {}}}}, 400, "toolChoice"),
        ("us.anthropic.claude-sonnet-4-5-v1:0", {"inferenceConfig": {"temperature": 1, "topP": 1}}, 400, "both"),
        ("anthropic.claude-v2", {"inferenceConfig": {"stopSequences": ["a", "\n\n"]}}, 400, "non-whitespace"),
    ],
)
def test_model_rejects_a_feature_that_it_does_not_have(
    emulator: EmulatorProcess, model: str, fields: dict[str, Any], status: int, expected: str
) -> None:
    body = json.dumps({"messages": [message("user")]} | fields).encode()
    found, _, text = rejection(emulator, f"/model/{model}/converse", body)
    assert found == status
    assert expected in text


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_body_that_is_not_a_json_object_is_a_validation_exception(emulator: EmulatorProcess, body: bytes) -> None:
    assert rejection(emulator, CONVERSE, body)[:2] == (400, "ValidationException")
