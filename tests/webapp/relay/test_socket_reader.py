import time

from millrace.worker.contract.connection import Redis, connect
from millrace.worker.contract.events import Chunk
from tests.client import wait_for
from tests.valkey import ValkeyProcess
from tests.webapp.relay.author import Author
from tests.webapp.relay.conftest import SETTINGS
from tests.webapp.relay.serving import Served, Stream


def test_a_slow_reader_catches_up_to_the_very_byte(web: Served, redis: Redis, author: Author) -> None:
    with web.follow(author.generation) as quick, web.follow(author.generation, receive_buffer=2048) as slow:
        quick.events(1)
        for begin in range(0, 2000, 50):
            author.chunks(*(f"{number:0500}" for number in range(begin, begin + 50)))
        quick.events(2001)
        author.end()
        quick.rest()
        assert len(slow.rest()) == 2003
        assert slow.is_ended
        assert quick.body.partition(b"\n\n")[2] == slow.body.partition(b"\n\n")[2]


def test_one_event_of_four_megabytes_reaches_a_slow_reader(web: Served, redis: Redis, author: Author) -> None:
    with web.follow(author.generation, receive_buffer=4096) as slow:
        author.chunks("a", "é" * 700_000, "b")
        author.end()
        assert [event.get("content", "") for _, event in slow.rest()][1:4] == ["a", "é" * 700_000, "b"]


def test_readers_that_stop_are_cut_while_memory_stays_flat_and_others_go_on(own_valkey: ValkeyProcess) -> None:
    redis = connect(own_valkey.url)
    author = Author(redis, SETTINGS)
    directory = own_valkey.directory.parent
    with Served(directory, own_valkey.url, reader_stall_seconds=4) as web, web.follow(author.generation) as quick:
        stopped = [web.follow(author.generation, receive_buffer=2048) for _ in range(50)]
        quick.events(1)
        before = web.figures()["resident"]
        for begin in range(0, 5000, 250):
            author.chunks(*(f"{number:0500}" for number in range(begin, begin + 250)))
            quick.events(begin + 250)
        assert web.figures()["readers"] == 51
        assert web.figures()["resident"] - before < 16 << 20
        web.wait_for_readers(1, 10)
        assert web.log.read_text().count("why=stalled") == 50
        author.chunks("still here")
        assert quick.events(5002)[-1][1] == {"type": "chunk", "content": "still here"}
        for each in stopped:
            each.socket.close()


def test_a_readers_slot_is_freed_at_once_when_it_leaves(web: Served, author: Author) -> None:
    web.wait_for_readers(0)
    streams = [web.follow(author.generation) for _ in range(20)]
    web.wait_for_readers(20)
    descriptors = web.figures()["descriptors"]
    for stream in streams:
        stream.socket.close()
    began = time.monotonic()
    web.wait_for_readers(0)
    assert time.monotonic() - began < 2
    wait_for(lambda: web.figures()["descriptors"] <= descriptors - 20, what="the descriptors to be closed")


def test_a_reader_that_sends_without_end_is_cut(web: Served, author: Author) -> None:
    web.wait_for_readers(0)
    with web.follow(author.generation) as stream:
        web.wait_for_readers(1)
        stream.socket.sendall(b"x" * 100_000)
        web.wait_for_readers(0)


def test_a_stream_that_ends_is_logged_in_one_line(web: Served, author: Author) -> None:
    with web.follow(author.generation) as stream:
        author.write(Chunk("a"))
        stream.events(2)
        author.end()
        stream.rest()

    def line() -> str:
        found = [each for each in web.log.read_text().splitlines() if f"generation={author.generation}" in each]
        return found[0] if found else ""

    assert f"last={author.last} " in wait_for(line)
    assert "why=done" in line()


def test_heartbeats_go_to_all_from_the_first_second_on(own_valkey: ValkeyProcess) -> None:
    author = Author(connect(own_valkey.url), SETTINGS)
    with Served(own_valkey.directory.parent, own_valkey.url, heartbeat_seconds=1) as web:
        streams: list[Stream] = [web.follow(author.generation) for _ in range(10)]
        for stream in streams:
            stream.events(1)
        own_valkey.stop()
        began = time.monotonic()
        for stream in streams:
            while stream.body.count(b":\n\n") < 3:
                stream._more()
        assert time.monotonic() - began < 6
        for stream in streams:
            stream.socket.close()
        own_valkey.start()
