"""What is refused before it is served, and that it is told as AWS tells it."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.emulator.asking import scripted
from tests.emulator.crowd import asking, connect, request_bytes
from tests.emulator_process import EmulatorProcess

CONVERSE = "/model/a-model/converse-stream"
INVOKE = "/model/a-model/invoke"


def refusal(
    emulator: EmulatorProcess, path: str, body: bytes, method: str = "POST", signature: str = "x"
) -> tuple[int, str | None, str]:
    headers = {"Authorization": signature} if signature else {}
    request = urllib.request.Request(emulator.url + path, body, headers, method=method)
    with pytest.raises(urllib.error.HTTPError) as caught, urllib.request.urlopen(request, timeout=10):
        pass
    with caught.value as error:
        return error.code, error.headers["x-amzn-ErrorType"], json.load(error)["message"]


def turn(role: str, text: str = "x") -> dict[str, Any]:
    return {"role": role, "content": [{"text": text}]}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": []}, "must start with a user message"),
        ({"messages": [turn("assistant")]}, "must start with a user message"),
        ({"messages": [turn("user"), turn("user")]}, "must alternate"),
        ({"messages": [turn("user"), turn("assistant"), turn("assistant")]}, "must alternate"),
        ({"messages": [turn("user", "")]}, "messages.0.content.0 is blank"),
        ({"messages": [turn("user", " \n")]}, "is blank"),
        ({"messages": [turn("user"), turn("assistant", "so ")]}, "trailing whitespace"),
        ({"messages": [{"role": "user", "content": []}]}, "messages.0 is empty"),
        ({"messages": [{"role": "user", "content": "x"}]}, "messages.0.content"),
        ({"messages": [turn("user")], "system": [{"text": ""}]}, "system.0 is blank"),
        ({"messages": [turn("user")], "inferenceConfig": {"maxTokens": 0}}, "inferenceConfig.maxTokens"),
        (asking(scripted(tokenz=1)), "tokenz"),
    ],
)
def test_a_bad_converse_body_is_a_validation_exception_that_says_where(
    emulator: EmulatorProcess, body: dict[str, Any], said: str
) -> None:
    status, kind, message = refusal(emulator, CONVERSE, json.dumps(body).encode())
    assert (status, kind) == (400, "ValidationException")
    assert said in message
    assert emulator.calls() == []


@pytest.mark.parametrize(
    ("missing", "changed", "said"),
    [
        ("anthropic_version", {}, "anthropic_version: Field required"),
        ("max_tokens", {}, "max_tokens: Field required"),
        ("messages", {}, "messages: Field required"),
        ("", {"max_tokens": "7"}, "max_tokens"),
        ("", {"messages": [{"role": "user", "content": ""}]}, "is blank"),
        ("", {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}, "is blank"),
    ],
)
def test_a_bad_invoke_body_is_a_validation_exception_that_says_where(
    emulator: EmulatorProcess, missing: str, changed: dict[str, Any], said: str
) -> None:
    body = {"anthropic_version": "v", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]} | changed
    body.pop(missing, None)
    status, kind, message = refusal(emulator, INVOKE, json.dumps(body).encode())
    assert (status, kind) == (400, "ValidationException")
    assert said in message


@pytest.mark.parametrize(("path", "content"), [("converse-stream", [{"text": "So"}]), ("invoke", "So")])
def test_a_model_that_takes_no_prefill_says_so(emulator: EmulatorProcess, path: str, content: object) -> None:
    messages = [*asking("x")["messages"], {"role": "assistant", "content": content}]
    body = json.dumps({"messages": messages, "anthropic_version": "v", "max_tokens": 9}).encode()
    said = "This model does not support assistant message prefill. The conversation must end with a user message."
    assert refusal(emulator, f"/model/a-no-prefill-model/{path}", body) == (400, "ValidationException", said)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_object_is_a_validation_exception(emulator: EmulatorProcess, body: bytes) -> None:
    assert refusal(emulator, CONVERSE, body)[:2] == (400, "ValidationException")


def test_a_request_without_a_signature_is_forbidden(emulator: EmulatorProcess) -> None:
    status, kind, _ = refusal(emulator, CONVERSE, json.dumps(asking("x")).encode(), signature="")
    assert (status, kind) == (403, "MissingAuthenticationTokenException")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/"),
        ("POST", "/model/a-model/count"),
        ("GET", CONVERSE),
        ("POST", "/_calls"),
        ("POST", "/model//invoke"),
    ],
)
def test_what_is_not_served_is_not_found(emulator: EmulatorProcess, method: str, path: str) -> None:
    assert refusal(emulator, path, b"{}", method)[:2] == (404, "UnknownOperationException")


def test_a_model_that_can_not_be_one_is_refused(emulator: EmulatorProcess) -> None:
    path = "/model/a%20model/converse-stream"
    assert refusal(emulator, path, b"{}") == (400, "ValidationException", "The provided model identifier is invalid.")


def test_nonsense_instead_of_http_is_a_bad_request(emulator: EmulatorProcess) -> None:
    with connect(emulator.url) as caller, caller.makefile("rb") as reader:
        caller.sendall(b"\x16\x03\x01 what\r\n\r\n")
        assert reader.readline() == b"HTTP/1.1 400 Bad Request\r\n"


def test_a_body_beyond_bedrocks_limit_is_refused_before_it_is_read(emulator: EmulatorProcess) -> None:
    with connect(emulator.url) as caller, caller.makefile("rb") as reader:
        caller.sendall(b"POST /model/m/invoke HTTP/1.1\r\nHost: x\r\nContent-Length: 99000000\r\n\r\n")
        assert reader.readline().startswith(b"HTTP/1.1 413 ")


def test_a_connection_serves_one_request_after_another_also_when_sent_together(emulator: EmulatorProcess) -> None:
    request = request_bytes("converse", asking(scripted(text="x")))
    with connect(emulator.url) as caller, caller.makefile("rb") as reader:
        caller.sendall(request * 3)
        for _ in range(3):
            assert reader.readline() == b"HTTP/1.1 200 OK\r\n"
            headers = dict(line.rstrip().lower().split(b": ", 1) for line in iter(reader.readline, b"\r\n"))
            assert json.loads(reader.read(int(headers[b"content-length"])))["stopReason"] == "end_turn"
