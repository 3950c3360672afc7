"""Several streams on one connection, over a real gunicorn and bare sockets."""

from collections.abc import Callable
from typing import Any

import pytest

from millrace.webapp.relay.frames import last_frame
from millrace.worker.contract.events import Chunk, ToolUse
from millrace.worker.contract.feed import ConversationChanged, GenerationStarted, publish
from millrace.worker.contract.ids import Cursor, new_id
from millrace.worker.contract.keys import feed_key, keys_of
from millrace.worker.contract.redis.connection import Redis, connect
from tests.client import wait_for
from tests.valkey import ValkeyProcess
from tests.webapp.relay.conftest import SETTINGS
from tests.webapp.relay.log_writer import LogWriter
from tests.webapp.relay.relay_server import RelayServer, StreamClient

MakeWriter = Callable[[], LogWriter]
Event = tuple[str, dict[str, Any]]


def follow(server: RelayServer, *writers: LogWriter, owner: str = "", **options: Any) -> StreamClient:
    names = [f"g={writer.generation}" for writer in writers] + ([f"owner={owner}"] if owner else [])
    return StreamClient(server.port, f"/many?{'&'.join(names)}", **options)


def of(events: list[Event], writer: LogWriter) -> list[Event]:
    """Return one generation's events as on its own stream; asserts that each contains the generation's id."""
    own = [(name.partition("@"), event) for name, event in events if name.startswith(writer.generation)]
    assert all(event["generation"] == writer.generation for _, event in own)
    return [
        (cursor, {key: value for key, value in event.items() if key != "generation" or event["type"] == "status"})
        for (_, _, cursor), event in own
    ]


def alone(server: RelayServer, writer: LogWriter) -> list[Event]:
    """Return the whole stream of a generation that has ended, on a connection of its own."""
    with server.follow(writer.generation) as stream:
        return stream.rest()


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"], ids=["on the socket", "by the iterator"])
def test_sub_stream_equals_the_stream_on_a_separate_connection(
    server: RelayServer, make_writer: MakeWriter, version: str
) -> None:
    one, two, three = make_writer(), make_writer(), make_writer()
    one.chunks("before the first reader")
    one.end()
    with follow(server, one, two, three, version=version) as stream:
        stream.events(3 + 2 + 1)
        for number in range(5):
            two.chunks(f"two {number}")
            three.write(Chunk(f"three {number}"), ToolUse("t", "look", {"generation": three.generation}))
        two.end()
        three.end()
        events = stream.rest()
        assert stream.is_ended == (version == "HTTP/1.1")
    for writer in (one, two, three):
        assert of(events, writer) == alone(server, writer)
        event_id = f"id: {writer.generation}@0-1".encode()
        (first,) = [frame for frame in stream.body.split(b"\n\n") if frame.endswith(event_id)]
        assert first.count(b'"generation":') == 1


def test_connection_ends_with_the_last_done_and_a_slow_retry(server: RelayServer, make_writer: MakeWriter) -> None:
    one, two = make_writer(), make_writer()
    with follow(server, one, two) as stream:
        one.end()
        stream.events(4)
        two.chunks("still here")
        stream.read_until(b"still here")
        two.end()
        stream.rest()
        assert stream.is_ended
        assert stream.body.endswith(b"\n\n" + last_frame())
        assert last_frame().startswith(b"retry: 60000\n")
    server.wait_for_readers(0)


def test_idle_connection_gets_heartbeats(own_valkey: ValkeyProcess) -> None:
    writer = LogWriter(connect(own_valkey.url), SETTINGS)
    with (
        RelayServer(own_valkey.directory.parent, own_valkey.url, heartbeat_seconds=0.2) as server,
        follow(server, writer, owner="ann") as stream,
    ):
        stream.read_until(2 * b'event: ping\ndata: {"type":"ping"}\n\n')


def test_connection_without_generations_is_204(server: RelayServer, writer: LogWriter) -> None:
    with follow(server) as nothing:
        assert nothing.status == 204
    writer.end()
    with follow(server, writer) as stream:
        assert stream.status == 200
        assert len(stream.rest()) == 3


def test_slow_reader_gets_every_stream_byte_for_byte(server: RelayServer, make_writer: MakeWriter) -> None:
    writers = [make_writer() for _ in range(5)]
    with follow(server, *writers, receive_buffer=2048) as slow, follow(server, *writers) as quick:
        quick.events(5)
        for begin in range(0, 600, 50):
            for writer in writers:
                writer.chunks(*(f"{number:0500}" for number in range(begin, begin + 50)))
        quick.events(5 * 601)
        for writer in writers:
            writer.end()
        events = slow.rest()
        assert slow.is_ended
        assert sorted(events, key=str) == sorted(quick.rest(), key=str)
    for writer in writers:
        assert of(events, writer) == alone(server, writer)


def test_event_of_megabytes_delays_other_streams_without_loss(server: RelayServer, make_writer: MakeWriter) -> None:
    large, small = make_writer(), make_writer()
    with follow(server, large, small, receive_buffer=4096) as slow:
        large.chunks("a", "é" * 700_000, "b")
        for number in range(50):
            small.chunks(str(number))
        large.end()
        small.end()
        events = slow.rest()
    for writer in (large, small):
        assert of(events, writer) == alone(server, writer)


