import random
import time

from millrace.worker.contract.connection import Redis, connect
from millrace.worker.contract.events import Chunk
from millrace.worker.contract.log import read
from tests.valkey import ValkeyProcess
from tests.webapp.relay.author import COMPLETE, DONE, Author
from tests.webapp.relay.conftest import SETTINGS
from tests.webapp.relay.serving import Served, Stream


def logged(redis: Redis, author: Author) -> bytes:
    """The SSE frames of the whole log."""
    entries = read(redis, author.generation).entries
    return b"".join(b"id: %b\ndata: %b\n\n" % (str(entry.cursor).encode(), entry.data) for entry in entries)


def test_a_reader_gets_what_is_there_and_what_comes_and_the_clean_end(
    web: Served, redis: Redis, author: Author
) -> None:
    author.chunks("a", "b")
    with web.follow(author.generation) as stream:
        assert stream.status == 200
        assert [event["type"] for _, event in stream.events(3)] == ["status", "chunk", "chunk"]
        author.chunks("c")
        assert stream.events(4)[3][1] == {"type": "chunk", "content": "c"}
        author.end()
        stream.rest()
        assert stream.is_ended
        opening, _, events = stream.body.partition(b"\n\n")
        assert events == logged(redis, author)
        comment, retry = opening.split(b"\n")
        assert comment.startswith(b":")
        assert 1000 <= int(retry.removeprefix(b"retry: ")) <= 2000


def test_the_headers_are_the_protocols(web: Served, author: Author) -> None:
    with web.follow(author.generation) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-cache, no-store, no-transform"
        assert stream.headers["x-accel-buffering"] == "no"
        assert stream.headers["x-content-type-options"] == "nosniff"
        assert stream.headers["connection"] == "close"


def test_a_reader_who_drops_after_any_event_resumes_at_the_very_next(web: Served, redis: Redis, author: Author) -> None:
    author.chunks(*"abcdef")
    author.end()
    whole = logged(redis, author)
    with web.follow(author.generation) as stream:
        events = stream.rest()
    for number, (cursor, _) in enumerate(events[:-1], 1):
        with web.follow(author.generation, cursor) as stream:
            stream.rest()
            assert stream.body.partition(b"\n\n")[2] == b"\n\n".join(whole.split(b"\n\n")[number:])


def test_a_reader_who_drops_in_the_middle_of_a_frame_is_sent_it_again(web: Served, author: Author) -> None:
    author.chunks("a", "b" * 50_000)
    with web.follow(author.generation) as stream:
        stream.read_until(b'"a"')
        cursor = stream.frames()[1][0]
    author.chunks("c")
    with web.follow(author.generation, cursor) as stream:
        assert [event["content"] for _, event in stream.events(2)] == ["b" * 50_000, "c"]


def test_a_reader_who_drops_while_the_answer_runs_misses_nothing(web: Served, redis: Redis, author: Author) -> None:
    chance, body, cursor, written = random.Random(5), b"", "", 0
    while written < 300:
        with web.follow(author.generation, cursor) as stream:
            count = chance.randint(1, 12)
            author.chunks(*(f"{written + number} " for number in range(count + 3)))
            written += count + 3
            cursor = stream.events(count)[-1][0]
            body += b"\n\n".join(stream.body.split(b"\n\n")[1 : count + 1]) + b"\n\n"
    author.end()
    with web.follow(author.generation, cursor) as stream:
        stream.rest()
        assert body + stream.body.partition(b"\n\n")[2] == logged(redis, author)


def test_two_readers_see_the_same(web: Served, author: Author) -> None:
    with web.follow(author.generation) as one, web.follow(author.generation) as other:
        author.chunks("a", "b")
        author.end()
        assert one.rest() == other.rest()
        assert len(one.frames()) == 5


def test_after_the_end_a_cursor_at_the_top_is_204_and_any_other_is_served(web: Served, author: Author) -> None:
    author.chunks("a")
    author.end()
    with web.follow(author.generation, str(author.last)) as stream:
        assert stream.status == 204
    with web.follow(author.generation) as stream:
        assert [event["type"] for _, event in stream.rest()] == ["status", "chunk", "complete", "done"]


