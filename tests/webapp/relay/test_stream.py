"""The event stream over a real gunicorn: order, cursors, resuming, and its clean end."""

import random
import time

from millrace.worker.contract.events import Chunk
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.log import read
from millrace.worker.contract.redis.connection import Redis, connect
from millrace.worker.contract.redis.streams import Streams
from tests.valkey import ValkeyProcess
from tests.webapp.relay.conftest import SETTINGS
from tests.webapp.relay.log_writer import COMPLETE, DONE, LogWriter
from tests.webapp.relay.relay_server import RelayServer, StreamClient
from tests.webapp.relay.wire_format import events_in, is_heartbeat


def logged(redis: Redis, writer: LogWriter) -> bytes:
    """The SSE frames of the whole log."""
    entries = read(Streams(redis), writer.generation).entries
    return b"".join(b"data: %b\nid: %b\n\n" % (entry.data, str(entry.cursor).encode()) for entry in entries)


def test_reader_gets_existing_events_then_new_ones_then_a_clean_end(
    server: RelayServer, redis: Redis, writer: LogWriter
) -> None:
    writer.chunks("a", "b")
    with server.follow(writer.generation) as stream:
        assert stream.status == 200
        assert [event["type"] for _, event in stream.events(3)] == ["status", "chunk", "chunk"]
        writer.chunks("c")
        assert stream.events(4)[3][1] == {"type": "chunk", "content": "c"}
        writer.end()
        stream.rest()
        assert stream.is_ended
        opening, events = bytes(stream.body).split(b"\n\n", 1)
        assert events == logged(redis, writer)
        comment, retry, heartbeat = opening.split(b"\n", 2)
        assert is_heartbeat(heartbeat)
        assert comment.startswith(b":")
        assert 1000 <= int(retry.removeprefix(b"retry: ")) <= 2000


def test_headers_are_those_of_the_protocol(server: RelayServer, writer: LogWriter) -> None:
    with server.follow(writer.generation) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-cache, no-store, no-transform"
        assert stream.headers["x-accel-buffering"] == "no"
        assert stream.headers["x-content-type-options"] == "nosniff"
        assert stream.headers["connection"] == "close"
        assert float(stream.headers["millrace-heartbeat-seconds"]) == SETTINGS.relay.heartbeat_seconds


def test_reader_resumes_at_the_next_event_after_any_cursor(
    server: RelayServer, redis: Redis, writer: LogWriter
) -> None:
    writer.chunks(*"abcdef")
    writer.end()
    whole = logged(redis, writer)
    with server.follow(writer.generation) as stream:
        events = stream.rest()
    for number, (cursor, _) in enumerate(events[:-1], 1):
        with server.follow(writer.generation, cursor) as stream:
            stream.rest()
            assert events_in(bytes(stream.body)) == b"\n\n".join(whole.split(b"\n\n")[number:])


def test_interrupted_frame_is_sent_again(server: RelayServer, writer: LogWriter) -> None:
    writer.chunks("a", "b" * 50_000)
    with server.follow(writer.generation) as stream:
        stream.read_until(b'"a"')
        cursor = stream.frames()[1][0]
    writer.chunks("c")
    with server.follow(writer.generation, cursor) as stream:
        assert [event["content"] for _, event in stream.events(2)] == ["b" * 50_000, "c"]


def test_reader_that_reconnects_during_the_answer_misses_nothing(
    server: RelayServer, redis: Redis, writer: LogWriter
) -> None:
    chance, body, cursor, written = random.Random(5), b"", "", 0
    while written < 300:
        with server.follow(writer.generation, cursor) as stream:
            count = chance.randint(1, 12)
            writer.chunks(*(f"{written + number} " for number in range(count + 3)))
            written += count + 3
            cursor = stream.events(count)[-1][0]
            body += b"\n\n".join(events_in(bytes(stream.body)).split(b"\n\n")[:count]) + b"\n\n"
    writer.end()
    with server.follow(writer.generation, cursor) as stream:
        stream.rest()
        assert body + events_in(bytes(stream.body)) == logged(redis, writer)


def test_two_readers_get_the_same_events(server: RelayServer, writer: LogWriter) -> None:
    with server.follow(writer.generation) as one, server.follow(writer.generation) as other:
        writer.chunks("a", "b")
        writer.end()
        assert one.rest() == other.rest()
        assert len(one.frames()) == 5


def test_after_the_end_only_the_last_cursor_is_204(server: RelayServer, writer: LogWriter) -> None:
    writer.chunks("a")
    writer.end()
    with server.follow(writer.generation, str(writer.last)) as stream:
        assert stream.status == 204
    with server.follow(writer.generation) as stream:
        assert [event["type"] for _, event in stream.rest()] == ["status", "chunk", "complete", "done"]


def test_cursor_ahead_of_the_log_gets_a_snapshot_and_later_events(server: RelayServer, writer: LogWriter) -> None:
    writer.chunks("a", "b")
    with server.follow(writer.generation, "4000000000-77") as stream:
        cursor, snapshot = stream.events(1)[0]
        assert snapshot["type"] == "snapshot"
        assert (snapshot["content"], cursor) == ("ab", str(writer.last))
        writer.chunks("c")
        assert stream.events(2)[1][1]["content"] == "c"


