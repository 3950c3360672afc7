import re

from hypothesis import given
from hypothesis import strategies as st

from millrace.webapp.relay.frames import (
    HEARTBEAT_CHUNK,
    body_of,
    chunked,
    entry_in,
    farewell,
    frame_of,
    is_done,
    join,
    make_frame,
    opening,
    split,
)
from millrace.worker.contract.events import Chunk, Done, Snapshot, decode, encode
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.log import LogEntry

CURSORS = st.builds(Cursor, st.integers(0, 9_999_999_999), st.integers(0, 9_999_999_999))


def unchunked(raw: bytes) -> bytes:
    body = b""
    while raw:
        size, _, rest = raw.partition(b"\r\n")
        length = int(size, 16)
        body += rest[:length]
        assert rest[length : length + 2] == b"\r\n"
        raw = rest[length + 2 :]
    return body


@given(st.lists(st.tuples(CURSORS, st.text(max_size=300)), min_size=1, max_size=20))
def test_joined_frames_are_the_same_events_in_chunks(given_events: list[tuple[Cursor, str]]) -> None:
    frames = [make_frame(LogEntry(cursor, encode(Chunk(text)))) for cursor, text in given_events]
    body = unchunked(join(frames))
    assert body == b"".join(map(body_of, frames))
    lines = body.split(b"\n")
    assert [line[4:].decode() for line in lines[0:-1:3]] == [str(cursor) for cursor, _ in given_events]
    assert [decode(line[6:]) for line in lines[1::3]] == [Chunk(text) for _, text in given_events]
    assert set(lines[2::3]) == {b""}
    assert list(split(join(frames))) == frames
    assert [(each.cursor, decode(each.data)) for each in map(entry_in, frames)] == [
        (cursor, Chunk(text)) for cursor, text in given_events
    ]


@given(CURSORS, st.text(max_size=300))
def test_a_published_message_makes_the_same_frame_as_the_entry_in_the_log(cursor: Cursor, text: str) -> None:
    data = encode(Chunk(text))
    assert frame_of(f"{cursor} ".encode() + data) == make_frame(LogEntry(cursor, data))


@given(CURSORS, st.text(st.characters(codec=None), max_size=300))
def test_a_frame_is_three_lines_whatever_the_text_holds(cursor: Cursor, text: str) -> None:
    frame = make_frame(LogEntry(cursor, encode(Chunk("\r\n\0\u2028\x85data: x\n\n" + text))))
    assert len(re.split(rb"\r\n|\r|\n", body_of(frame))) == 4
    assert entry_in(frame).cursor == cursor
    assert decode(entry_in(frame).data) == Chunk("\r\n\0\u2028\x85data: x\n\n" + text)


def test_only_done_is_the_end() -> None:
    for cursor in (Cursor(0, 1), Cursor(9_999_999_999, 9_999_999_999)):
        assert is_done(make_frame(LogEntry(cursor, encode(Done("completed")))))
        for event in (Chunk('{"type":"done"'), Chunk('\ndata: {"type":"done"'), Snapshot("", "", [], [], "gap")):
            assert not is_done(make_frame(LogEntry(cursor, encode(event))))


def test_a_stream_opens_with_a_comment_and_a_retry_of_one_to_two_seconds() -> None:
    found = {re.fullmatch(rb": millrace\nretry: (\d+)\n\n", opening()) for _ in range(200)}
    times = {int(each[1]) for each in found if each}
    assert len(found) > 50
    assert min(times) >= 1000
    assert max(times) <= 2000


def test_comments_and_farewells_are_whole_frames() -> None:
    assert unchunked(HEARTBEAT_CHUNK) == b":\n\n"
    assert re.fullmatch(rb"retry: \d+\n\n", unchunked(chunked(farewell())))
