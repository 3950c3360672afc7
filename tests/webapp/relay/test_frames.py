"""Frames: the same events in, the same bytes out, for any text."""

import re

from hypothesis import given
from hypothesis import strategies as st

from millrace.webapp.relay.frames import (
    HEARTBEAT,
    chunked,
    join,
    make_frame,
    payload_of,
    stream_end,
    stream_start,
)
from millrace.worker.contract.events import Chunk, Done, Snapshot, decode, encode
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.log import LogEntry
from tests.webapp.relay.wire_format import cursor_in, split, unchunked

CURSORS = st.builds(Cursor, st.integers(0, 9_999_999_999), st.integers(0, 9_999_999_999))


@given(st.lists(st.tuples(CURSORS, st.text(max_size=300)), min_size=1, max_size=20))
def test_joined_frames_carry_the_same_events_in_chunks(given_events: list[tuple[Cursor, str]]) -> None:
    frames = [make_frame(LogEntry(cursor, encode(Chunk(text)))) for cursor, text in given_events]
    body = unchunked(join(frames))
    assert body == b"".join(frame.body for frame in frames)
    lines = body.split(b"\n")
    assert [decode(line[6:]) for line in lines[0:-1:3]] == [Chunk(text) for _, text in given_events]
    assert [line[4:].decode() for line in lines[1::3]] == [str(cursor) for cursor, _ in given_events]
    assert set(lines[2::3]) == {b""}
    assert list(split(join(frames))) == [frame.payload for frame in frames]
    assert [(each.cursor, decode(each.data)) for each in (frame.entry for frame in frames)] == [
        (cursor, Chunk(text)) for cursor, text in given_events
    ]


@given(CURSORS, st.text(max_size=300))
def test_published_message_and_log_entry_make_the_same_payload(cursor: Cursor, text: str) -> None:
    data = encode(Chunk(text))
    assert payload_of(f"{cursor} ".encode() + data) == make_frame(LogEntry(cursor, data)).payload


@given(CURSORS, st.text(st.characters(codec=None), max_size=300))
def test_frame_has_three_lines_for_any_text(cursor: Cursor, text: str) -> None:
    frame = make_frame(LogEntry(cursor, encode(Chunk("\r\n\0\u2028\x85data: x\n\n" + text))))
    assert len(re.split(rb"\r\n|\r|\n", frame.body)) == 4
    assert frame.entry.cursor == frame.cursor == cursor_in(frame.payload) == cursor
    assert decode(frame.entry.data) == Chunk("\r\n\0\u2028\x85data: x\n\n" + text)


def test_only_the_done_event_makes_a_done_frame() -> None:
    for cursor in (Cursor(0, 1), Cursor(9_999_999_999, 9_999_999_999)):
        assert make_frame(LogEntry(cursor, encode(Done("completed")))).is_done
        for event in (Chunk('{"type":"done"'), Chunk('\ndata: {"type":"done"'), Snapshot("", "", [], [], "gap")):
            assert not make_frame(LogEntry(cursor, encode(event))).is_done


def test_id_follows_the_data_so_that_a_cut_between_them_loses_no_event() -> None:
    frame = make_frame(LogEntry(Cursor(3, 14), encode(Chunk("text"))))
    assert frame.body == b'data: {"type":"chunk","content":"text"}\nid: 3-14\n\n'


def test_stream_start_is_a_comment_a_retry_of_one_to_two_seconds_and_a_heartbeat() -> None:
    start = rb': millrace\nretry: (\d+)\nevent: ping\ndata: {"type":"ping","retry":\1,"seconds":0\.5}\n\n'
    found = {re.fullmatch(start, stream_start(0.5)) for _ in range(200)}
    times = {int(each[1]) for each in found if each}
    assert len(found) > 50
    assert min(times) >= 1000
    assert max(times) <= 2000


def test_heartbeat_and_stream_end_are_whole_frames() -> None:
    assert unchunked(chunked(HEARTBEAT)) == b'event: ping\ndata: {"type":"ping"}\n\n'
    end = rb'retry: (\d+)\nevent: ping\ndata: {"type":"ping","retry":\1}\n\n'
    assert re.fullmatch(end, unchunked(chunked(stream_end())))
