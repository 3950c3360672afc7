"""A node that is one server has one writer; a cluster has one for each master."""

from collections.abc import Iterator

import gevent
import pytest

from millrace.worker.contract.ids import bucket_of, new_id
from millrace.worker.contract.redis.cluster_map import ClusterMap, Place
from millrace.worker.contract.redis.streams import NodeStatus, StreamNode
from millrace.worker.publishing.writer import GIVE_UP_SECONDS
from millrace.worker.publishing.writers import LogWriters
from tests.worker.harness import WorkerHarness


@pytest.fixture
def harness(valkey_url: str) -> WorkerHarness:
    return WorkerHarness(valkey_url)


@pytest.fixture
def made() -> Iterator[list[LogWriters]]:
    writers: list[LogWriters] = []
    yield writers
    for each in writers:
        each.stop()


def test_a_node_has_a_writer_for_each_of_its_servers(harness: WorkerHarness, made: list[LogWriters]) -> None:
    """Half of the slots are on each of two masters."""
    first, second = ("a", 1), ("b", 2)
    halves = HalvedMap([first, second], lambda _: harness.redis)
    one = LogWriters(StreamNode("", harness.redis), harness.settings, GIVE_UP_SECONDS)
    two = LogWriters(StreamNode("c", harness.redis, NodeStatus(cluster=halves)), harness.settings, GIVE_UP_SECONDS)
    made += [one, two]
    ids = [new_id() for _ in range(200)]
    assert len({one.of(each) for each in ids}) == 1
    two.start()
    writers = {two.of(each) for each in ids}
    assert len(writers) == 2
    assert {two.of(each) for each in ids if bucket_of(each) == bucket_of(ids[0])} == {two.of(ids[0])}
    for number, each in enumerate(writers, 1):
        each.verdicts["appended"] = number
        each.sent_bytes = number
    assert (two.verdicts["appended"], two.sent_bytes) == (3, 3)
    running = [greenlet for each in writers for greenlet in each._greenlets]
    assert len(running) == 2, "one that is made while the process runs is started"
    two.stop()
    gevent.joinall(running, 5)
    assert all(greenlet.dead for greenlet in running)


class HalvedMap(ClusterMap):
    """A map that is known without a cluster."""

    def known_master(self, slot: int) -> Place | None:
        return self.nodes[slot % 2]
