"""Tests of the routes of `generateContent`: keys, versions, paths, functions and structured output."""

import json

import pytest
from google.genai import Client
from google.genai.types import (
    FunctionCallingConfig,
    FunctionCallingConfigMode,
    FunctionDeclaration,
    GenerateContentConfig,
    Tool,
    ToolConfig,
)

from tests.emulator.harness import emulate
from tests.emulator.sdk import raw_request
from tests.emulator_process import EmulatorProcess

MODEL = "gemini-3-pro"
PATH = f"/v1beta/models/{MODEL}:generateContent"
QUESTION = "How high is the weir?"
BODY = {"contents": [{"parts": [{"text": QUESTION}]}]}
KEY = {"x-goog-api-key": "a-key"}
SCHEMA = {"type": "object", "properties": {"topic": {"type": "string"}}, "required": ["topic"]}


@pytest.mark.parametrize(
    ("headers", "request_line", "status", "name"),
    [
        ({}, f"POST {PATH}", 403, "PERMISSION_DENIED"),
        (KEY, "POST /v1beta/models/m:countTokens", 404, "NOT_FOUND"),
        (KEY, "GET /v1beta/files", 404, "NOT_FOUND"),
        (KEY, "POST /v1beta/models/m:streamGenerateContent", 400, "INVALID_ARGUMENT"),
    ],
)
def test_a_request_that_cannot_be_served_is_rejected_in_googles_shape(
    emulator: EmulatorProcess, headers: dict[str, str], request_line: str, status: int, name: str
) -> None:
    method, path = request_line.split()
    found, _, body = raw_request(emulator.url + path, BODY, headers, method)
    assert (found, json.loads(body)["error"]["status"]) == (status, name)


def test_a_key_in_the_query_and_a_window_in_the_models_name_are_understood(emulator: EmulatorProcess) -> None:
    assert raw_request(f"{emulator.url}{PATH}?key=k", BODY)[0] == 200
    long = {"contents": [{"parts": [{"text": "a " * 1100}]}]}
    status, _, body = raw_request(f"{emulator.url}/v1beta/models/m:1k:generateContent?key=k", long)
    assert (status, "(1000)" in json.loads(body)["error"]["message"]) == (400, True)


@pytest.mark.parametrize("gemini", ["v1", "v1beta"], indirect=True)
def test_an_answer_without_a_directive_says_that_no_model_was_called(gemini: Client, emulator: EmulatorProcess) -> None:
    response = gemini.models.generate_content(
        model=MODEL,
        contents=QUESTION,
        config=GenerateContentConfig(system_instruction="Be brief.", max_output_tokens=9999),
    )
    assert "No model was called" in (response.text or "")
    (call,) = emulator.calls()
    assert (call["operation"], call["model"], call["inference"]) == (
        "GenerateContent",
        MODEL,
        {"maxOutputTokens": 9999},
    )
    assert call["system"]["parts"] == [{"text": "Be brief."}]


def test_a_forced_function_is_called_with_arguments_of_its_schema(gemini: Client, emulator: EmulatorProcess) -> None:
    tool = Tool(function_declarations=[FunctionDeclaration(name="rate", parameters_json_schema=SCHEMA)])
    choice = FunctionCallingConfig(mode=FunctionCallingConfigMode.ANY, allowed_function_names=["rate"])
    config = GenerateContentConfig(tools=[tool], tool_config=ToolConfig(function_calling_config=choice))
    response = gemini.models.generate_content(model=MODEL, contents=QUESTION, config=config)
    assert [(call.name, call.args) for call in response.function_calls or []] == [
        ("rate", {"topic": "How high is the weir"})
    ]
    assert emulator.calls()[0]["tool"] == "rate"


def test_structured_output_is_json_of_its_schema(gemini: Client) -> None:
    google = {"type": "OBJECT", "properties": {"topic": {"type": "STRING"}}, "required": ["topic"]}
    for fields in ({"response_json_schema": SCHEMA}, {"response_schema": google}):
        config = GenerateContentConfig.model_validate({"response_mime_type": "application/json"} | fields)
        response = gemini.models.generate_content(model=MODEL, contents=QUESTION, config=config)
        assert json.loads(response.text or "") == {"topic": "How high is the weir"}


@pytest.mark.parametrize("key", ["reasoning_field", "refusal", "redacted", "stream"])
def test_a_key_that_this_wire_does_not_have_is_rejected_by_name(emulator: EmulatorProcess, key: str) -> None:
    body = {"contents": [{"parts": [{"text": emulate(**{key: "sse"})}]}]}
    status, _, data = raw_request(emulator.url + PATH, body, KEY)
    assert (status, key in json.loads(data)["error"]["message"]) == (400, True)
