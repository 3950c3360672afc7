"""Every fault, as a caller with boto3 meets it."""

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.eventstream import ChecksumMismatch
from botocore.exceptions import ClientError, EventStreamError
from botocore.exceptions import ConnectionClosedError as Closed
from urllib3.exceptions import ProtocolError

from tests.emulator.asking import (
    MODEL,
    anthropic_body,
    converse_events,
    converse_until_broken,
    names_of,
    said_by_user,
    scripted,
    text_of,
    texts_of,
)
from tests.emulator.crowd import asking, chunks, connect, events, read_until_reset, read_until_silent, request_bytes
from tests.emulator_process import EmulatorProcess

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

REFUSED = [
    ("throttle", "ThrottlingException", 429),
    ("validation", "ValidationException", 400),
    ("unavailable", "ServiceUnavailableException", 503),
]
IN_STREAM = [
    ("throttle", "throttlingException"),
    ("validation", "validationException"),
    ("unavailable", "serviceUnavailableException"),
    ("stream_error", "modelStreamErrorException"),
]


@pytest.mark.parametrize(("fault", "code", "status"), REFUSED)
def test_before_the_first_delta_a_refusal_is_an_http_error(
    bedrock: "BedrockRuntimeClient", emulator: EmulatorProcess, fault: str, code: str, status: int
) -> None:
    with pytest.raises(ClientError) as caught:
        converse_events(bedrock, scripted(fault=fault))
    assert not isinstance(caught.value, EventStreamError)
    assert caught.value.response.get("Error", {}).get("Code") == code
    assert caught.value.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == status
    (call,) = emulator.calls()
    assert (call["ended"], call["deltas_sent"], call["sent_at"]) == ("fault", 0, None)


@pytest.mark.parametrize(("fault", "code"), IN_STREAM)
def test_after_a_delta_it_is_an_exception_in_the_stream(
    bedrock: "BedrockRuntimeClient", emulator: EmulatorProcess, fault: str, code: str
) -> None:
    seen, error = converse_until_broken(bedrock, scripted(tokens=9, fault=fault, at=4))
    assert len(texts_of(seen)) == 4
    assert isinstance(error, EventStreamError)
    assert error.response.get("Error", {}).get("Code") == code
    assert error.response.get("Error", {}).get("Message")
    (call,) = emulator.calls()
    assert (call["ended"], call["deltas_sent"]) == ("fault", 4)


def test_a_stream_error_is_in_the_stream_even_before_the_first_delta(bedrock: "BedrockRuntimeClient") -> None:
    seen, error = converse_until_broken(bedrock, scripted(fault="stream_error"))
    assert names_of(seen) == ["messageStart"]
    assert isinstance(error, EventStreamError)


@pytest.mark.parametrize("at", [0, 3])
def test_a_cut_socket_is_a_reset_after_the_deltas_have_arrived(
    bedrock: "BedrockRuntimeClient", emulator: EmulatorProcess, at: int
) -> None:
    seen, error = converse_until_broken(bedrock, scripted(tokens=9, fault="disconnect", at=at))
    assert len(texts_of(seen)) == at
    assert isinstance(error, ProtocolError)
    assert "reset" in str(error)
    assert [call["ended"] for call in emulator.calls()] == ["fault"]


def test_a_reset_does_not_void_what_was_sent_before(emulator: EmulatorProcess) -> None:
    with connect(emulator.url, receive_buffer=8192) as caller:
        script = scripted(tokens=4, chars=300_000, fault="disconnect", at=3)
        caller.sendall(request_bytes("converse-stream", asking(script)))
        emulator.wait_for(lambda calls: [call["ended"] for call in calls] == ["fault"])
        assert len(read_until_reset(caller)) > 900_000


def test_without_message_stop_the_http_response_still_ends_in_order(bedrock: "BedrockRuntimeClient") -> None:
    seen, error = converse_until_broken(bedrock, scripted(tokens=9, fault="no_stop", at=5))
    assert error is None
    assert names_of(seen) == ["messageStart", "contentBlockDelta"]
    assert len(texts_of(seen)) == 5


