"""Tests of the faults that all wires share, read from a raw socket."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.emulator.harness import (
    connect,
    converse_body,
    decode_messages,
    emulate,
    read_until_reset,
    read_until_silent,
    rejection,
    request_bytes,
    split_chunks,
    stream_all,
)
from tests.emulator_process import EmulatorProcess

OPERATIONS = ("converse", "converse-stream")


def read_response(emulator: EmulatorProcess, verb: str, **keys: Any) -> tuple[int, dict[str, str], bytes]:
    """Return the status, the headers in lower case and the body of a response with a length."""
    with connect(emulator.url) as client, client.makefile("rb") as reader:
        client.sendall(request_bytes(verb, converse_body(emulate(**keys))))
        status = int(reader.readline().split()[1])
        lines = [line.decode().rstrip() for line in iter(reader.readline, b"\r\n")]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return status, headers, reader.read(int(headers["content-length"]))


@pytest.mark.parametrize(("fault", "status"), [("html", 200), ("proxy_error", 502)])
def test_a_proxys_page_replaces_the_response(emulator: EmulatorProcess, fault: str, status: int) -> None:
    for verb, at in zip(OPERATIONS, (3, 0), strict=True):
        found, headers, body = read_response(emulator, verb, fault=fault, at=at)
        assert (found, headers["content-type"].partition(";")[0]) == (status, "text/html")
        assert body.startswith(b"<!DOCTYPE html>")
    assert [call["ended"] for call in emulator.calls()] == ["fault"] * 2


@pytest.mark.parametrize(("fault", "tail"), [("html", b"</html>\n\r\n0\r\n\r\n"), ("proxy_error", b"</html>\n")])
def test_a_proxys_page_can_break_into_a_stream(emulator: EmulatorProcess, fault: str, tail: bytes) -> None:
    with connect(emulator.url) as client:
        message = {"message": emulate(fault=fault, at=2, tokens=5)}
        client.sendall(_post("/rlm?stream=sse", "Connection: close", message))
        received = b"".join(iter(lambda: client.recv(65_536), b""))
    assert received.count(b'"content"') == 2
    assert received.endswith(tail)
    assert (b"\r\nHTTP/1.1 502 Bad Gateway\r\n" in received) == (fault == "proxy_error")
    assert [(call["ended"], call["deltas_sent"]) for call in emulator.calls()] == [("fault", 2)]


def test_silence_before_the_headers_lasts_until_the_client_leaves(emulator: EmulatorProcess) -> None:
    for verb in OPERATIONS:
        with connect(emulator.url) as client:
            client.sendall(request_bytes(verb, converse_body(emulate(fault="stall_headers"))))
            emulator.wait_for(lambda calls: calls[-1:] != [] and calls[-1]["ended"] is None)
            assert read_until_silent(client, 0.2) == b""
        emulator.wait_for(lambda calls: calls[-1]["ended"] == "closed_by_client")


def test_headers_can_be_delayed_apart_from_the_first_delta(emulator: EmulatorProcess) -> None:
    with connect(emulator.url) as client, client.makefile("rb") as reader:
        client.sendall(request_bytes("converse-stream", converse_body(emulate(header_delay=0.2, first_delay=0.2))))
        emulator.wait_for(lambda calls: len(calls) == 1)
        started = emulator.calls()[0]["started"]
        reader.readline()
        assert time.time() - started >= 0.19
        emulator.wait_for(lambda calls: calls[0]["ended"] == "finished")
    assert emulator.calls()[0]["sent_at"][0] - started >= 0.39


@pytest.mark.parametrize(("given", "sent"), [(7, "7"), (1.5, "1.5"), ("Wed, 21 Oct 2026 07:28:00 GMT",) * 2])
def test_an_error_can_say_when_to_try_again(emulator: EmulatorProcess, given: Any, sent: str) -> None:
    status, headers, _ = read_response(emulator, "converse-stream", fault="throttle", retry_after=given)
    assert (status, headers["retry-after"]) == (429, sent)


def test_an_error_can_carry_any_header(emulator: EmulatorProcess) -> None:
    fault = {"status": 307, "headers": {"Location": "http://127.0.0.1:9/"}}
    status, headers, _ = read_response(emulator, "converse", fault=fault)
    assert (status, headers["location"]) == (307, "http://127.0.0.1:9/")


def test_only_a_stream_is_refused_where_streaming_is_not_supported(emulator: EmulatorProcess) -> None:
    assert read_response(emulator, "converse-stream", fault="no_streaming")[0] == 400
    assert read_response(emulator, "converse", fault="no_streaming")[0] == 200


@pytest.mark.parametrize(
    ("fault", "last"), [("no_end", "messageStop"), ("malformed_json", "contentBlockDelta"), ("no_stop", "messageStart")]
)
def test_a_stream_can_end_in_order_without_its_last_messages(emulator: EmulatorProcess, fault: str, last: str) -> None:
    (response,) = stream_all(emulator.url, [emulate(tokens=3, fault=fault)], seconds=5)
    headers, payload = decode_messages(split_chunks(response))[-1]
    assert headers[":event-type"] == last
    assert payload.endswith(b"}") == (fault != "malformed_json")
    assert [call["ended"] for call in emulator.calls()] == ["fault"]


@pytest.mark.parametrize("keys", [{"comments": 1}, {"refusal": "No."}, {"reasoning_field": "reasoning"}])
def test_a_key_that_the_wire_does_not_have_is_rejected_by_name(emulator: EmulatorProcess, keys: dict[str, Any]) -> None:
    _, _, text = rejection(emulator, "/model/m/converse", _body(**keys))
    assert next(iter(keys)) in text


def test_faults_of_the_transport_strike_every_wire(emulator: EmulatorProcess) -> None:
    for send, is_open in WIRES.items():
        for fault, status in (("html", 200), ("proxy_error", 502)):
            with connect(emulator.url) as client, client.makefile("rb") as reader:
                client.sendall(send(fault=fault))
                assert int(reader.readline().split()[1]) == status, send
        with connect(emulator.url) as client:
            client.sendall(send(fault="disconnect", at=2, tokens=5))
            assert read_until_reset(client).count(is_open) == 2, send
        for at in (0, 2):
            with connect(emulator.url) as client:
                client.sendall(send(fault="stall", at=at, tokens=5))
                assert read_until_silent(client, 0.2).count(is_open) == at, send
            emulator.wait_for(lambda calls: calls[-1]["ended"] == "closed_by_client")
        with connect(emulator.url) as client:
            client.sendall(send(fault="stall_headers"))
            assert read_until_silent(client, 0.1) == b"", send


def _post(path: str, headers: str, body: dict[str, Any]) -> bytes:
    data = json.dumps(body).encode("ascii")
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode("ascii") + data


def _send_gemini(**keys: Any) -> bytes:
    body = {"contents": [{"parts": [{"text": emulate(**keys)}]}]}
    return _post("/v1beta/models/m:streamGenerateContent?alt=sse", "x-goog-api-key: k", body)


def _send_anthropic(**keys: Any) -> bytes:
    body = {"model": "m", "max_tokens": 99, "stream": True, "messages": [{"role": "user", "content": emulate(**keys)}]}
    return _post("/v1/messages", "x-api-key: k\r\nanthropic-version: 2023-06-01", body)


def _send_rlm(**keys: Any) -> bytes:
    return _post("/rlm?stream=sse", "Accept: */*", {"message": emulate(**keys)})


# How to ask each wire for a stream, and the bytes that each delta holds once.
WIRES: dict[Callable[..., bytes], bytes] = {
    _send_gemini: b'"candidates"',
    _send_anthropic: b"event: content_block_delta",
    _send_rlm: b'"content"',
}


def _body(**keys: Any) -> bytes:
    return request_bytes("converse", converse_body(emulate(**keys))).partition(b"\r\n\r\n")[2]
