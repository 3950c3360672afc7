"""Several streams on one connection, over a real gunicorn and bare sockets."""

from collections.abc import Callable
from typing import Any

import pytest

from millrace.worker.contract.connection import Redis, connect
from millrace.worker.contract.events import Chunk, ToolUse
from millrace.worker.contract.feed import ConversationChanged, GenerationStarted, publish
from millrace.worker.contract.ids import Cursor, new_id
from millrace.worker.contract.keys import feed_key, keys_of
from tests.client import wait_for
from tests.valkey import ValkeyProcess
from tests.webapp.relay.author import Author
from tests.webapp.relay.conftest import SETTINGS
from tests.webapp.relay.serving import Served, Stream

Write = Callable[[], Author]
Event = tuple[str, dict[str, Any]]


def follow(web: Served, *authors: Author, owner: str = "", **options: Any) -> Stream:
    names = [f"g={author.generation}" for author in authors] + ([f"owner={owner}"] if owner else [])
    return Stream(web.port, f"/many?{'&'.join(names)}", **options)


def of(events: list[Event], author: Author) -> list[Event]:
    """Return one generation's events as its own stream would tell them; asserts that each names it."""
    own = [(name.partition("@"), event) for name, event in events if name.startswith(author.generation)]
    assert all(event["generation"] == author.generation for _, event in own)
    return [
        (cursor, {key: value for key, value in event.items() if key != "generation" or event["type"] == "status"})
        for (_, _, cursor), event in own
    ]


def alone(web: Served, author: Author) -> list[Event]:
    """Return the whole stream of a generation that has ended, on a connection of its own."""
    with web.follow(author.generation) as stream:
        return stream.rest()


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"], ids=["on the socket", "by the iterator"])
def test_each_stream_is_as_on_a_connection_of_its_own(web: Served, write: Write, version: str) -> None:
    one, two, three = write(), write(), write()
    one.chunks("before anybody follows")
    one.end()
    with follow(web, one, two, three, version=version) as stream:
        stream.events(3 + 2 + 1)
        for number in range(5):
            two.chunks(f"two {number}")
            three.write(Chunk(f"three {number}"), ToolUse("t", "look", {"generation": three.generation}))
        two.end()
        three.end()
        events = stream.rest()
        assert stream.is_ended == (version == "HTTP/1.1")
    for author in (one, two, three):
        assert of(events, author) == alone(web, author)
        (first,) = [part for part in stream.body.split(b"\n\n") if f"{author.generation}@0-1\n".encode() in part]
        assert first.count(b'"generation":') == 1


def test_it_ends_with_the_last_done_and_says_that_there_is_no_hurry(web: Served, write: Write) -> None:
    one, two = write(), write()
    with follow(web, one, two) as stream:
        one.end()
        stream.events(4)
        two.chunks("still here")
        stream.read_until(b"still here")
        two.end()
        stream.rest()
        assert stream.is_ended
        assert stream.body.endswith(b'"}\n\nretry: 60000\n\n')
    web.wait_for_readers(0)


def test_a_connection_on_which_nothing_happens_is_kept_awake(own_valkey: ValkeyProcess) -> None:
    author = Author(connect(own_valkey.url), SETTINGS)
    with (
        Served(own_valkey.directory.parent, own_valkey.url, heartbeat_seconds=0.2) as web,
        follow(web, author, owner="ann") as stream,
    ):
        stream.read_until(b"\n\n:\n\n:\n\n")


def test_what_has_all_ended_with_nothing_left_is_204(web: Served, author: Author) -> None:
    with follow(web) as nothing:
        assert nothing.status == 204
    author.end()
    with follow(web, author) as stream:
        assert stream.status == 200
        assert len(stream.rest()) == 3


def test_a_slow_reader_gets_every_stream_to_the_very_byte(web: Served, write: Write) -> None:
    authors = [write() for _ in range(5)]
    with follow(web, *authors, receive_buffer=2048) as slow, follow(web, *authors) as quick:
        quick.events(5)
        for begin in range(0, 600, 50):
            for author in authors:
                author.chunks(*(f"{number:0500}" for number in range(begin, begin + 50)))
        quick.events(5 * 601)
        for author in authors:
            author.end()
        events = slow.rest()
        assert slow.is_ended
        assert sorted(events, key=str) == sorted(quick.rest(), key=str)
    for author in authors:
        assert of(events, author) == alone(web, author)


def test_one_event_of_megabytes_holds_up_the_others_and_loses_none(web: Served, write: Write) -> None:
    large, small = write(), write()
    with follow(web, large, small, receive_buffer=4096) as slow:
        large.chunks("a", "é" * 700_000, "b")
        for number in range(50):
            small.chunks(str(number))
        large.end()
        small.end()
        events = slow.rest()
    for author in (large, small):
        assert of(events, author) == alone(web, author)


