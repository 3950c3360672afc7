"""Compressed streams: what a client unpacks is what others get as it is, event by event."""

import gzip
import random
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.webapp.relay.compression import WINDOW_BYTES, GzipStream, Pieces, choose_encoding
from millrace.webapp.relay.frames import bodies_of, chunked
from millrace.worker.contract.events import Chunk, Reasoning, Title
from millrace.worker.contract.redis.connection import Redis, connect
from tests.client import wait_for
from tests.valkey import ValkeyProcess
from tests.webapp.relay.conftest import SETTINGS
from tests.webapp.relay.log_writer import LogWriter
from tests.webapp.relay.relay_server import RelayServer, StreamClient
from tests.webapp.relay.wire_format import events_in, unchunked

PING = b'event: ping\ndata: {"type":"ping"}\n\n'
BODIES = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=200),
        st.just(PING),
        st.integers(1, 40).map(lambda number: b'data: {"type":"chunk","content":"a word"}\nid: 1-%d\n\n' % number),
        st.sampled_from([1000, 1024, 5000, 9000, 70_000, 300_000]).map(lambda size: (b"0123456789 " * 30_000)[:size]),
    ),
    min_size=1,
    max_size=20,
)


@given(BODIES, BODIES, st.data())
def test_every_piece_can_be_read_at_once_whoever_it_is_shared_with(
    one: list[bytes], other: list[bytes], data: st.DataObject
) -> None:
    pieces = Pieces()
    streams = [GzipStream(pieces), GzipStream(pieces)]
    unpacked = [zlib.decompressobj(31), zlib.decompressobj(31)]
    wholes = [streams[number].start(b": start\n\n") for number in (0, 1)]
    assert [each.decompress(whole) for each, whole in zip(unpacked, wholes, strict=True)] == [b": start\n\n"] * 2
    queues = [list(one), list(other)]
    while any(queues):
        number = data.draw(st.sampled_from([number for number in (0, 1) if queues[number]]))
        body = queues[number].pop(0)
        packed = streams[number].add_chunks(chunked(body))
        wholes[number] += unchunked(packed)
        assert unpacked[number].decompress(unchunked(packed)) == body
    for bodies, stream, whole in zip((one, other), streams, wholes, strict=True):
        assert gzip.decompress(whole + stream.end(b"end")) == b": start\n\n" + b"".join(bodies) + b"end"


def test_readers_of_one_log_meet_again_after_a_heartbeat_and_share_every_piece() -> None:
    pieces = Pieces()
    first, second = GzipStream(pieces), GzipStream(pieces)
    first.start(b": one\n\n")
    second.start(b": another\n\n")
    frames = [b'data: {"type":"chunk","content":"word %d"}\nid: 1-%d\n\n' % (number, number) for number in range(60)]
    made = list[int]()
    for number, frame in enumerate(frames):
        if number == 30:
            second.add(PING)
        before = pieces.made
        payload = chunked(frame)
        first.add_chunks(payload)
        second.add_chunks(payload)
        made.append(pieces.made - before)
    needed = -(-WINDOW_BYTES // len(frames[0])) + 1
    assert made[0] == made[30] == 2
    assert set(made[needed:30]) | set(made[30 + needed :]) == {1}


def test_memory_of_kept_pieces_is_bounded() -> None:
    pieces = Pieces()
    stream = GzipStream(pieces)
    for number in range(400):
        stream.add(b"%d" % number * 2000)
    assert sum(len(body) for body in pieces._by_body) <= 1 << 20


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1))
def test_bodies_are_what_joined_chunks_hold(bodies: list[bytes]) -> None:
    assert bodies_of(b"".join(map(chunked, bodies))) == b"".join(bodies)


def test_encoding_is_negotiated_by_quality() -> None:
    cases = {
        "": "",
        "gzip": "gzip",
        "gzip, deflate, br, zstd": "gzip",
        "GZIP": "gzip",
        "*": "gzip",
        "br": "",
        "identity": "",
        "gzip;q=0": "",
        "gzip;q=0, *": "",
        "*;q=0": "",
        "identity;q=0.5, gzip;q=1": "gzip",
        "identity, gzip;q=0.5": "",
        "identity;q=0, *": "gzip",
        "br;q=1.0, gzip;q=0.001": "gzip",
        "gzip;q=x": "",
        ",;=": "",
    }
    assert {accepted: choose_encoding(accepted) for accepted in cases} == cases


@pytest.fixture(scope="module")
def packing(valkey: ValkeyProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayServer]:
    directory = tmp_path_factory.mktemp("gzip")
    with RelayServer(
        directory, valkey.url, compression="gzip", heartbeat_seconds=0.4, reader_stall_seconds=5
    ) as server:
        yield server


def packed(server: RelayServer, writer: LogWriter, after: str = "", **options: Any) -> StreamClient:
    return server.follow(writer.generation, after, accept_encoding="gzip, br", **options)


def assert_whole(stream: StreamClient) -> None:
    """Assert a body whose checksum is right and after which nothing follows."""
    assert stream.gunzip is not None
    assert stream.gunzip.eof
    assert not stream.gunzip.unused_data


