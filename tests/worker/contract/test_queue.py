"""The task queue: one bounded attempt to enqueue, and the workers' Celery settings."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from millrace.worker.contract.ids import new_id
from millrace.worker.contract.keys import QUEUE, WAITING
from millrace.worker.contract.queue import TASK, TaskQueue, make_celery
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.errors import QueueUnavailable
from millrace.worker.settings.schema import Settings
from tests.valkey import ValkeyProcess, free_port

ENQUEUE_BOUND_SECONDS = 15.0  # enqueue is bounded to 3 s; the margin is for a busy machine


def assert_enqueue_fails_in_time(task_queue: TaskQueue) -> None:
    begun = time.monotonic()
    with pytest.raises(QueueUnavailable):
        task_queue.enqueue(new_id())
    assert time.monotonic() - begun < ENQUEUE_BOUND_SECONDS


def test_message_in_the_queue_carries_only_the_id(valkey: ValkeyProcess, redis: Redis) -> None:
    generation = new_id()
    TaskQueue(Settings.of(redis_url=valkey.url)).enqueue(generation)
    (message,) = redis.lrange(QUEUE, 0, -1)
    headers = json.loads(message)["headers"]
    assert (headers["task"], headers["argsrepr"]) == (TASK, f"[{generation!r}]")


def test_broker_can_be_another_redis(valkey: ValkeyProcess, redis: Redis) -> None:
    TaskQueue(Settings.of(redis_url=f"redis://127.0.0.1:{free_port()}/0", broker_url=valkey.url)).enqueue(new_id())
    assert redis.llen(QUEUE) == 1


def test_broker_behind_a_unix_socket_carries_messages_from_the_web_to_celery(tmp_path: Path) -> None:
    with ValkeyProcess(tmp_path, "--unixsocket", str(tmp_path / "valkey.sock")):
        settings = Settings.of(redis_url=f"unix://{tmp_path / 'valkey.sock'}?db=1")
        TaskQueue(settings).enqueue(new_id())
        with make_celery(settings).connection_for_read() as connection:
            assert connection.default_channel._get(QUEUE)["headers"]["task"] == TASK


def test_enqueue_at_a_dead_broker_fails_in_bounded_time() -> None:
    assert_enqueue_fails_in_time(TaskQueue(Settings.of(broker_url=f"redis://127.0.0.1:{free_port()}/0")))


def test_enqueue_at_a_silent_broker_fails_in_bounded_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert_enqueue_fails_in_time(
            TaskQueue(Settings.of(broker_url=f"redis://127.0.0.1:{silent.getsockname()[1]}/0"))
        )


def test_enqueue_at_an_unreachable_host_fails_in_bounded_time() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as first, socket.socket() as second:
        for filler in (first, second):  # a full accept queue drops the next connection
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        assert_enqueue_fails_in_time(TaskQueue(Settings.of(broker_url=f"redis://127.0.0.1:{full.getsockname()[1]}/0")))


def test_enqueue_at_a_stalled_broker_fails_and_the_next_one_succeeds(tmp_path: Path) -> None:
    with ValkeyProcess(tmp_path) as server:
        task_queue = TaskQueue(Settings.of(broker_url=server.url))
        task_queue.enqueue(new_id())
        os.kill(server.pid, signal.SIGSTOP)
        try:
            begun = time.monotonic()
            enqueues = [gevent.spawn(assert_enqueue_fails_in_time, task_queue) for _ in range(30)]
            gevent.joinall(enqueues, timeout=60, raise_error=True)
            assert all(enqueue.successful() for enqueue in enqueues)
            assert time.monotonic() - begun < ENQUEUE_BOUND_SECONDS, "the calls waited for each other"
        finally:
            os.kill(server.pid, signal.SIGCONT)
        task_queue.enqueue(new_id())
        server.stop()
        assert_enqueue_fails_in_time(task_queue)
        server.start()
        task_queue.enqueue(new_id())


def test_enqueue_at_a_broker_out_of_memory_is_refused(valkey: ValkeyProcess, redis: Redis) -> None:
    redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(QueueUnavailable):
            TaskQueue(Settings.of(broker_url=valkey.url)).enqueue(new_id())
    finally:
        redis.config_set("maxmemory", 0)
    assert redis.llen(QUEUE) == 0


def test_worker_app_bounds_its_waits_and_prefetches_nothing() -> None:
    conf = make_celery(Settings()).conf
    options = conf.broker_transport_options
    assert 0 < options["socket_connect_timeout"] < options["socket_timeout"] <= 20
    assert options["socket_keepalive"] is True
    assert "max_retries" not in options, "a worker retries its broker without a limit"
    assert (conf.worker_disable_prefetch, conf.task_acks_late, conf.task_ignore_result) == (True, False, True)
    assert conf.accept_content == ["json"]


def waiting_keys(redis: Redis) -> list[str]:
    return sorted(key.decode() for key in redis.keys("mr:{waiting}*"))  # type: ignore[union-attr]


@pytest.fixture
def task_queue(valkey: ValkeyProcess, redis: Redis) -> Iterator[TaskQueue]:
    queue = TaskQueue(Settings.of(redis_url=valkey.url))
    yield queue
    queue.close()


def occupy(redis: Redis) -> None:
    """Put a message into the queue that no worker has taken, so that those behind it wait for their turns."""
    redis.lpush(QUEUE, "an earlier message")


def test_generation_that_nothing_waits_before_needs_no_turn(redis: Redis, task_queue: TaskQueue) -> None:
    first, second = new_id(), new_id()
    task_queue.enqueue(first, "somebody")
    assert waiting_keys(redis) == []
    task_queue.enqueue(second, "somebody")
    assert redis.hkeys(WAITING[0]) == [second.encode()]
    messages: list[bytes] = redis.lrange(QUEUE, 0, -1)[::-1]  # type: ignore[index]
    assert [json.loads(message)["headers"]["needs_turn"] for message in messages] == [False, True]
    redis.delete(QUEUE)
    task_queue.enqueue(first, "somebody else")
    assert task_queue.take(first) == second, "one that waits for its turn keeps later ones waiting"


def test_owners_take_turns_whatever_the_order_of_arrival(redis: Redis, task_queue: TaskQueue) -> None:
    occupy(redis)
    many, few, late = ([new_id() for _ in range(count)] for count in (100, 2, 1))
    for generation in many:
        task_queue.enqueue(generation, "many")
    taken = [task_queue.take(many[0])]
    for lane, generations in (("few", few), ("late", late)):
        for generation in generations:
            task_queue.enqueue(generation, lane)
    for generation in (*many[1:], *few, *late):
        taken.append(task_queue.take(generation) if generation not in taken else task_queue.take())
    assert taken[:7] == [many[0], many[1], few[0], late[0], many[2], few[1], many[3]]
    assert sorted(taken) == sorted(many + few + late), "each is taken once, and an owner's in their order"
    assert waiting_keys(redis) == []


def test_a_redis_that_has_lost_the_scripts_gets_one_message(redis: Redis, task_queue: TaskQueue) -> None:
    redis.script_flush()
    task_queue.enqueue(new_id(), "a")
    assert redis.llen(QUEUE) == 1


def test_message_of_a_generation_that_does_not_wait_is_for_that_generation(redis: Redis, task_queue: TaskQueue) -> None:
    """So a takeover waits in no lane, and the messages of a version without lanes are served."""
    occupy(redis)
    waiting, named = new_id(), new_id()
    task_queue.enqueue(waiting, "somebody")
    assert task_queue.take(named) == named
    assert task_queue.take(waiting) == waiting
    assert task_queue.take(waiting) == waiting, "its claim tells whether another worker has it"
    assert task_queue.take() == ""
    assert waiting_keys(redis) == []


def test_generation_enqueued_repeatedly_waits_once_and_removal_leaves_no_key(
    redis: Redis, task_queue: TaskQueue
) -> None:
    occupy(redis)
    generations = [new_id() for _ in range(4)]
    for generation in generations * 2:
        task_queue.enqueue(generation, "ab"[generations.index(generation) % 2])
    task_queue.remove([new_id(), generations[0], generations[1], generations[1]])
    assert [task_queue.take(), task_queue.take(), task_queue.take()] == [generations[2], generations[3], ""]
    task_queue.enqueue(generations[0], "a")
    assert all(redis.pttl(key) > 0 for key in waiting_keys(redis)), "without any worker they expire"
    task_queue.remove(generations)
    assert waiting_keys(redis) == []
