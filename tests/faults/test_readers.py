"""Rows 1 to 3, 25, 28 to 31, 33 to 35, 37: readers that drop, leave, stall, vanish, reconnect at once or guess ids."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
import redis

from millrace.worker.contract.keys import METRICS
from tests.client import Client, emulate, outcomes_of, text_of, wait_for
from tests.faults.conftest import ask, words
from tests.faults.follower import Follower, check, check_all
from tests.faults.rig import Rig
from tests.journeys.cutting_proxy import CuttingProxy

_AT_ONCE = 50


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    directory = tmp_path_factory.mktemp("readers")
    with Rig(directory, disconnect_grace_seconds=1, reader_stall_seconds=8, heartbeat_seconds=1) as rig:
        yield rig


@pytest.fixture
def client(rig: Rig) -> Client:
    return rig.client()


def raw_get(url: str, client: Client, generation: str, receive_buffer: int | None = None) -> socket.socket:
    """Open a reader's connection by hand, its answer unread."""
    parts = urlsplit(url)
    cookie = "; ".join(f"{name}={value}" for name, value in client.http.cookies.items())
    reader = socket.socket()
    if receive_buffer:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    reader.connect((parts.hostname, parts.port))
    path = f"/api/generations/{generation}/events"
    reader.sendall(f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nCookie: {cookie}\r\n\r\n".encode())
    return reader


def test_rows_01_and_02_a_reader_cut_at_every_byte_of_a_frame_resumes_exactly(rig: Rig, client: Client) -> None:
    text, count = words(1)
    generation = client.ask(emulate(text=text, tokens=count, rate=80))
    with CuttingProxy(rig.urls[0], lambda n: 700 + 37 * n) as proxy:
        followers = [Follower([proxy.url], client.http.cookies, generation, text) for _ in range(3)]
        for each in followers:
            assert check(each, client)["type"] == "complete"
            assert each.text == text
        assert proxy.cut >= 9


def test_row_03_a_reader_that_connects_at_any_moment_misses_no_event(rig: Rig, client: Client) -> None:
    text, count = words(3, rate=200)
    generation = client.ask(emulate(text=text, tokens=count, rate=200))
    followers: list[Follower] = []
    while not followers or not followers[0].is_done:
        followers.append(Follower(rig.urls, client.http.cookies, generation, text))
        time.sleep(0.03)
    assert len(followers) > 50
    assert {outcome["type"] for outcome in check_all(followers, client)} == {"complete"}
    assert {each.connections for each in followers} == {1}


@pytest.mark.parametrize("then", ["continue", "cancel"])
def test_row_25_without_readers_a_generation_continues_or_is_cancelled_after_the_grace_time(
    rig: Rig, client: Client, then: str
) -> None:
    # The mark of a reader who has just left may stand for 15 s: the one that is cancelled would take a minute.
    message = emulate(tokens=3000 if then == "cancel" else 700, rate=50, chars=len(then))
    generation = client.ask(message, on_disconnect=then)
    reader = client.follow(generation)
    _ = [next(reader) for _ in range(5)]
    reader.close()  # type: ignore[attr-defined]
    outcome = wait_for(lambda: client.snapshot(generation)["outcome"], 40, "the outcome")
    (call,) = rig.calls(message)
    if then == "cancel":
        assert (outcome["type"], outcome["by"], call["ended"]) == ("cancelled", "abandoned", "closed_by_client")
    else:
        assert (outcome["type"], call["ended"]) == ("complete", "finished")


def test_row_28_a_reader_that_stops_reading_is_cut_and_the_others_are_unaffected(rig: Rig, client: Client) -> None:
    asked = ask(rig, 12, rate=50, client=client, chars=5)
    large = client.ask(emulate(tokens=1500, chars=4000, rate=150))
    stopped = raw_get(rig.urls[0], client, large, receive_buffer=4096)
    assert check(asked.follower, client)["type"] == "complete"
    assert asked.follower.longest_silence < 6, "it waited for the one that stopped"
    client.whole(large)
    stopped.settimeout(1)
    total = 0
    with stopped, suppress(ConnectionError, TimeoutError):
        while part := stopped.recv(1 << 16):
            total += len(part)
    assert total < 4000 * 1500
    wait_for(lambda: "stalled" in rig.webs[0].log.read_text(), 30, "the cut")


def test_row_30_a_thousand_reconnects_at_once_cause_few_redis_reads(rig: Rig, client: Client) -> None:
    text, count = words(20, rate=50)
    generation = client.ask(emulate(text=text, tokens=count, rate=50))
    wait_for(lambda: len(client.snapshot(generation)["content"]) > 500, 30, "some text")
    with redis.Redis(port=rig.valkey.port) as store:
        alone = sorted(_first_byte(rig.urls[0], client, generation) for _ in range(20))[10]
        before = _reads(store)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            firsts = sorted(pool.map(lambda _: _first_byte(rig.urls[0], client, generation), range(1000)))
        reads = _reads(store) - before
    assert firsts[989] <= 4 * _AT_ONCE * alone, "a reader waits for those before it, and not for anything else"
    assert reads < 1000


def test_row_31_an_invalid_cursor_gets_a_snapshot_or_400_and_creates_no_key(rig: Rig, client: Client) -> None:
    one = client.ask(emulate(text="The one text.", rate=0))
    other = client.ask(emulate(text="The other text.", rate=0))
    ends = [client.whole(each)[-1].cursor for each in (one, other)]
    with redis.Redis(port=rig.valkey.port) as store:

        def keys() -> set[bytes]:
            periodic = (METRICS.encode(), b"mr:retention:")
            return {key for key in store.scan_iter() if not key.startswith(periodic)}

        before = keys()
        for ahead in ("9999999999-1", "1-9999999999", ends[1].split("-")[0] + "-77"):
            received = list(client.follow(one, ahead))
            assert (received[0].event["type"], text_of(received)) == ("snapshot", "The one text.")
        for garbage in ("x", "1", "1-", "-1", "1-2-3", "1-2 ", "12345678901-1", "\u0661-\u0662", "1" * 10_000, "0-1\t"):
            answer = client.http.get(f"/api/generations/{one}/events", params={"after": garbage})
            assert answer.status_code == 400, garbage
        assert keys() <= before, "a lease may have gone meanwhile"


def test_row_34_a_guessed_or_foreign_id_gets_the_same_404_as_an_absent_one(rig: Rig, client: Client) -> None:
    generation = client.ask(emulate(text="Mine.", rate=0))
    stranger = rig.client()
    stranger.ask(emulate(text="Yours.", rate=0))
    answers = [stranger.http.get(f"/api/generations/{each}/events") for each in (generation, "f" * 32, "x", "a b")]
    assert {answer.status_code for answer in answers} == {404}


def test_row_37_twenty_concurrent_requests_with_one_idempotency_key_make_one_model_call(
    rig: Rig, client: Client
) -> None:
    message = emulate(text="One of twenty.", rate=0)
    client.ask(emulate(text="first", rate=0))
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: client.post({"message": message}, **{"Idempotency-Key": "k37"}), range(20)))
    (generation,) = {answer.json()["id"] for answer in answers}
    assert outcomes_of(client.whole(generation))[0]["type"] == "complete"
    assert len(rig.calls(message)) == 1


def _first_byte(url: str, client: Client, generation: str) -> float:
    begun = time.monotonic()
    with raw_get(url, client, generation) as reader:
        assert b" 200 " in reader.recv(64)
    return time.monotonic() - begun


def _reads(store: redis.Redis) -> int:
    calls = store.info("commandstats")
    return sum(int(calls.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("xrange", "xread", "xrevrange"))
