"""The map of a cluster knows its masters, and after a check those that do not answer."""

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from millrace.worker.contract.creation import create
from millrace.worker.contract.ids import new_generation
from millrace.worker.contract.lease import claim
from millrace.worker.contract.redis.cluster_map import ClusterMap, Place, find_slot, slot_of, text_of
from millrace.worker.contract.redis.connection import connect
from millrace.worker.contract.redis.streams import NodeStatus, StreamNode, Streams
from tests.valkey import ValkeyProcess
from tests.worker.contract.generations import SETTINGS, new_draft

AWAY = ("127.0.0.1", 1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyProcess]:
    """A cluster of one master, which has all slots."""
    with ValkeyProcess(tmp_path_factory.mktemp("valkey"), "--cluster-enabled", "yes") as valkey:
        with valkey.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        yield valkey


def make(place: Place) -> redis.Redis:
    return redis.Redis(*place, socket_timeout=2, retry=Retry(NoBackoff(), 0))


def test_the_first_bucket_of_a_command_decides() -> None:
    assert find_slot(("EVALSHA", "0" * 40, 1, b"mr:{b07}:x", "mr:{b08}:x")) == slot_of(b"b07")
    assert find_slot(("GET", "mr:{waiting}:lanes", 7)) is None
    assert [text_of(("::1", 6379)), text_of(("host", 1))] == ["[::1]:6379", "host:1"]


def test_servers_that_do_not_answer_a_check_are_down_until_they_do(whole: ValkeyProcess) -> None:
    master = ("127.0.0.1", whole.port)
    cluster_map = ClusterMap([AWAY, master], make)
    assert cluster_map.known_master(7) is None
    lost, back = cluster_map.check()
    assert (list(lost), back, cluster_map.masters) == ([AWAY], {}, [master])
    assert (cluster_map.up_nodes, cluster_map.is_away, cluster_map.down_masters) == ([master], False, set())
    assert cluster_map.down_since(7) is None
    whole.signal(signal.SIGSTOP)
    try:
        lost, _ = cluster_map.check()
        assert (list(lost), cluster_map.check()) == ([master], ({}, {})), "each change is reported once"
        assert cluster_map.is_away
        assert cluster_map.down_since(7) is not None
        assert cluster_map.up_nodes == cluster_map.nodes, "any may be back"
    finally:
        whole.signal(signal.SIGCONT)
    lost, back = cluster_map.check()
    assert (lost, list(back), cluster_map.down_since(7)) == ({}, [master], None)
    cluster_map.close()


def test_a_map_that_no_server_gives_is_an_error_that_names_one(tmp_path: Path) -> None:
    with pytest.raises(redis.ConnectionError, match=r"no node of the cluster answers: 127\.0\.0\.1:1: "):
        ClusterMap([AWAY], make).place_of(7)
    with (
        ValkeyProcess(tmp_path, "--cluster-enabled", "yes") as empty,
        pytest.raises(redis.ConnectionError, match="knows no slots"),
    ):
        ClusterMap([("127.0.0.1", empty.port)], make).refresh()


def test_generations_of_a_master_that_is_down_are_told_from_those_of_the_others(whole: ValkeyProcess) -> None:
    """Slots 0 to 8191 are on a master that is away."""
    master = ("127.0.0.1", whole.port)
    cluster_map = ClusterMap([master], make)
    cluster_map.refresh()
    cluster_map._ranges = [(0, 8191, AWAY), (8192, 16383, master)]
    status = NodeStatus(cluster=cluster_map)
    streams = Streams(make(master), {"c": make(master)}, lost_seconds=5, statuses={"c": status})
    by_place: dict[Place | None, str] = {}
    node = streams.node("c")
    while len(by_place) < 2:
        generation = new_generation("c")
        by_place[node.server_of(generation)[1]] = generation
    cluster_map.down[AWAY] = 0.0  # since the start of the machine
    assert isinstance(node, StreamNode)
    assert (node.is_up, node.is_whole) == (True, False)
    own, other = by_place[AWAY], by_place[master]
    assert (streams.is_lost(own), streams.is_lost(other)) == (True, False)
    assert (streams.node_of(own).name, streams.node_of(other).name) == ("", "c")
    assert streams.answers("no id"), "an answer about anything else"
    assert {node.server_of(streams.new_generation())[1] for _ in range(50)} == {master}


def test_a_generation_is_claimed_at_its_home_although_this_process_takes_that_for_lost(whole: ValkeyProcess) -> None:
    """The process that created it has already seen that the home is back."""
    client = connect(f"redis+cluster://127.0.0.1:{whole.port}")
    streams = Streams(connect("redis://127.0.0.1:1"), {"c": client}, lost_seconds=5)
    draft = new_draft()
    draft = replace(draft, ids=replace(draft.ids, generation=new_generation("c")))
    create(streams, draft, SETTINGS)
    streams.statuses["c"].down_since = 0.0
    assert streams.is_lost(draft.ids.generation)
    assert claim(streams, draft.ids.generation, SETTINGS) is not None
    streams.close()