def test_stalled_connection_is_cut_whole_while_others_continue(own_valkey: ValkeyProcess) -> None:
    redis = connect(own_valkey.url)
    writers = [LogWriter(redis, SETTINGS) for _ in range(3)]
    with (
        RelayServer(own_valkey.directory.parent, own_valkey.url, reader_stall_seconds=2) as server,
        follow(server, *writers) as quick,
    ):
        stopped = follow(server, *writers, owner="ann", receive_buffer=2048)
        quick.events(3)
        assert server.statistics()["readers"] == 2 * 4
        for begin in range(0, 2000, 100):
            for writer in writers:
                writer.chunks(*(f"{number:0500}" for number in range(begin, begin + 100)))
            quick.events(3 * (1 + begin + 100))
        server.wait_for_readers(4, 15)
        writers[0].chunks("still here")
        quick.read_until(b"still here")
        stopped.socket.close()


def test_leaving_client_frees_the_slot_of_each_stream(server: RelayServer, make_writer: MakeWriter) -> None:
    server.wait_for_readers(0)
    writers = [make_writer() for _ in range(3)]
    streams = [follow(server, *writers) for _ in range(4)]
    server.wait_for_readers(16)
    descriptors = server.statistics()["descriptors"]
    for stream in streams:
        stream.socket.close()
    server.wait_for_readers(0)
    assert server.statistics()["descriptors"] == descriptors - 4


def test_connection_with_more_streams_than_free_slots_is_refused(own_valkey: ValkeyProcess) -> None:
    redis = connect(own_valkey.url)
    writers = [LogWriter(redis, SETTINGS) for _ in range(4)]
    with RelayServer(own_valkey.directory.parent, own_valkey.url, max_readers=4) as server:
        with follow(server, *writers) as refused:
            assert refused.status == 503
        with follow(server, *writers[:3]) as stream:
            stream.events(3)


def test_hole_in_one_log_is_replaced_by_a_snapshot_on_that_stream_only(
    server: RelayServer, make_writer: MakeWriter
) -> None:
    one, two = make_writer(), make_writer()
    with follow(server, one, two) as stream:
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


def test_generation_on_a_shared_connection_is_watched(server: RelayServer, redis: Redis) -> None:
    left_alone = LogWriter(redis, SETTINGS, on_disconnect="cancel")
    with follow(server, left_alone) as stream:
        stream.events(1)
        assert left_alone.generation in server.statistics()["watched"]
    wait_for(lambda: left_alone.generation not in server.statistics()["watched"], 30, "the leaving")


def test_feed_continues_after_all_generations_ended(server: RelayServer, writer: LogWriter, redis: Redis) -> None:
    publish(redis, writer.ids.conversation, GenerationStarted(writer.generation, "c"))  # an owner of this test's alone
    with follow(server, writer, owner=writer.ids.conversation) as stream:
        writer.end()
        stream.events(4)
        publish(redis, writer.ids.conversation, ConversationChanged("c"))
        events = stream.events(5)
        assert not stream.is_closed
    fed = [(name.split("@")[0], event["type"]) for name, event in events if not name.startswith(writer.generation)]
    assert fed == [("feed", "generation_started"), ("feed", "conversation_changed")]


def test_drained_connection_gets_one_final_retry(own_valkey: ValkeyProcess) -> None:
    writer = LogWriter(connect(own_valkey.url), SETTINGS)
    with RelayServer(own_valkey.directory.parent, own_valkey.url, shutdown_grace_seconds=1) as server:
        streams = [follow(server, writer) for _ in range(15)]  # the drain ends them in random order
        for stream in streams:
            stream.events(1)
        server.process.terminate()
        for stream in streams:
            stream.rest()
            stream.socket.close()
            assert stream.is_ended
            assert stream.body.count(b"retry: ") <= 2
            assert b"retry: 60000" not in stream.body


def test_long_feed_reaches_a_slow_reader_whole_and_is_unsubscribed(server: RelayServer, redis: Redis) -> None:
    owner = new_id()
    published = [ConversationChanged(f"{number} {'x' * 2000}") for number in range(900)]
    for event in published:
        publish(redis, owner, event)
    with follow(server, owner=owner, receive_buffer=2048) as slow:
        events = slow.events(len(published))
        assert [event["conversation_id"] for _, event in events] == [event.conversation_id for event in published]
    wait_for(lambda: redis.pubsub_numsub(feed_key(owner))[0][1] == 0, 30, "the unsubscription")


def test_feed_waits_for_room_behind_a_large_event(server: RelayServer, writer: LogWriter, redis: Redis) -> None:
    owner = new_id()
    with follow(server, writer, owner=owner, receive_buffer=4096) as slow:
        writer.chunks("é" * 700_000)
        for number in range(300):
            publish(redis, owner, ConversationChanged(str(number)))
        fed = [event["conversation_id"] for name, event in slow.events(302) if name.startswith("feed@")]
    assert fed == [str(number) for number in range(300)]
