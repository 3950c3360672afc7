"""Tests of the responders: pace, slow readers, and silent and reset connections."""

import json
import re
import time
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ConnectionClosedError as Closed
from urllib3.exceptions import ProtocolError

from tests.emulator.harness import (
    MODEL,
    connect,
    converse_body,
    converse_events,
    converse_until_error,
    decode_messages,
    emulate,
    read_until_silent,
    request_bytes,
    split_chunks,
    text_deltas,
    user_message,
    wait_until_paused,
)
from tests.emulator_process import EmulatorProcess

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient


def test_deltas_keep_their_rate_and_are_never_early(bedrock: "BedrockRuntimeClient", emulator: EmulatorProcess) -> None:
    converse_events(bedrock, emulate(tokens=21, rate=50, first_delay=0.3))
    (call,) = emulator.calls()
    first, last = call["sent_at"]
    assert first - call["started"] >= 0.3
    assert last - call["started"] >= 0.3 + 20 / 50 - 0.005  # the wall clock may be adjusted against the loop's clock


def test_answer_without_a_stream_takes_the_time_of_its_deltas(bedrock: "BedrockRuntimeClient") -> None:
    started = time.monotonic()
    bedrock.converse(modelId=MODEL, messages=cast(Any, user_message(emulate(tokens=11, rate=50, first_delay=0.1))))
    assert time.monotonic() - started >= 0.3


def test_slow_reader_pauses_its_stream_and_receives_all_of_it_later(emulator: EmulatorProcess) -> None:
    with connect(emulator.url, receive_buffer=65536) as client:
        client.sendall(request_bytes("converse-stream", converse_body(emulate(tokens=20_000, chars=1000))))
        assert wait_until_paused(emulator) < 20_000
        received = bytearray()
        while not received.endswith(b"\r\n0\r\n\r\n"):
            received += client.recv(1 << 20)
    assert len(re.findall(rb":event-type\x07\x00\x11contentBlockDelta", received)) == 20_000
    assert [call["ended"] for call in emulator.calls()] == ["finished"]


@pytest.mark.parametrize("at", [0, 5])
def test_stalled_stream_stays_silent_and_notices_that_its_reader_leaves(emulator: EmulatorProcess, at: int) -> None:
    with connect(emulator.url) as client:
        client.sendall(request_bytes("converse-stream", converse_body(emulate(tokens=9, fault="stall", at=at))))
        emulator.wait_for(lambda calls: [call["deltas_sent"] for call in calls] == [at])
        received = read_until_silent(client, 0.3)
        assert len(decode_messages(split_chunks(received + b"0\r\n"))) == 1 + at
        assert emulator.calls()[0]["ended"] is None
        left = time.time()
    (call,) = emulator.wait_for(lambda calls: calls[0]["ended"] is not None)
    assert call["ended"] == "closed_by_client"
    assert call["deltas_sent"] == at
    assert call["ended_at"] - left < 10


def test_stalled_answer_without_a_stream_is_ended_by_its_client(emulator: EmulatorProcess) -> None:
    with connect(emulator.url) as client:
        client.sendall(request_bytes("converse", converse_body(emulate(fault="stall"))))
        emulator.wait_for(lambda calls: len(calls) == 1)
    emulator.wait_for(lambda calls: calls[0]["ended"] == "closed_by_client")


@pytest.mark.parametrize("at", [0, 3])
def test_disconnect_resets_the_stream_after_its_deltas_have_arrived(
    bedrock: "BedrockRuntimeClient", emulator: EmulatorProcess, at: int
) -> None:
    events, error = converse_until_error(bedrock, emulate(tokens=9, fault="disconnect", at=at))
    assert len(text_deltas(events)) == at
    assert isinstance(error, ProtocolError)
    assert "reset" in str(error)
    assert [call["ended"] for call in emulator.calls()] == ["fault"]


def test_disconnect_without_a_stream_gives_no_response(bedrock: "BedrockRuntimeClient") -> None:
    with pytest.raises(Closed):
        bedrock.converse(modelId=MODEL, messages=cast(Any, user_message(emulate(fault="disconnect"))))


@pytest.mark.parametrize("fault", ["no_stop", "corrupt"])
def test_stream_fault_without_a_stream_cuts_the_json_short(emulator: EmulatorProcess, fault: str) -> None:
    with connect(emulator.url) as client, client.makefile("rb") as reader:
        client.sendall(request_bytes("converse", converse_body(emulate(text="Noon.", fault=fault))))
        assert reader.readline() == b"HTTP/1.1 200 OK\r\n"
        headers = dict(line.rstrip().lower().split(b": ", 1) for line in iter(reader.readline, b"\r\n"))
        body = reader.read(int(headers[b"content-length"]))
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)
    assert [call["ended"] for call in emulator.calls()] == ["fault"]