@pytest.mark.parametrize("at", [0, 5, 9])
def test_a_corrupt_message_is_found_by_its_checksum(bedrock: "BedrockRuntimeClient", at: int) -> None:
    seen, error = converse_until_broken(bedrock, scripted(tokens=9, fault="corrupt", at=at))
    assert isinstance(error, ChecksumMismatch)
    assert len(texts_of(seen)) <= at


@pytest.mark.parametrize("at", [0, 5])
def test_a_stalled_stream_is_silent_and_its_reader_is_seen_to_leave(emulator: EmulatorProcess, at: int) -> None:
    with connect(emulator.url) as caller:
        caller.sendall(request_bytes("converse-stream", asking(scripted(tokens=9, fault="stall", at=at))))
        emulator.wait_for(lambda calls: [call["deltas_sent"] for call in calls] == [at])
        received = read_until_silent(caller, 0.3)
        assert len(events(chunks(received + b"0\r\n"))) == 1 + at
        assert emulator.calls()[0]["ended"] is None
        left = time.time()
    (call,) = emulator.wait_for(lambda calls: calls[0]["ended"] is not None, seconds=0.5)
    assert call["ended"] == "closed_by_client"
    assert call["deltas_sent"] == at
    assert call["ended_at"] - left < 0.5


def test_a_fault_strikes_only_the_first_times(bedrock: "BedrockRuntimeClient", emulator: EmulatorProcess) -> None:
    script = scripted(text="there", fault="throttle", times=2)
    for _ in range(2):
        with pytest.raises(ClientError):
            converse_events(bedrock, script)
    assert text_of(converse_events(bedrock, script)) == "there"
    with pytest.raises(ClientError):  # another text has its own count
        converse_events(bedrock, script + " ")
    emulator.forget()
    with pytest.raises(ClientError):
        converse_events(bedrock, script)


def test_a_fault_beyond_the_last_delta_strikes_after_it(bedrock: "BedrockRuntimeClient") -> None:
    seen, error = converse_until_broken(bedrock, scripted(tokens=3, fault="stream_error", at=50))
    assert len(texts_of(seen)) == 3
    assert isinstance(error, EventStreamError)


@pytest.mark.parametrize(
    ("fault", "code"), [(fault, code) for fault, code, _ in REFUSED] + [("stream_error", "ModelErrorException")]
)
def test_without_a_stream_a_refusal_is_an_http_error_wherever_it_strikes(
    bedrock: "BedrockRuntimeClient", fault: str, code: str
) -> None:
    for at in (0, 3):
        with pytest.raises(ClientError) as caught:
            bedrock.converse(modelId=MODEL, messages=cast(Any, said_by_user(scripted(fault=fault, at=at))))
        assert caught.value.response.get("Error", {}).get("Code") == code


def test_without_a_stream_a_cut_socket_gives_no_response(bedrock: "BedrockRuntimeClient") -> None:
    with pytest.raises(Closed):
        bedrock.converse(modelId=MODEL, messages=cast(Any, said_by_user(scripted(fault="disconnect"))))


def test_a_whole_answer_that_stalls_is_closed_by_its_caller(emulator: EmulatorProcess) -> None:
    with connect(emulator.url) as caller:
        caller.sendall(request_bytes("converse", asking(scripted(fault="stall"))))
        emulator.wait_for(lambda calls: len(calls) == 1)
    emulator.wait_for(lambda calls: calls[0]["ended"] == "closed_by_client", seconds=0.5)


def test_an_invoke_stream_fails_in_the_same_ways(bedrock: "BedrockRuntimeClient") -> None:
    body = anthropic_body(scripted(tokens=9, fault="unavailable", at=2))
    stream = cast(Any, bedrock.invoke_model_with_response_stream(modelId=MODEL, body=body)["body"])
    with closing(stream), pytest.raises(EventStreamError, match="serviceUnavailableException"):
        for _ in stream:
            pass