def test_unknown_cursor_gets_a_snapshot_before_the_outcome(server: RelayServer, writer: LogWriter) -> None:
    writer.chunks("a", "b")
    writer.end()
    with server.follow(writer.generation, "1-2") as stream:
        assert [event["type"] for _, event in stream.rest()] == ["snapshot", "complete", "done"]
        assert stream.frames()[0][1]["content"] == "ab"


def test_reader_at_the_last_event_ends_with_the_answer(server: RelayServer, writer: LogWriter) -> None:
    writer.chunks("a")
    with server.follow(writer.generation) as first:
        first.events(2)
        writer.end()
        assert len(first.rest()) == 4
    server.wait_for_readers(0)


def test_sweep_delivers_everything_when_every_publish_is_lost(
    server: RelayServer, redis: Redis, writer: LogWriter
) -> None:
    with server.follow(writer.generation) as stream:
        stream.events(1)
        writer.write_silently(*(Chunk(str(number)) for number in range(700)))
        began = time.monotonic()
        stream.events(701)
        assert time.monotonic() - began < 20
        writer.write_silently(COMPLETE, DONE)
        stream.rest()
        assert [int(cursor.split("-")[1]) for cursor, _ in stream.frames()] == list(range(1, 704))


def test_next_message_repairs_a_lost_publish(own_valkey: ValkeyProcess, unswept_server: RelayServer) -> None:
    writer = LogWriter(connect(own_valkey.url), SETTINGS)
    with unswept_server.follow(writer.generation) as stream:
        stream.events(1)
        writer.write_silently(Chunk("a"))
        writer.chunks("b")
        assert [event.get("content") for _, event in stream.events(3)] == [None, "a", "b"]


def test_long_log_is_replayed_whole(server: RelayServer, redis: Redis, writer: LogWriter) -> None:
    writer.chunks(*(f"{number:0200}" for number in range(3000)))
    with server.follow(writer.generation) as one, server.follow(writer.generation, "0-1") as other:
        one.events(3001)
        writer.end()
        one.rest()
        other.rest()
        assert events_in(bytes(one.body)) == logged_pages(redis, writer)
        assert len(other.frames()) == 3002


def logged_pages(redis: Redis, writer: LogWriter) -> bytes:
    entries = read(Streams(redis), writer.generation, count=10_000).entries
    return b"".join(b"data: %b\nid: %b\n\n" % (entry.data, str(entry.cursor).encode()) for entry in entries)


def test_blocking_entries_are_those_of_the_log(server: RelayServer, redis: Redis, writer: LogWriter) -> None:
    writer.chunks("a", "b")
    writer.end()
    expected = [[str(entry.cursor), entry.data.decode()] for entry in read(Streams(redis), writer.generation).entries]
    with StreamClient(server.port, f"/{writer.generation}/entries/5.0") as answer:
        assert answer.json() == expected
    server.wait_for_readers(0)


def test_blocking_entries_end_at_the_time_limit(server: RelayServer, writer: LogWriter) -> None:
    with StreamClient(server.port, f"/{writer.generation}/entries/0.5") as answer:
        assert len(answer.json()) == 1
    server.wait_for_readers(0)


def test_blocking_entries_after_the_last_cursor_end_before_the_time_limit(
    server: RelayServer, writer: LogWriter
) -> None:
    writer.chunks("a")
    writer.end()
    began = time.monotonic()
    with StreamClient(server.port, f"/{writer.generation}/entries/20.0?after={writer.last}") as answer:
        assert answer.json() == []
    assert time.monotonic() - began < 20


def test_forged_messages_and_entries_are_never_passed_on(server: RelayServer, redis: Redis, writer: LogWriter) -> None:
    """Publish everything that is not the next event, in turn with real ones: the reader gets the log, and only that."""
    other = LogWriter(redis, SETTINGS)
    channel = keys_of(writer.generation).channel
    frame = b'}\nid: 9-9\n\ndata: {"type":"chunk","content":"forged"}'
    with server.follow(writer.generation) as stream, server.follow(other.generation) as second:
        stream.events(1)
        second.events(1)
        for number in range(1, 4):
            following = b"%d-%d" % (writer.claim.epoch, writer.last.seq + 1)
            for forged in (
                following + b' {"type":"chunk","content":"forged"' + frame,
                following + b' {"type":"chunk","content":"forged"\r\r}',
                following + b' {"type":"chunk","content":"forged',
                following + b' ["forged"]',
                *(
                    following,
                    following + b" ",
                    b"",
                    b"\n",
                    b"forged",
                    b"1-",
                    b"-",
                    b"9" * 5000 + b"-1 {}",
                    b"\xff-1 {}",
                ),
            ):
                redis.publish(channel, forged)
            writer.chunks(str(number))
            assert stream.events(1 + number)[-1][1] == {"type": "chunk", "content": str(number)}
        writer.end()
        other.chunks("still here")
        assert [event["type"] for _, event in stream.rest()] == ["status", *["chunk"] * 3, "complete", "done"]
        assert b"forged" not in stream.body
        assert second.events(2)[-1][1]["content"] == "still here"
    assert "pubsub_connection_failed" not in server.log.read_text()