def test_who_stops_reading_is_cut_whole_and_others_go_on(own_valkey: ValkeyProcess) -> None:
    redis = connect(own_valkey.url)
    authors = [Author(redis, SETTINGS) for _ in range(3)]
    with (
        Served(own_valkey.directory.parent, own_valkey.url, reader_stall_seconds=2) as web,
        follow(web, *authors) as quick,
    ):
        stopped = follow(web, *authors, owner="ann", receive_buffer=2048)
        quick.events(3)
        assert web.figures()["readers"] == 2 * 4
        for begin in range(0, 2000, 100):
            for author in authors:
                author.chunks(*(f"{number:0500}" for number in range(begin, begin + 100)))
            quick.events(3 * (1 + begin + 100))
        web.wait_for_readers(4, 15)
        authors[0].chunks("still here")
        quick.read_until(b"still here")
        stopped.socket.close()


def test_a_place_is_freed_for_each_stream_when_the_client_leaves(web: Served, write: Write) -> None:
    web.wait_for_readers(0)
    authors = [write() for _ in range(3)]
    streams = [follow(web, *authors) for _ in range(4)]
    web.wait_for_readers(16)
    descriptors = web.figures()["descriptors"]
    for stream in streams:
        stream.socket.close()
    web.wait_for_readers(0)
    assert web.figures()["descriptors"] == descriptors - 4


def test_more_streams_than_there_are_places_are_refused_at_once(own_valkey: ValkeyProcess) -> None:
    redis = connect(own_valkey.url)
    authors = [Author(redis, SETTINGS) for _ in range(4)]
    with Served(own_valkey.directory.parent, own_valkey.url, max_readers=4) as web:
        with follow(web, *authors) as refused:
            assert refused.status == 503
        with follow(web, *authors[:3]) as stream:
            stream.events(3)


def test_a_hole_in_one_log_is_mended_by_a_snapshot_and_leaves_the_others_alone(web: Served, write: Write) -> None:
    one, two = write(), write()
    with follow(web, one, two) as stream:
        stream.events(2)
        one.chunks("a", "b")
        two.chunks("c")
        stream.events(5)
        one.last = Cursor(one.last.epoch, one.last.seq + 1)  # an event that is nowhere
        one.redis.hset(keys_of(one.generation).state, "top", str(one.last))
        one.chunks("d")
        two.chunks("e")
        one.end()
        two.end()
        events = stream.rest()
    assert [event["content"] for _, event in of(events, two) if event["type"] == "chunk"] == ["c", "e"]
    (snapshot,) = [event for _, event in of(events, one) if event["type"] == "snapshot"]
    assert (snapshot["content"], snapshot["reason"]) == ("abd", "gap")


def test_who_watches_on_a_shared_connection_watches(web: Served, redis: Redis) -> None:
    left_alone = Author(redis, SETTINGS, on_disconnect="cancel")
    with follow(web, left_alone) as stream:
        stream.events(1)
        assert left_alone.generation in web.figures()["watched"]
    wait_for(lambda: left_alone.generation not in web.figures()["watched"], 10, "the leaving")


def test_the_feed_goes_on_when_all_else_has_ended(web: Served, author: Author, redis: Redis) -> None:
    publish(redis, author.ids.conversation, GenerationStarted(author.generation, "c"))  # an owner of this test's alone
    with follow(web, author, owner=author.ids.conversation) as stream:
        author.end()
        stream.events(4)
        publish(redis, author.ids.conversation, ConversationChanged("c"))
        events = stream.events(5)
        assert not stream.is_closed
    fed = [(name.split("@")[0], event["type"]) for name, event in events if not name.startswith(author.generation)]
    assert fed == [("feed", "generation_started"), ("feed", "conversation_changed")]


def test_a_web_that_ends_says_farewell_once_and_asks_back_soon(own_valkey: ValkeyProcess) -> None:
    author = Author(connect(own_valkey.url), SETTINGS)
    with Served(own_valkey.directory.parent, own_valkey.url, shutdown_grace_seconds=1) as web:
        streams = [follow(web, author) for _ in range(15)]  # whichever of each the web ends first, all are ended
        for stream in streams:
            stream.events(1)
        web.process.terminate()
        for stream in streams:
            stream.rest()
            stream.socket.close()
            assert stream.is_ended
            assert stream.body.count(b"retry: ") <= 2
            assert b"retry: 60000" not in stream.body


def test_a_long_feed_reaches_a_slow_reader_whole_and_leaves_no_listener_behind(web: Served, redis: Redis) -> None:
    owner = new_id()
    told = [ConversationChanged(f"{number} {'x' * 2000}") for number in range(900)]
    for event in told:
        publish(redis, owner, event)
    with follow(web, owner=owner, receive_buffer=2048) as slow:
        events = slow.events(len(told))
        assert [event["conversation_id"] for _, event in events] == [event.conversation_id for event in told]
    wait_for(lambda: redis.pubsub_numsub(feed_key(owner))[0][1] == 0, 5, "the unsubscription")


def test_a_feed_waits_for_room_behind_a_large_event(web: Served, author: Author, redis: Redis) -> None:
    owner = new_id()
    with follow(web, author, owner=owner, receive_buffer=4096) as slow:
        author.chunks("é" * 700_000)
        for number in range(300):
            publish(redis, owner, ConversationChanged(str(number)))
        fed = [event["conversation_id"] for name, event in slow.events(302) if name.startswith("feed@")]
    assert fed == [str(number) for number in range(300)]
