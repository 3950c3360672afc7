"""Each generation has one Redis, and calls for many go to each Redis once."""

import pytest

from millrace.worker.contract.connection import Redis
from millrace.worker.contract.ids import new_id
from millrace.worker.contract.streams import CONTROL, StreamNode, Streams


@pytest.fixture
def streams(redis: Redis) -> Streams:
    return Streams(redis)


def test_one_redis_holds_everything(streams: Streams, redis: Redis) -> None:
    generation = new_id()
    assert streams.of(generation) is streams.redis_of(CONTROL) is streams.control is redis
    assert [node.name for node in streams.nodes] == [CONTROL]
    assert streams.is_control(generation)


def test_generations_are_grouped_by_their_node_in_order(streams: Streams) -> None:
    generations = [new_id() for _ in range(5)]
    assert streams.group(generations) == [(streams.nodes[0], generations)]
    assert streams.group([]) == []
    assert isinstance(streams.nodes[0], StreamNode)
