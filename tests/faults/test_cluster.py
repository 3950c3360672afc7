"""Row 49: the streams are in a Redis Cluster; slots move under load, and a master dies."""

import signal
import time
from collections.abc import Iterator

import pytest

from millrace.worker.contract.ids import bucket_of
from tests.faults.conftest import ask, ask_several, assert_complete
from tests.faults.rig import Rig
from tests.redis_cluster import RedisCluster

AT_ONCE = 8


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with RedisCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, cluster: RedisCluster) -> Iterator[Rig]:
    """A system whose streams are in a cluster; queue, locks and limits are in a Redis of their own."""
    with Rig(tmp_path_factory.mktemp("rig"), stream_redis_urls=f"c={cluster.url}") as rig:
        yield rig


def test_row_49_answers_complete_while_their_slots_move(rig: Rig, cluster: RedisCluster) -> None:
    asked = ask_several(rig, 20, (f"a{number}" for number in range(AT_ONCE)))
    for bucket in {bucket_of(each.generation) for each in asked}:
        source = cluster.master_of(bucket)
        cluster.move(bucket, next(node for node in cluster.nodes[:3] if node is not source))
    assert any(not each.follower.is_done for each in asked), "the slots moved after the end of the answers"
    assert_complete(rig, asked)
    assert not any(each.follower.of_type("snapshot") for each in asked)


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
