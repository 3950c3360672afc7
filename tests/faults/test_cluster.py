"""Row 49: the streams are in a Redis Cluster; slots move under load, a master hangs, and one dies."""

import signal
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from millrace.worker.contract.ids import bucket_of
from tests.client import wait_for
from tests.faults.conftest import StartedGeneration, ask, ask_several, assert_complete
from tests.faults.follower import check
from tests.faults.rig import Rig
from tests.redis_cluster import MASTERS, RedisCluster
from tests.valkey import ValkeyProcess

AT_ONCE = 8
LOST_SECONDS = 15  # longer than a replica takes to become the master
SILENT_SECONDS = 8.0  # of a subscription, after which the web takes its connection for dead
WRITER_SECONDS = 5.0  # a worker's time limit for the reply to an append, which held up all answers at a time


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with RedisCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, cluster: RedisCluster) -> Iterator[Rig]:
    """A system whose streams are in a cluster; queue, locks and limits are in a Redis of their own."""
    with Rig(
        tmp_path_factory.mktemp("rig"),
        stream_redis_urls=f"c={cluster.url}",
        max_active_per_user=100,
        stream_lost_seconds=LOST_SECONDS,
    ) as rig:
        yield rig


def ask_at_each_master(rig: Rig, cluster: RedisCluster, name: str, seconds: float = 8) -> list[StartedGeneration]:
    """Ask until each master has two of the answers, and wait until all have some text."""
    client, asked = rig.client(), list[StartedGeneration]()
    counts = Counter[int]()
    while min(counts[node.port] for node in cluster.nodes[:MASTERS]) < 2:
        asked.append(ask(rig, seconds, name=f"{name}{len(asked)}", client=client))
        counts[cluster.master_of(bucket_of(asked[-1].generation)).port] += 1
        assert len(asked) < 60, "buckets are picked at random"
    wait_for(lambda: all(len(each.follower.text) > 40 for each in asked), 40, "text of all answers")
    return asked


def subscriptions(node: ValkeyProcess) -> int:
    """Return how many clients listen to messages at a node."""
    with node.client() as client:
        return len(client.client_list(_type="pubsub"))


def test_row_49_answers_complete_while_their_slots_move(rig: Rig, cluster: RedisCluster) -> None:
    asked = ask_several(rig, 20, (f"a{number}" for number in range(AT_ONCE)))
    for bucket in {bucket_of(each.generation) for each in asked}:
        source = cluster.master_of(bucket)
        cluster.move(bucket, next(node for node in cluster.nodes[:3] if node is not source))
    assert any(not each.follower.is_done for each in asked), "the slots moved after the end of the answers"
    assert_complete(rig, asked)
    assert not any(each.follower.of_type("snapshot") for each in asked)


def split(
    asked: list[StartedGeneration], cluster: RedisCluster, master: ValkeyProcess
) -> tuple[list[StartedGeneration], list[StartedGeneration]]:
    """Return the answers whose log is on this master, and the others."""
    there = [each for each in asked if cluster.master_of(bucket_of(each.generation)) is master]
    return there, [each for each in asked if each not in there]


def silences_to_the_end(rig: Rig, asked: list[StartedGeneration]) -> list[float]:
    """Assert that the answers complete, and return the longest pause of each from now on, in seconds."""
    for each in asked:
        each.follower.longest_silence = 0.0
    assert_complete(rig, asked)
    return [round(each.follower.longest_silence, 1) for each in asked]


def test_row_49_a_master_that_hangs_delays_its_own_answers_alone(rig: Rig, cluster: RedisCluster) -> None:
    """A third of the slots is on each master; the answers of all three run while one of them is stopped."""
    asked = ask_at_each_master(rig, cluster, "d")
    hanging = next(node for node in cluster.nodes[1:MASTERS] if not subscriptions(node))
    hit, unharmed = split(asked, cluster, hanging)
    hanging.signal(signal.SIGSTOP)
    try:
        silences = silences_to_the_end(rig, unharmed)
        assert not any(each.follower.is_done for each in hit)
        assert max(silences) < WRITER_SECONDS, silences
        later = [ask(rig, 1, name=f"e{number}") for number in range(6)]
        assert hanging not in {cluster.master_of(bucket_of(each.generation)) for each in later}
        assert_complete(rig, later)
    finally:
        hanging.signal(signal.SIGCONT)
    assert_complete(rig, hit)


def test_row_49_a_master_that_keeps_hanging_ends_its_own_answers_alone(rig: Rig, cluster: RedisCluster) -> None:
    """It is the one from which the web gets the events of all, so that the web has to look for another one."""
    asked = ask_at_each_master(rig, cluster, "f")
    while not (listened_to := [node for node in cluster.nodes[1:MASTERS] if subscriptions(node)]):
        with cluster.nodes[0].client() as client:
            client.client_kill_filter(_type="pubsub")
    hanging = listened_to[0]
    hit, unharmed = split(asked, cluster, hanging)
    hanging.signal(signal.SIGSTOP)
    try:
        silences = silences_to_the_end(rig, unharmed)
        assert max(silences) < SILENT_SECONDS, silences
        for each in hit:
            outcome = check(each.follower, each.client, LOST_SECONDS + 30)
            # The worker has stored what it has, which is all, unless it is slow.
            assert outcome["type"] == "complete" or outcome["code"] == "stream_lost"
            assert each.text.startswith(each.follower.text)
            assert len(each.follower.text) > 40
    finally:
        hanging.signal(signal.SIGCONT)
    assert rig.webs[0].logged("stream_node_down", node="c", place=f"127.0.0.1:{hanging.port}")
    wait_for(
        lambda: rig.webs[0].logged("stream_node_up", node="c", place=f"127.0.0.1:{hanging.port}"), 20, "its return"
    )
    assert_complete(rig, ask_at_each_master(rig, cluster, "g", 2))


def test_row_49_answers_complete_when_a_master_dies_and_its_replica_takes_over(rig: Rig, cluster: RedisCluster) -> None:
    asked = ask_several(rig, 8, (f"b{number}" for number in range(AT_ONCE)))
    dying = cluster.nodes[0]
    unharmed = [each for each in asked if cluster.master_of(bucket_of(each.generation)) is not dying]
    dying.stop(signal.SIGKILL)
    killed = time.monotonic()
    assert_complete(rig, asked)
    assert not any(each.follower.of_type("snapshot") for each in unharmed)
    assert time.monotonic() - killed < 60
    dying.start()
    assert_complete(rig, [ask(rig, 1, name=f"c{number}") for number in range(3)])
