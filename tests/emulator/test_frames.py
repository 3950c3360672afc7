"""The event-stream encoder, against botocore's decoder."""

import json
from typing import Any

import pytest
from botocore.eventstream import ChecksumMismatch, EventStreamBuffer, ParserError
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.emulator.frames import corrupted, event, exception

any_text = st.text(st.characters(exclude_categories=()), max_size=60)  # lone surrogates too
payloads = st.dictionaries(st.sampled_from(["text", "delta", "n"]), any_text | st.integers(), min_size=1)


def decoded(data: bytes) -> list[Any]:
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return list(buffer)


@given(payload=payloads)
def test_botocore_decodes_what_was_encoded(payload: dict[str, Any]) -> None:
    (message,) = decoded(event("contentBlockDelta", payload))
    assert message.headers == {
        ":event-type": "contentBlockDelta",
        ":content-type": "application/json",
        ":message-type": "event",
    }
    assert without_padding(message.payload) == payload


def test_an_exception_is_named_in_its_headers() -> None:
    (message,) = decoded(exception("throttlingException", {"message": "slower"}))
    assert message.headers[":message-type"] == "exception"
    assert message.headers[":exception-type"] == "throttlingException"
    assert json.loads(message.payload) == {"message": "slower"}


@given(payloads=st.lists(payloads, min_size=1, max_size=5), cut=st.integers(1, 50))
def test_messages_are_found_however_the_bytes_are_cut(payloads: list[dict[str, Any]], cut: int) -> None:
    data = b"".join(event("chunk", payload) for payload in payloads)
    buffer = EventStreamBuffer()
    found: list[Any] = []
    for start in range(0, len(data), cut):
        buffer.add_data(data[start : start + cut])
        found += [without_padding(message.payload) for message in buffer]
    assert found == payloads


@settings(max_examples=10, deadline=None)
@given(payload=payloads)
def test_no_flipped_bit_goes_unnoticed(payload: dict[str, Any]) -> None:
    frame = event("contentBlockDelta", payload)
    for position in range(len(frame) * 8):
        flipped = bytearray(frame)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises(ParserError):
            decoded(bytes(flipped))


def test_a_corrupted_message_fails_by_its_checksum() -> None:
    with pytest.raises(ChecksumMismatch):
        decoded(corrupted(event("messageStop", {"stopReason": "end_turn"})))


def test_equal_payloads_are_padded_alike_and_others_differently() -> None:
    frames = [event("contentBlockDelta", {"text": str(number)}) for number in range(10)]
    assert frames == [event("contentBlockDelta", {"text": str(number)}) for number in range(10)]
    assert len({len(frame) for frame in frames}) > 3


def without_padding(payload: bytes) -> dict[str, Any]:
    value = json.loads(payload)
    assert set(value.pop("p")) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
    return value
