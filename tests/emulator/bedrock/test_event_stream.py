"""Tests of the event-stream encoder against botocore's decoder."""

import json
from typing import Any

import pytest
from botocore.eventstream import ChecksumMismatch, EventStreamBuffer, ParserError
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.emulator.bedrock.event_stream import EventStreamFormat, encode_event, encode_exception

any_text = st.text(st.characters(exclude_categories=()), max_size=60)  # including lone surrogates
payloads = st.dictionaries(st.sampled_from(["text", "delta", "n"]), any_text | st.integers(), min_size=1)


def decode(data: bytes) -> list[Any]:
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return list(buffer)


@given(payload=payloads)
def test_botocore_decodes_every_encoded_event(payload: dict[str, Any]) -> None:
    (message,) = decode(encode_event("contentBlockDelta", payload))
    assert message.headers == {
        ":event-type": "contentBlockDelta",
        ":content-type": "application/json",
        ":message-type": "event",
    }
    assert without_padding(message.payload) == payload


def test_exception_has_its_type_in_the_headers() -> None:
    (message,) = decode(encode_exception("throttlingException", {"message": "slower"}))
    assert message.headers[":message-type"] == "exception"
    assert message.headers[":exception-type"] == "throttlingException"
    assert json.loads(message.payload) == {"message": "slower"}


@given(payloads=st.lists(payloads, min_size=1, max_size=5), cut=st.integers(1, 50))
def test_messages_are_decoded_from_any_split_of_the_bytes(payloads: list[dict[str, Any]], cut: int) -> None:
    data = b"".join(encode_event("chunk", payload) for payload in payloads)
    buffer = EventStreamBuffer()
    decoded: list[Any] = []
    for start in range(0, len(data), cut):
        buffer.add_data(data[start : start + cut])
        decoded += [without_padding(message.payload) for message in buffer]
    assert decoded == payloads


@settings(max_examples=10)
@given(payload=payloads)
def test_every_flipped_bit_is_detected(payload: dict[str, Any]) -> None:
    encoded = encode_event("contentBlockDelta", payload)
    for position in range(len(encoded) * 8):
        flipped = bytearray(encoded)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises(ParserError):
            decode(bytes(flipped))


def test_corrupted_message_fails_its_checksum() -> None:
    with pytest.raises(ChecksumMismatch):
        decode(EventStreamFormat().corrupt(encode_event("messageStop", {"stopReason": "end_turn"})))


def test_padding_depends_on_the_payload_alone() -> None:
    messages = [encode_event("contentBlockDelta", {"text": str(number)}) for number in range(10)]
    assert messages == [encode_event("contentBlockDelta", {"text": str(number)}) for number in range(10)]
    assert len({len(message) for message in messages}) > 3


def without_padding(payload: bytes) -> dict[str, Any]:
    value = json.loads(payload)
    assert set(value.pop("p")) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
    return value
