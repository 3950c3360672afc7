"""Tests of OpenAI's routes: which paths and keys the endpoint accepts, and what it lists of a call."""

import json
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import openai
import pytest

from tests.emulator.harness import emulate
from tests.emulator_process import EmulatorProcess

CHAT = "/v1/chat/completions"
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": emulate(text="x")}]}).encode()


def send(emulator: EmulatorProcess, path: str, method: str = "POST", **headers: str) -> tuple[int, dict[str, object]]:
    """Return the status and the JSON of a response."""
    request = Request(emulator.url + path, BODY if method == "POST" else None, headers, method=method)
    try:
        with urlopen(request, timeout=30) as response:
            return response.status, json.load(response)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.parametrize("path", [CHAT, f"/openai{CHAT}", f"/api{CHAT}?api-version=1"])
def test_a_chat_is_answered_under_the_paths_of_several_servers(emulator: EmulatorProcess, path: str) -> None:
    for headers in ({"Authorization": "Bearer local"}, {"api-key": "local"}):
        status, answer = send(emulator, path, **headers)
        assert (status, answer["object"]) == (200, "chat.completion")


def test_a_request_without_a_key_is_rejected(emulator: EmulatorProcess) -> None:
    for headers in ({}, {"Authorization": "Bearer "}, {"api-key": ""}):
        for path, method in ((CHAT, "POST"), ("/v1/responses", "POST"), ("/v1/models", "GET")):
            status, answer = send(emulator, path, method, **headers)
            assert (status, answer["error"]["type"]) == (401, "invalid_request_error")  # type: ignore[index]
    assert emulator.calls() == []


def test_another_method_is_rejected_in_openais_shape(emulator: EmulatorProcess) -> None:
    status, answer = send(emulator, CHAT, "GET", Authorization="Bearer local")
    assert status == 405
    assert "Not allowed to GET" in answer["error"]["message"]  # type: ignore[index]


def test_models_are_listed_and_any_model_exists(sdk: openai.OpenAI) -> None:
    assert "emulated-model" in [model.id for model in sdk.models.list()]
    assert sdk.models.retrieve("gpt-5/x").id == "gpt-5/x"


def test_calls_of_all_wires_are_listed_together(sdk: openai.OpenAI, emulator: EmulatorProcess) -> None:
    sdk.responses.create(model="m", input=emulate(text="Noon."), instructions="Be kind.", max_output_tokens=99)
    sdk.chat.completions.create(model="m", messages=[{"role": "user", "content": emulate(text="Noon.")}])
    first, second = emulator.calls()
    assert (first["operation"], second["operation"]) == ("Responses", "ChatCompletions")
    assert first["messages"] == [{"role": "user", "content": emulate(text="Noon.")}]
    assert (first["system"], first["inference"]) == ("Be kind.", {"model": "m", "max_output_tokens": 99})
    assert (first["deltas_sent"], first["ended"], first["is_streamed"]) == (2, "finished", False)
