"""Tests of faults within a stream, as a boto3 client meets them."""

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.eventstream import ChecksumMismatch
from botocore.exceptions import EventStreamError

from tests.emulator.harness import (
    MODEL,
    anthropic_body,
    converse_until_error,
    decode_messages,
    emulate,
    event_names,
    split_chunks,
    stream_all,
    text_deltas,
)
from tests.emulator_process import EmulatorProcess

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("throttle", "throttlingException"),
        ("validation", "validationException"),
        ("unavailable", "serviceUnavailableException"),
        ("stream_error", "modelStreamErrorException"),
    ],
)
def test_service_error_after_a_delta_is_an_exception_in_the_stream(
    bedrock: "BedrockRuntimeClient", emulator: EmulatorProcess, fault: str, code: str
) -> None:
    events, error = converse_until_error(bedrock, emulate(tokens=9, fault=fault, at=4))
    assert len(text_deltas(events)) == 4
    assert isinstance(error, EventStreamError)
    assert error.response.get("Error", {}).get("Code") == code
    assert error.response.get("Error", {}).get("Message")
    (call,) = emulator.calls()
    assert (call["ended"], call["deltas_sent"]) == ("fault", 4)


def test_stream_error_is_in_the_stream_even_before_the_first_delta(bedrock: "BedrockRuntimeClient") -> None:
    events, error = converse_until_error(bedrock, emulate(fault="stream_error"))
    assert event_names(events) == ["messageStart"]
    assert isinstance(error, EventStreamError)


def test_fault_beyond_the_last_delta_follows_it(bedrock: "BedrockRuntimeClient") -> None:
    events, error = converse_until_error(bedrock, emulate(tokens=3, fault="stream_error", at=50))
    assert len(text_deltas(events)) == 3
    assert isinstance(error, EventStreamError)


def test_stream_without_message_stop_ends_its_http_response_in_order(bedrock: "BedrockRuntimeClient") -> None:
    events, error = converse_until_error(bedrock, emulate(tokens=9, fault="no_stop", at=5))
    assert error is None
    assert event_names(events) == ["messageStart", "contentBlockDelta"]
    assert len(text_deltas(events)) == 5


@pytest.mark.parametrize("at", [0, 5, 9])
def test_corrupt_message_fails_its_checksum(bedrock: "BedrockRuntimeClient", at: int) -> None:
    events, error = converse_until_error(bedrock, emulate(tokens=9, fault="corrupt", at=at))
    assert isinstance(error, ChecksumMismatch)
    assert len(text_deltas(events)) <= at


def test_invoke_stream_has_the_same_exceptions(bedrock: "BedrockRuntimeClient") -> None:
    body = anthropic_body(emulate(tokens=9, fault="unavailable", at=2))
    stream = cast(Any, bedrock.invoke_model_with_response_stream(modelId=MODEL, body=body)["body"])
    with closing(stream), pytest.raises(EventStreamError, match="serviceUnavailableException"):
        for _ in stream:
            pass


@pytest.mark.parametrize("at", [0, 2])
@pytest.mark.parametrize(
    ("fault", "code", "text"),
    [
        ({"in_stream": True, "code": "ModelTimeoutException"}, "", ""),  # botocore knows no such exception in a stream
        ({"in_stream": True, "kind": "error", "code": "Broken", "message": "No."}, "Broken", "No."),
        ({"in_stream": True, "exception": "validationException", "message": "No."}, "validationException", "No."),
        ({"in_stream": True, "code": "ThrottlingException", "body": {"message": None}}, "throttlingException", ""),
    ],
)
def test_any_exception_or_error_can_be_scripted_within_a_stream(
    bedrock: "BedrockRuntimeClient", at: int, fault: dict[str, Any], code: str, text: str
) -> None:
    events, error = converse_until_error(bedrock, emulate(tokens=9, fault=fault, at=at))
    assert len(text_deltas(events)) == at
    assert isinstance(error, EventStreamError)
    details = error.response.get("Error", {})
    assert (details.get("Code"), details.get("Message")) == (code, text)


def test_scripted_events_replace_the_whole_stream(emulator: EmulatorProcess) -> None:
    given = [{"contentBlockStart": {"start": {}}}, {"contentBlockDelta": {"delta": {"text": "a", "b": 1}}}, {"odd": []}]
    (response,) = stream_all(emulator.url, [emulate(events=given)], seconds=5)
    messages = decode_messages(split_chunks(response))
    assert [{headers[":event-type"]: json.loads(payload)} for headers, payload in messages] == given
    (call,) = emulator.calls()
    assert (call["ended"], call["deltas_sent"]) == ("finished", 3)


def test_a_fault_follows_the_scripted_events(bedrock: "BedrockRuntimeClient") -> None:
    given = [{"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": text}}} for text in "abc"]
    events, error = converse_until_error(bedrock, emulate(events=given, fault="throttle", at=2))
    assert text_deltas(events) == ["a", "b"]
    assert isinstance(error, EventStreamError)
