"""The age of the oldest generation that waits, across lanes and messages."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from millrace.worker.contract.creation import create, new_ids
from millrace.worker.contract.ids import new_generation
from millrace.worker.contract.keys import QUEUE, keys_of
from millrace.worker.contract.queue import TaskQueue
from millrace.worker.contract.redis.connection import Redis, connect
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.waiting import oldest_waiting_seconds
from millrace.worker.settings.schema import Settings
from tests.valkey import ValkeyProcess
from tests.worker.contract.generations import SETTINGS, claim_generation, create_queued, new_draft


@pytest.fixture
def queue(valkey: ValkeyProcess) -> Iterator[TaskQueue]:
    queue = TaskQueue(Settings.of(redis_url=valkey.url))
    yield queue
    queue.close()


def enqueue(redis: Redis, queue: TaskQueue, seconds_ago: float, lane: str) -> str:
    """Create and enqueue a generation as if that long ago."""
    generation = create_queued(redis)
    backdate(redis, generation, seconds_ago)
    queue.enqueue(generation, lane)
    return generation


def backdate(redis: Redis, generation: str, seconds: float) -> None:
    key = keys_of(generation).state
    created = int(redis.hget(key, "created"))  # type: ignore[arg-type]
    redis.hset(key, "created", str(created - round(seconds * 1000)))


def age(redis: Redis, queue: TaskQueue) -> float:
    return round(oldest_waiting_seconds(Streams(redis), queue), -2)  # the test's own time does not show


def test_oldest_generation_is_found_whichever_lane_it_waits_in(redis: Redis, queue: TaskQueue) -> None:
    assert oldest_waiting_seconds(Streams(redis), queue) == 0
    redis.lpush(QUEUE, "an earlier message")  # otherwise the first one would need no turn
    enqueue(redis, queue, 300, "first")
    enqueue(redis, queue, 200, "second")
    assert age(redis, queue) == 300
    enqueue(redis, queue, 900, "third")
    assert age(redis, queue) == 900
    for left in (900, 900, 0):  # the lanes' turns: first, second, third
        taken = queue.take()
        redis.rpop(QUEUE)
        claim_generation(redis, taken)
        assert age(redis, queue) == left


def test_oldest_of_a_lane_behind_many_messages_of_others_is_found(redis: Redis, queue: TaskQueue) -> None:
    generations = [enqueue(redis, queue, 100, "busy") for _ in range(40)]
    enqueue(redis, queue, 800, "patient")
    assert age(redis, queue) == 800
    assert queue.take(generations[0]) == generations[0]
    assert queue.take() == generations[1], "the first one needed no turn"
    assert age(redis, queue) == 800


def test_generations_of_stream_nodes_wait_like_others_but_not_those_of_one_that_is_away(
    redis: Redis, queue: TaskQueue
) -> None:
    away = connect("redis://127.0.0.1:1/0")
    streams = Streams(redis, {"b": redis, "c1": away})
    for node, minutes in (("b", 10), ("c1", 20)):
        draft = replace(new_draft(), ids=new_ids(generation=new_generation(node)))
        create(Streams(redis), draft, SETTINGS)
        backdate(redis, draft.ids.generation, minutes * 60)
        queue.enqueue(draft.ids.generation, node)
    streams.nodes[2].status.down_since = time.monotonic()
    assert round(oldest_waiting_seconds(streams, queue), -2) == 600


def test_running_and_unknown_generations_and_foreign_messages_do_not_wait(redis: Redis, queue: TaskQueue) -> None:
    claim_generation(redis, enqueue(redis, queue, 500, "running"))
    queue.enqueue("f" * 32)
    redis.rpush(QUEUE, b"\xff", b"[]", b'{"body": 5}', b'{"body": "AAAA"}')
    assert oldest_waiting_seconds(Streams(redis), queue) == 0
    enqueue(redis, queue, 100, "")
    assert age(redis, queue) == 100
