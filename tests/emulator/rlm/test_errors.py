"""Tests of errors in place of an answer of `POST /rlm`."""

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.emulator.harness import emulate
from tests.emulator.sdk import raw_request
from tests.emulator_process import EmulatorProcess

ERRORS = {
    "throttle": 429,
    "validation": 422,
    "unavailable": 503,
    "expired": 401,
    "server_error": 500,
    "authentication": 401,
    "quota": 402,
    "no_model": 404,
    "input_too_long": 400,
    "prompt_too_long": 400,
    "over_context_limit": 400,
    "too_many_tokens": 400,
    "too_many_bytes": 400,
    "too_large": 413,
}


@pytest.mark.parametrize("stream", [None, "sse", "ndjson"])
def test_each_error_is_a_status_with_a_message(emulator: EmulatorProcess, stream: str | None) -> None:
    for fault, status in ERRORS.items():
        message = emulate(fault=fault, retry_after=4, stream=stream)
        found, headers, body = raw_request(f"{emulator.url}/rlm", {"message": message})
        assert (found, headers["retry-after"], list(json.loads(body))) == (status, "4", ["error"]), fault
    coded = emulate(fault={"status": 500, "code": "engine_down", "message": "Down."}, stream=stream)
    assert json.loads(raw_request(f"{emulator.url}/rlm", {"message": coded})[2]) == {
        "error": "Down.",
        "code": "engine_down",
    }


@pytest.mark.parametrize(
    ("keys", "status", "header"),
    [
        ({"fault": "html"}, 200, ("content-type", "text/html; charset=utf-8")),
        ({"fault": "proxy_error"}, 502, ("content-type", "text/html")),
        ({"fault": {"status": 307, "headers": {"Location": "/other"}}}, 307, ("location", "/other")),
    ],
)
def test_a_proxy_can_answer_in_place_of_the_service(
    emulator: EmulatorProcess, keys: dict[str, Any], status: int, header: tuple[str, str]
) -> None:
    connection = http.client.HTTPConnection(urlsplit(emulator.url).netloc, timeout=30)
    connection.request("POST", "/rlm", json.dumps({"message": emulate(**keys)}))
    response = connection.getresponse()
    assert (response.status, response.headers[header[0]]) == (status, header[1])
    connection.close()


def test_only_a_stream_is_refused_where_streaming_is_not_supported(emulator: EmulatorProcess) -> None:
    streamed = {"message": emulate(fault="no_streaming", text="Hi", stream="sse")}
    status, _, body = raw_request(f"{emulator.url}/rlm", streamed)
    assert (status, json.loads(body)) == (400, {"error": "Streaming is not supported."})
    whole = {"message": emulate(fault="no_streaming", text="Hi")}
    assert json.loads(raw_request(f"{emulator.url}/rlm", whole)[2]) == {"answer": "Hi"}
