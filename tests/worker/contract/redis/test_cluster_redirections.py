"""The client follows MOVED and ASK, waits through TRYAGAIN and CLUSTERDOWN, and gives up in bounded time."""

from collections.abc import Iterator
from typing import cast

import pytest
import redis

from millrace.worker.contract.redis.cluster import ClusterClient
from millrace.worker.contract.redis.cluster_map import slot_of
from millrace.worker.contract.redis.connection import connect, is_unavailable
from tests.scripted_redis import CUT, ScriptedRedis

KEY, OTHER = "mr:{b07}:x", "mr:{b08}:x"
SLOT = slot_of(b"b07")
PATIENT = 20  # retries; each gives a redirection a second on a busy machine


class Pair:
    """Two masters: `first` has all slots, unless `moves` says that the key's slot is the second one's."""

    def __init__(self) -> None:
        self.moves = False
        self.first = ScriptedRedis(self.ranges)
        self.second = ScriptedRedis(self.ranges)

    def ranges(self) -> list[tuple[int, int, int]]:
        """Return the map that both servers give."""
        if not self.moves:
            return [(0, 16383, self.first.port)]
        port = self.first.port
        return [(0, SLOT - 1, port), (SLOT, SLOT, self.second.port), (SLOT + 1, 16383, port)]

    def redirect(self, word: str) -> bytes:
        """Return the reply that sends the key's command to the second server."""
        return f"-{word} {SLOT} 127.0.0.1:{self.second.port}\r\n".encode()

    def client(self, retries: int = PATIENT) -> ClusterClient:
        """Return a client that knows the first server."""
        url = f"redis+cluster://127.0.0.1:{self.first.port}?protocol=2"
        return cast("ClusterClient", connect(url, retries=retries))

    def take(self) -> tuple[list[bytes], list[bytes]]:
        """Return what each server has received since the last call."""
        return self.first.take(), self.second.take()


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    with made.first, made.second:
        yield made


GET, GET_OTHER = b"GET mr:{b07}:x", b"GET mr:{b08}:x"


def test_a_slot_that_has_moved_is_followed_and_remembered(pair: Pair) -> None:
    with pair.client() as client:
        assert client.get(KEY) == b"OK"
        pair.take()
        pair.moves = True
        pair.first.replies.append(pair.redirect("MOVED"))
        assert client.get(KEY) == b"OK"
        assert pair.take() == ([GET], [GET])
        assert [client.get(KEY), client.get(OTHER)] == [b"OK", b"OK"]
        assert pair.take() == ([GET_OTHER], [GET])


def test_a_redirection_without_a_host_means_the_same_host(pair: Pair) -> None:
    pair.first.replies.append(f"-MOVED {SLOT} :{pair.second.port}\r\n".encode())
    with pair.client() as client:
        assert client.get(KEY) == b"OK"
        assert pair.take() == ([GET], [GET])


def test_a_key_that_is_asked_for_elsewhere_is_asked_for_there_once(pair: Pair) -> None:
    with pair.client() as client:
        pair.first.replies.append(pair.redirect("ASK"))
        assert client.get(KEY) == b"OK"
        assert pair.take() == ([GET], [b"ASKING", GET])
        assert client.get(KEY) == b"OK"
        assert pair.take() == ([GET], []), "the slot is the first one's until it has moved as a whole"


def test_later_commands_of_a_slot_follow_the_redirected_one_and_keep_their_order(pair: Pair) -> None:
    """The second command reaches the first server before the slot has moved; it is sent again after the first."""
    pair.first.replies += [pair.redirect("ASK"), b"+OK\r\n", b"+OK\r\n"]
    with pair.client() as client:
        pipeline = client.pipeline()
        pipeline.get(KEY)
        pipeline.set(KEY, "1")
        pipeline.get(OTHER)
        replies = pipeline.execute()
        assert replies == [b"OK", True, b"OK"]
        first, second = pair.take()
        assert first == [GET, b"SET mr:{b07}:x", GET_OTHER, b"SET mr:{b07}:x"]
        assert second == [b"ASKING", GET]


@pytest.mark.parametrize("code", ["TRYAGAIN", "CLUSTERDOWN"])
def test_a_passing_state_is_waited_for_and_counts_as_unavailable_where_it_stays(pair: Pair, code: str) -> None:
    reply = f"-{code} for a moment\r\n".encode()
    with pair.client() as client:
        pair.first.replies.append(reply)
        assert client.get(KEY) == b"OK"
        assert pair.take() == ([GET, GET], [])
    with pair.client(retries=0) as client:
        pair.first.replies += [reply] * 1000
        with pytest.raises(redis.RedisError) as raised:
            client.get(KEY)
        assert is_unavailable(raised.value)
        assert len(pair.take()[0]) < 1000, "it gives up"


def test_masters_that_send_each_to_the_other_are_unavailable(pair: Pair) -> None:
    with pair.client(retries=0) as client:
        pair.first.replies += [pair.redirect("MOVED")] * 1000
        pair.second.replies += [f"-MOVED {SLOT} 127.0.0.1:{pair.first.port}\r\n".encode()] * 1000
        with pytest.raises(redis.ConnectionError, match="moving"):
            client.get(KEY)


def test_a_connection_that_is_cut_is_tried_again_as_often_as_the_client_may(pair: Pair) -> None:
    """Commands whose reply has come are not sent again."""
    for retries in (0, PATIENT):
        pair.first.replies += [b"+OK\r\n", CUT]
        with pair.client(retries) as client:
            pipeline = client.pipeline()
            pipeline.get(OTHER)
            pipeline.get(KEY)
            got, failed_or_got = pipeline.execute(raise_on_error=False)
            assert got == b"OK"
            assert isinstance(failed_or_got, redis.ConnectionError) if retries == 0 else failed_or_got == b"OK"
            assert pair.take()[0] == [GET_OTHER, GET, *([GET] if retries else [])]
