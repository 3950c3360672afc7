"""The event stream decoder gives the same events and errors as botocore's, for any stream split at any byte."""

import json
import struct
from base64 import b64encode
from collections.abc import Iterable
from typing import Any
from zlib import crc32

import pytest
from botocore.eventstream import EventStream, EventStreamBuffer
from botocore.parsers import EventStreamJSONParser
from botocore.session import get_session
from hypothesis import given
from hypothesis import strategies as st

from millrace.worker.providers.bedrock.event_stream import (
    MAX_MESSAGE_BYTES,
    Event,
    EventStreamDecoder,
    decode_chunk,
)

SHAPE: Any = get_session().get_service_model("bedrock-runtime").shape_for("ConverseStreamOutput")
KINDS = [*SHAPE.members, "somethingNew", "initial-response"]

Result = tuple[list[Event], str]
"""The events, and the `repr` of the error that ended them, or an empty string."""


class Pieces:
    """A raw stream as botocore reads it."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.pieces = pieces

    def stream(self) -> Iterable[bytes]:
        return self.pieces


def stream_of(pieces: Iterable[bytes] = ()) -> Any:
    return EventStream(Pieces(pieces), SHAPE, EventStreamJSONParser(), "ConverseStream")


def collect(events: Iterable[Event]) -> Result:
    collected: list[Event] = []
    try:
        collected.extend(events)
    except Exception as error:  # noqa: BLE001 - any error must be the same on both sides
        return collected, repr(error)
    return collected, ""


def decode(pieces: list[bytes]) -> Result:
    decoder = EventStreamDecoder(stream_of()._parse_event)
    return collect(event for piece in pieces for event in decoder.decode(piece))


def assert_same_as_botocore(pieces: list[bytes]) -> Result:
    """Return the result of both decoders."""
    result = decode(pieces)
    assert result == collect(stream_of(pieces))
    return result


def header(name: bytes, kind: int, value: bytes) -> bytes:
    return struct.pack(">B", len(name)) + name + struct.pack(">B", kind) + value


def text(name: bytes, value: bytes) -> bytes:
    return header(name, 7, struct.pack(">H", len(value)) + value)


def message(headers: bytes, payload: bytes) -> bytes:
    lengths = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    body = lengths + struct.pack(">I", crc32(lengths)) + headers + payload
    return body + struct.pack(">I", crc32(body))


def headers_of(kind: str, name: str, *more: bytes) -> bytes:
    fields = (text(b":content-type", b"application/json"), text(b":message-type", kind.encode()))
    return b"".join([text(b":%b-type" % kind.encode(), name.encode()), *fields, *more])


def delta_message(delta: Any, **more: Any) -> bytes:
    payload = json.dumps({"contentBlockIndex": 0, "delta": delta, "p": "abc"} | more).encode()
    return message(headers_of("event", "contentBlockDelta"), payload)


SCALARS = st.none() | st.booleans() | st.integers() | st.text(st.characters(), max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["text", "input", "x"]), inner),
    max_leaves=4,
)
DELTAS = st.dictionaries(
    st.sampled_from(["text", "reasoningContent", "toolUse", "citation", "new"]),
    VALUES | st.fixed_dictionaries({"text": SCALARS}) | st.fixed_dictionaries({"input": SCALARS}),
    max_size=2,
)
PAYLOADS = st.dictionaries(st.sampled_from(["contentBlockIndex", "delta", "p", "role", "new"]), VALUES | DELTAS)
DELTA_MESSAGES = st.builds(
    delta_message, st.builds(dict, text=st.text(st.characters())) | DELTAS, contentBlockIndex=VALUES | st.just(0)
)
EXTRAS = st.sampled_from(
    [b"", text(b"x", b"y"), header(b"n", 0, b""), header(b"n", 4, b"\0\0\0\1"), header(b"n", 8, bytes(8)), b"\x01"]
)
HEADERS = st.builds(headers_of, st.sampled_from(["event", "exception", "error"]), st.sampled_from(KINDS), EXTRAS)
OTHER_MESSAGES = st.builds(
    message, HEADERS, st.builds(lambda it: json.dumps(it).encode(), PAYLOADS) | st.binary(max_size=9)
)


@given(st.lists(DELTA_MESSAGES | OTHER_MESSAGES, max_size=6), st.data())
def test_any_stream_split_anywhere_decodes_as_with_botocore(messages: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(messages)
    places = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=8)))
    assert_same_as_botocore([whole[start:end] for start, end in zip([0, *places], [*places, len(whole)], strict=True)])


@given(st.lists(DELTA_MESSAGES, min_size=1, max_size=3), st.data())
def test_a_flipped_bit_anywhere_ends_as_with_botocore(messages: list[bytes], data: st.DataObject) -> None:
    whole = bytearray(b"".join(messages))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= 1 << data.draw(st.integers(0, 7))
    half = data.draw(st.integers(0, len(whole)))
    assert_same_as_botocore([bytes(whole[:half]), bytes(whole[half:])])


@pytest.mark.parametrize(
    "delta", [{"text": "Hé\ud83d"}, {"text": ""}, {"reasoningContent": {"text": "…"}}, {"toolUse": {"input": '{"a'}}]
)
def test_deltas_are_decoded_without_botocore(delta: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = assert_same_as_botocore([delta_message(delta)])
    monkeypatch.delattr(EventStreamBuffer, "add_data")
    assert decode([delta_message(delta)]) == expected
    assert expected == ([{"contentBlockDelta": {"contentBlockIndex": 0, "delta": delta}}], "")


def test_an_unknown_event_is_left_to_botocore_and_decoding_continues() -> None:
    unknown = message(headers_of("event", "somethingNew"), b'{"delta": {"text": "no"}}')
    events, error = assert_same_as_botocore([delta_message({"text": "a"}) + unknown + delta_message({"text": "b"})])
    assert ([event["contentBlockDelta"]["delta"]["text"] for event in events], error) == (["a", "b"], "")


def test_a_delta_with_an_unknown_field_is_left_to_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [delta_message({"text": "a"}, new=1)]
    events, _ = assert_same_as_botocore(pieces)
    assert events == [{"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "a"}}}]
    monkeypatch.setattr(EventStreamBuffer, "add_data", lambda *_: 1 / 0)
    assert decode(pieces)[1] == "ZeroDivisionError('division by zero')"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"contentBlockIndex": 0, "delta": {"text": "a"}} ',
        b' {"contentBlockIndex": 0, "delta": {"text": "a"}}',
        b'{"contentBlockIndex": 0, "delta": {"text": "a"}}}',
        b'{"contentBlockIndex": 0, "delta": {"text": "\xff"}}',
        b'{"contentBlockIndex": 0, "delta": {"text": null}}',
        b'{"contentBlockIndex": 0, "delta": {"text": "a", "text": "b"}}',
        b'{"contentBlockIndex": 0, "delta": {"text": "a", "toolUse": {"input": "b"}}}',
        b'{"contentBlockIndex": 0, "delta": {"new": {"text": "a"}}}',
        b'{"contentBlockIndex": 0, "delta": {"toolUse": {"input": null}}}',
        b'{"contentBlockIndex": 0, "delta": {"toolUse": {"input": "a", "new": "b"}}}',
        b'{"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "a", "signature": "b"}}}',
        b'{"contentBlockIndex": 0, "delta": {}}',
        b'{"contentBlockIndex": 0, "delta": null}',
        b'{"contentBlockIndex": null, "delta": {"text": "a"}}',
        b'{"delta": {"text": "a"}}',
        b'{"contentBlockIndex": 0}',
    ],
)
def test_a_malformed_delta_decodes_as_with_botocore(payload: bytes) -> None:
    assert_same_as_botocore([message(headers_of("event", "contentBlockDelta"), payload), delta_message({"text": "b"})])


@pytest.mark.parametrize("kind", ["exception", "error", "new"])
def test_a_delta_of_another_message_type_decodes_as_with_botocore(kind: str) -> None:
    assert_same_as_botocore(
        [message(headers_of(kind, "contentBlockDelta"), b'{"contentBlockIndex": 0, "delta": {"text": "a"}}')]
    )


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4, 5, 8, 9])
def test_a_delta_with_an_extra_header_is_left_to_botocore(kind: int) -> None:
    sizes = {2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
    headers = headers_of("event", "contentBlockDelta", header(b"n", kind, bytes(sizes.get(kind, 0))))
    events, error = assert_same_as_botocore([message(headers, b'{"contentBlockIndex": 0, "delta": {"text": "a"}}')])
    assert (len(events), error) == (1, "")


def test_an_unknown_header_type_is_left_to_botocore_and_rejected() -> None:
    unknown_type = message(headers_of("event", "contentBlockDelta", header(b"n", 10, b"\0\0")), b"{}")
    events, error = assert_same_as_botocore([delta_message({"text": "a"}), unknown_type, delta_message({"text": "b"})])
    assert (len(events), error) == (1, "KeyError(10)")


def test_a_corrupt_message_ends_the_stream_after_the_events_before_it() -> None:
    corrupt = delta_message({"text": "b"})[:-1] + b"\0"
    events, error = assert_same_as_botocore([delta_message({"text": "a"}) + corrupt + delta_message({"text": "c"})])
    assert len(events) == 1
    assert error.startswith("ChecksumMismatch")


def test_an_exception_within_the_stream_is_raised_as_botocore_raises_it() -> None:
    exception = message(headers_of("exception", "throttlingException"), b'{"message": "slow down"}')
    _, error = assert_same_as_botocore([delta_message({"text": "a"}) + exception])
    assert "throttlingException" in error


@pytest.mark.parametrize(
    ("length", "headers"), [(0, 0), (12, 0), (15, 0), (16, 1), (40, 1 << 17), (40, 1 << 18), ((24 << 20) + 17, 0)]
)
def test_after_invalid_lengths_the_rest_of_the_stream_is_left_to_botocore(length: int, headers: int) -> None:
    lengths = struct.pack(">II", length, headers)
    odd = lengths + struct.pack(">I", crc32(lengths)) + bytes(40)
    assert_same_as_botocore([delta_message({"text": "a"}) + odd[:20], odd[20:], delta_message({"text": "b"})])


def test_after_a_message_beyond_the_limit_the_rest_of_the_stream_is_left_to_botocore() -> None:
    long = delta_message({"text": "a" * MAX_MESSAGE_BYTES})
    within = delta_message({"text": "within"})
    rest = long[1000 + len(within) :]
    # A part of the message is replaced, so its CRC is wrong, which shows only once the last bytes have arrived.
    _, error = assert_same_as_botocore([long[:1000], within, rest[:-5], rest[-5:]])
    assert error.startswith("ChecksumMismatch")
    assert len(assert_same_as_botocore([long[:-5], long[-5:], delta_message({"text": "b"})])[0]) == 2


CHUNK_SHAPE: Any = get_session().get_service_model("bedrock-runtime").shape_for("ResponseStream")


def chunk_message(**payload: Any) -> bytes:
    return message(headers_of("event", "chunk"), json.dumps(payload).encode())


def decode_chunks(pieces: list[bytes]) -> Result:
    """Return the result of the decoder; asserts that botocore's is the same."""
    raw: Any = Pieces(pieces)
    stream: Any = EventStream(raw, CHUNK_SHAPE, EventStreamJSONParser(), "InvokeModelWithResponseStream")
    decoder = EventStreamDecoder(stream._parse_event, decode_chunk)
    result = collect(event for piece in pieces for event in decoder.decode(piece))
    assert result == collect(stream)
    return result


@given(st.lists(st.binary(max_size=20), max_size=5), st.data())
def test_chunks_split_anywhere_decode_as_with_botocore(chunks: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(chunk_message(bytes=b64encode(each).decode(), p="abc") for each in chunks)
    places = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=8)))
    pieces = [whole[start:end] for start, end in zip([0, *places], [*places, len(whole)], strict=True)]
    assert decode_chunks(pieces) == ([{"chunk": {"bytes": each}} for each in chunks], "")


def test_chunks_are_decoded_without_botocore_and_all_others_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = chunk_message(bytes="YQ==", p="abc")
    odd = [chunk_message(), chunk_message(bytes=None), message(headers_of("event", "chunk"), b"{")]
    for each in (*odd, whole[:-1] + b"\0", delta_message({"text": "a"}), message(headers_of("error", "x"), b"{}")):
        decode_chunks([whole, each, whole])
    monkeypatch.delattr(EventStreamBuffer, "add_data")
    assert [decode_chunk(each) for each in (whole, *odd)] == [{"chunk": {"bytes": b"a"}}, None, None, None]
