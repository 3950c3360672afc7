"""Tests of the route `POST /rlm`: its fields, its streams, and the record of its calls."""

import json
from typing import Any

import pytest

from tests.emulator.harness import emulate
from tests.emulator.sdk import raw_request
from tests.emulator_process import EmulatorProcess


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        (b"{", 400, "JSON"),
        ({}, 422, "message"),
        ([], 400, "JSON"),
        (b'{"message": "\\ud800"}', 400, "JSON"),
        ({"message": " "}, 422, "message"),
        ({"message": 5}, 422, "message"),
        ({"message": "x", "history": "y"}, 422, "history"),
        ({"message": "x", "history": ["y"]}, 422, "history"),
        ({"message": "x", "history": [{"role": "system", "content": "y"}]}, 422, "history"),
        ({"message": emulate(tool=True)}, 400, "tool"),
        ({"message": emulate(usage={})}, 400, "usage"),
        ({"message": emulate(reasoning=True)}, 400, "reasoning"),
        ({"message": emulate(stream="morse")}, 400, "stream"),
    ],
)
def test_a_bad_request_is_rejected_by_the_name_of_its_field(
    emulator: EmulatorProcess, body: Any, status: int, named: str
) -> None:
    found, headers, data = raw_request(f"{emulator.url}/rlm", body)
    assert (found, headers["content-type"]) == (status, "application/json")
    assert named in json.loads(data)["error"]


def test_unknown_methods_and_streams_are_rejected(emulator: EmulatorProcess) -> None:
    assert raw_request(f"{emulator.url}/rlm", {"message": "x"}, method="PUT")[0] == 405
    assert raw_request(f"{emulator.url}/rlm?stream=morse", {"message": "x"})[0] == 400


def test_an_answer_without_a_directive_says_that_no_model_was_called(emulator: EmulatorProcess) -> None:
    history = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    body = {"message": "How high is the weir?", "history": history, "profile": {"name": "Ada"}, "more": 1}
    answer = json.loads(raw_request(f"{emulator.url}/rlm", body)[2])["answer"]
    assert "No model was called" in answer
    assert "> How high is the weir?" in answer
    (call,) = emulator.calls()
    assert (call["operation"], call["model"], call["messages"], call["system"]) == (
        "Rlm",
        "rlm",
        [body],
        body["profile"],
    )


def test_the_query_names_the_fields(emulator: EmulatorProcess) -> None:
    url = f"{emulator.url}/rlm?message=question&history=turns&profile=user&answer=reply"
    body = {"question": emulate(text="Hi"), "turns": [{"role": "user", "content": "a"}], "user": "Ada"}
    assert json.loads(raw_request(url, body)[2]) == {"reply": "Hi"}
    assert emulator.calls()[0]["system"] == "Ada"
    for wrong, named in (({"message": "x"}, "question"), ({"question": "x", "turns": 5}, "turns")):
        status, _, data = raw_request(url, wrong)
        assert (status, f"`{named}`" in json.loads(data)["error"]) == (422, True)


@pytest.mark.parametrize(("stream", "operation"), [("sse", "RlmSse"), ("ndjson", "RlmLines")])
def test_the_query_asks_for_a_stream_as_the_directive_does(
    emulator: EmulatorProcess, stream: str, operation: str
) -> None:
    message = {"text": "abcdefgh", "rate": 0}
    asked = raw_request(f"{emulator.url}/rlm?stream={stream}", {"message": emulate(**message)})
    scripted = raw_request(f"{emulator.url}/rlm", {"message": emulate(**message, stream=stream)})
    assert (asked[0], asked[2]) == (scripted[0], scripted[2])
    assert [(call["operation"], call["is_streamed"]) for call in emulator.calls()] == [(operation, True)] * 2