def test_a_cursor_ahead_of_the_log_gets_a_snapshot_and_what_follows(web: Served, author: Author) -> None:
    author.chunks("a", "b")
    with web.follow(author.generation, "4000000000-77") as stream:
        cursor, snapshot = stream.events(1)[0]
        assert snapshot["type"] == "snapshot"
        assert (snapshot["content"], cursor) == ("ab", str(author.last))
        author.chunks("c")
        assert stream.events(2)[1][1]["content"] == "c"


def test_a_cursor_that_the_log_never_had_gets_a_snapshot_before_the_outcome(web: Served, author: Author) -> None:
    author.chunks("a", "b")
    author.end()
    with web.follow(author.generation, "1-2") as stream:
        assert [event["type"] for _, event in stream.rest()] == ["snapshot", "complete", "done"]
        assert stream.frames()[0][1]["content"] == "ab"


def test_a_reader_who_comes_with_the_last_cursor_just_before_the_end_is_let_go(web: Served, author: Author) -> None:
    author.chunks("a")
    with web.follow(author.generation) as first:
        first.events(2)
        author.end()
        assert len(first.rest()) == 4
    web.wait_for_readers(0)


def test_when_every_publish_is_lost_the_sweep_delivers_everything(web: Served, redis: Redis, author: Author) -> None:
    with web.follow(author.generation) as stream:
        stream.events(1)
        author.write_silently(*(Chunk(str(number)) for number in range(700)))
        began = time.monotonic()
        stream.events(701)
        assert time.monotonic() - began < 8
        author.write_silently(COMPLETE, DONE)
        stream.rest()
        assert [int(cursor.split("-")[1]) for cursor, _ in stream.frames()] == list(range(1, 704))


def test_a_lost_publish_is_mended_by_the_next_message(own_valkey: ValkeyProcess, unswept_web: Served) -> None:
    author = Author(connect(own_valkey.url), SETTINGS)
    with unswept_web.follow(author.generation) as stream:
        stream.events(1)
        author.write_silently(Chunk("a"))
        author.chunks("b")
        began = time.monotonic()
        assert [event.get("content") for _, event in stream.events(3)] == [None, "a", "b"]
        assert time.monotonic() - began < 1


def test_a_long_log_is_replayed_whole(web: Served, redis: Redis, author: Author) -> None:
    author.chunks(*(f"{number:0200}" for number in range(3000)))
    with web.follow(author.generation) as one, web.follow(author.generation, "0-1") as other:
        one.events(3001)
        author.end()
        one.rest()
        other.rest()
        assert one.body.partition(b"\n\n")[2] == logged_pages(redis, author)
        assert len(other.frames()) == 3002


def logged_pages(redis: Redis, author: Author) -> bytes:
    entries = read(redis, author.generation, count=10_000).entries
    return b"".join(b"id: %b\ndata: %b\n\n" % (str(entry.cursor).encode(), entry.data) for entry in entries)


def test_the_blocking_view_brings_the_same_entries(web: Served, redis: Redis, author: Author) -> None:
    author.chunks("a", "b")
    author.end()
    expected = [[str(entry.cursor), entry.data.decode()] for entry in read(redis, author.generation).entries]
    with Stream(web.port, f"/{author.generation}/entries/5.0") as answer:
        assert answer.json() == expected
    web.wait_for_readers(0)


def test_the_blocking_view_ends_when_its_time_is_over(web: Served, author: Author) -> None:
    with Stream(web.port, f"/{author.generation}/entries/0.5") as answer:
        assert len(answer.json()) == 1
    web.wait_for_readers(0)


def test_who_stands_at_the_end_of_what_has_just_ended_is_let_go(web: Served, author: Author) -> None:
    author.chunks("a")
    author.end()
    began = time.monotonic()
    with Stream(web.port, f"/{author.generation}/entries/20.0?after={author.last}") as answer:
        assert answer.json() == []
    assert time.monotonic() - began < 10
