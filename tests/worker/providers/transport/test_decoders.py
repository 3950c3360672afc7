"""Server-sent events and lines of JSON, fed with pieces that are split at any byte."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from urllib3.exceptions import ProtocolError

from millrace.worker.providers.transport.decoders import NdjsonDecoder, ServerSentEvent, SseDecoder

TEXTS = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20)
LINES = st.one_of(
    TEXTS.map("data: {}".format),
    TEXTS.map("data:{}".format),
    st.sampled_from(["event: message_start", "event:x", "data", ": ping", ":", "id: 1", "retry: 5", "unknown", "", ""]),
    TEXTS,
)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])


def cut(whole: bytes, places: set[int]) -> list[bytes]:
    return [whole[start:end] for start, end in pairwise([0, *sorted(places), len(whole)])]


def decode_by_the_standard(body: bytes) -> list[ServerSentEvent]:
    """Return the events by a direct reading of the standard, from the whole body."""
    text = body.decode().removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    events: list[ServerSentEvent] = []
    name, data = "", ""
    for line in text.split("\n")[:-1]:
        if not line:
            if data:
                events.append(ServerSentEvent(name, data.removesuffix("\n").encode()))
            name, data = "", ""
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data += value + "\n"
    return events


@given(st.lists(st.tuples(LINES, ENDS), max_size=30), st.booleans(), st.data())
@example([("data: a", "\r\n"), ("", "\r"), ("", "\n")], True, None)  # pyright: ignore[reportArgumentType]
def test_the_events_are_those_of_the_standard_wherever_the_bytes_are_split(
    lines: list[tuple[str, str]], has_mark: bool, data: st.DataObject | None
) -> None:
    whole = (("\ufeff" if has_mark else "") + "".join(line + end for line, end in lines)).encode()
    places = data.draw(st.sets(st.integers(0, len(whole)))) if data else set(range(len(whole)))
    decoder = SseDecoder()
    events = [event for piece in cut(whole, places) for event in decoder.decode(piece)]
    assert events == decode_by_the_standard(whole)


def test_an_event_is_decoded_with_its_last_byte_and_not_before() -> None:
    for end in (b"\n\n", b"\r\r", b"\r\n\r\n", b"\n\r", b"\r\n\n"):
        decoder = SseDecoder()
        found = [decoder.decode(bytes([byte])) for byte in b"data: {}" + end]
        at = len(found) - 1 - (end == b"\r\n\r\n")  # CR ends the line, and LF behind it is a part of the end
        assert [len(each) for each in found] == [int(place == at) for place in range(len(found))], end


def test_a_last_event_without_its_empty_line_counts_if_its_json_is_whole() -> None:
    whole = b'event: x\ndata: {"a":\ndata: 1}'
    for end in (b"", b"\n", b"\r", b"\r\n"):
        decoder = SseDecoder()
        assert decoder.decode(whole + end) == []
        assert decoder.end() == [ServerSentEvent("x", b'{"a":\n1}')]
        assert (decoder.end(), decoder.stray_lines()) == ([], b"")
    for size in range(len(whole)):
        decoder = SseDecoder()
        assert [*decoder.decode(whole[:size]), *decoder.end()] == [], whole[:size]


def test_an_event_that_is_too_long_is_rejected_at_its_limit() -> None:
    for piece in (b"data: " + b"x" * 101, b"data: xxxx\n" * 26, b"\ndata: " + b"x" * 101 + b"\n\n"):
        with pytest.raises(ProtocolError, match="longer than 100 bytes"):
            SseDecoder(100).decode(piece)
    decoder = SseDecoder(100)
    assert all(decoder.decode(b"data: " + b"x" * 90 + b"\n\n") for _ in range(9)), "each event has its own limit"
    split = SseDecoder(100)
    with pytest.raises(ProtocolError):
        [split.decode(b"x") for _ in range(101)]


@given(st.lists(TEXTS, max_size=12), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.data())
def test_lines_of_json_are_the_same_wherever_the_bytes_are_split(
    lines: list[str], end: str, is_ended: bool, data: st.DataObject
) -> None:
    whole = end.join(lines).encode() + (end.encode() if is_ended else b"")
    places = data.draw(st.sets(st.integers(0, len(whole))))
    decoder = NdjsonDecoder()
    found = [line for piece in cut(whole, places) for line in decoder.decode(piece)] + decoder.end()
    marked = [line.encode().removeprefix(b"\xef\xbb\xbf" if at == 0 else b"").strip() for at, line in enumerate(lines)]
    assert found == [line for line in marked if line]
    with pytest.raises(ProtocolError):
        NdjsonDecoder(10).decode(b"x" * 11)


def test_lines_that_are_of_no_event_are_kept_for_whoever_looks_for_an_error_in_them() -> None:
    body = b'data: 1\n\n: ping\nid: 5\n{\r\n  "error": {"code": 429}\r\n}'
    for places in ({len(body) - 1}, {20, 30}, set(range(len(body)))):
        decoder = SseDecoder()
        events = [event for piece in cut(body, places) for event in decoder.decode(piece)]
        assert [*events, *decoder.end()] == [ServerSentEvent("", b"1")]
        assert decoder.stray_lines() == b'{\n  "error": {"code": 429}\n}'
    endless = SseDecoder()
    for _ in range(1000):
        endless.decode(b"x" * 1000 + b"\n")
    assert len(endless.stray_lines()) <= 65_536