def test_packed_events_are_those_of_a_plain_stream(packing: RelayServer, redis: Redis) -> None:
    chance = random.Random(5)
    for query, version in (("", "HTTP/1.1"), ("?yielded", "HTTP/1.1"), ("", "HTTP/1.0")):
        writer = LogWriter(redis, SETTINGS)
        with (
            packing.follow(writer.generation) as plain,
            packed(packing, writer) as taken,
            packed(packing, writer, query=query, version=version) as other,
        ):
            streams = (taken, other)
            for number in range(60):
                writer.write(chance.choice([Chunk, Reasoning, Title])(f"{number} é " * chance.randint(0, 400)))
                for stream in streams:
                    stream.events(number + 2)  # each event arrives without the next one
            for stream in streams:
                stream.read_until(2 * PING)
            writer.end()
            plain.rest()
            for stream in streams:
                assert stream.rest() == plain.frames()
                assert events_in(bytes(stream.body)) == events_in(bytes(plain.body))
                assert stream.headers["content-encoding"] == "gzip"
                assert_whole(stream)
                assert stream.body_bytes < len(plain.body) / 3
            assert "content-encoding" not in plain.headers
            assert {each.headers["vary"] for each in (plain, *streams)} == {"accept-encoding"}
            assert taken.is_ended
        packing.wait_for_readers(0)


def test_packed_stream_resumes_after_any_event_and_ends(packing: RelayServer, writer: LogWriter) -> None:
    writer.chunks(*map(str, range(40)))
    writer.end()
    with packed(packing, writer) as whole:
        events = whole.rest()
    for number in (0, 1, 20, len(events) - 2):
        with packed(packing, writer, events[number][0]) as stream:
            assert stream.rest() == events[number + 1 :]
            assert_whole(stream)


def test_packed_multiplexed_stream_carries_the_same_events(packing: RelayServer, redis: Redis) -> None:
    writers = [LogWriter(redis, SETTINGS) for _ in range(3)]
    path = f"/many?{'&'.join(f'g={each.generation}' for each in writers)}&owner=owner"
    with StreamClient(packing.port, path) as plain, StreamClient(packing.port, path, accept_encoding="gzip") as stream:
        for writer in writers:
            writer.chunks(*map(str, range(50)))
            writer.end()
        for each in (plain, stream):
            each.events(3 * 53)
        assert stream.frames() == plain.frames()
        assert stream.body_bytes < len(stream.body) / 3


def write_much(writer: LogWriter) -> None:
    chance = random.Random(7)
    for _ in range(40):  # random text hardly gets smaller
        writer.chunks(*(chance.randbytes(250).hex() for _ in range(50)))


def test_slow_packed_reader_catches_up(packing: RelayServer, writer: LogWriter) -> None:
    with packed(packing, writer, receive_buffer=2048) as slow, packed(packing, writer) as quick:
        slow.events(1)
        write_much(writer)
        writer.end()
        assert slow.rest() == quick.rest()
        assert_whole(slow)


def test_packed_reader_that_stops_reading_is_cut(packing: RelayServer, writer: LogWriter) -> None:
    with packed(packing, writer, receive_buffer=2048), packed(packing, writer) as other:
        write_much(writer)
        other.events(2001)
        packing.wait_for_readers(1)
        writer.end()
        other.rest()
        assert_whole(other)
    lines = [each for each in packing.log.read_text().splitlines() if f"generation={writer.generation}" in each]
    assert "why=stalled" in lines[0]


def test_packed_large_events_hold_up_no_one(packing: RelayServer, redis: Redis) -> None:
    writer, beside = LogWriter(redis, SETTINGS), LogWriter(redis, SETTINGS)
    with packed(packing, writer) as stream, packed(packing, beside) as other:
        writer.chunks("a", "é" * 700_000, "b")
        beside.chunks("x")
        other.events(2)
        writer.end()
        assert [event.get("content", "") for _, event in stream.rest()][1:4] == ["a", "é" * 700_000, "b"]
        assert_whole(stream)


def test_packed_reader_holds_no_window_of_its_own(packing: RelayServer, redis: Redis) -> None:
    writer = LogWriter(redis, SETTINGS)
    writer.chunks(*("some words " * 3 for _ in range(40)))
    packing.wait_for_readers(0)
    streams = [packed(packing, writer) for _ in range(50)]
    packing.wait_for_readers(50)
    before = packing.statistics()["resident"]
    streams += [packed(packing, writer) for _ in range(300)]
    packing.wait_for_readers(350)
    assert (packing.statistics()["resident"] - before) / 300 < 10_000
    for each in streams:
        each.socket.close()
    wait_for(lambda: packing.statistics()["readers"] == 0)


def test_packed_stream_of_a_server_that_stops_is_whole(own_valkey: ValkeyProcess) -> None:
    writer = LogWriter(connect(own_valkey.url), SETTINGS)
    directory = own_valkey.directory.parent
    with (
        RelayServer(directory, own_valkey.url, compression="gzip", shutdown_grace_seconds=0.5) as server,
        packed(server, writer) as stream,
    ):
        stream.events(1)
        server.process.terminate()
        stream.rest()
        assert stream.body.count(b"retry: ") == 2
        assert stream.is_ended
        assert_whole(stream)
