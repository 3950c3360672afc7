"""The task queue: Celery carries a generation's id to some worker. The lease, not the broker, decides who runs it."""

import base64
import json
import uuid
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from celery import Celery
from kombu.entity import Queue
from redis.exceptions import RedisError

from millrace.worker.contract.ids import is_generation
from millrace.worker.contract.keys import LEARNING_QUEUE, QUEUE, WAITING, canary_queue
from millrace.worker.contract.lifetimes import STATE_MS
from millrace.worker.contract.redis.connection import connect
from millrace.worker.contract.redis.named_client import describe
from millrace.worker.contract.scripts import ADD_WAITING, REMOVE_WAITING, TAKE_WAITING, Call, Reply, raise_first
from millrace.worker.errors import QueueUnavailable, RedisKeyInvalid, RedisUnavailable
from millrace.worker.settings.redis_url import read_redis_url
from millrace.worker.settings.schema import Settings

TASK = "millrace.generate"
LEARN = "millrace.learn"
CANARY = "millrace.canary"

CONSUMER_SECONDS = 10.0  # then a half-open connection is given up; without this limit a worker hangs for good
_CANARY_SECONDS = 30  # a canary that is not consumed by then expires with its queue, as its process may be gone as well
_ENQUEUE_SECONDS = 1.5  # a client waits for its POST: connecting and enqueueing take at most twice this

_ANY_QUEUE = "any"
_OLDEST = 16  # messages, and lanes

_dump = json.JSONEncoder(separators=(",", ":")).encode


def make_celery(settings: Settings) -> Celery:
    """Return the worker's Celery app; the web tier enqueues without one."""
    app = Celery("millrace", broker=_label(settings.redis.broker), set_as_current=False)
    app.conf.update(
        task_queues=[Queue(QUEUE), Queue(LEARNING_QUEUE)],
        task_default_queue=QUEUE,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=False,
        worker_disable_prefetch=True,  # with gevent, prefetched tasks block the consumer and delay the exit
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,  # else one refusal by Redis (read-only, out of memory) ends the consumer
        broker_transport_options={
            "redis_url": settings.redis.broker,  # of the worker's own transport, which connects by it
            "socket_timeout": CONSUMER_SECONDS,
            "socket_connect_timeout": 2.0,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "retry_on_timeout": False,
        },
    )
    return app


def _label(url: str) -> str:
    """Return a URL for Celery to show in its log, and to choose the transport by; it has no password."""
    address = read_redis_url(url)
    if address.shape == "socket":
        return f"redis+socket://{address.path}?virtual_host={address.db}"
    host, port = address.places[0]
    return f"redis://{f'[{host}]' if ':' in host else host}:{port}/{address.db}"


def own_queue(worker: str) -> Queue:
    """Return the queue that a worker process sends its canary to; it is never declared, so it leaves nothing behind."""
    return Queue(canary_queue(worker), no_declare=True)


class TaskMessage:
    """A template for the messages of one task: Celery makes it once, and each message fills in its ids and arguments.

    Celery's `send_task` takes a millisecond of CPU while a client waits, nearly all of it for parts that never
    change. The form is version 2 of https://docs.celeryq.dev/en/stable/internals/protocol.html, wrapped by kombu for
    its virtual transports, of which Redis is one: a queue is a list there.
    """

    def __init__(self, task: str) -> None:
        with Celery("millrace", broker="memory://localhost", set_as_current=False) as app:
            app.send_task(task, args=[], queue=_ANY_QUEUE, serializer="json", ignore_result=True)
            with app.connection_for_read() as connection:
                self._template: dict[str, Any] = connection.default_channel._get(_ANY_QUEUE)  # noqa: SLF001 - its bytes
        self._embed = json.loads(base64.b64decode(self._template["body"]))[2]

    def encode(self, queue: str, arguments: list[str], **flags: bool) -> str:
        """Return a message for the task with these arguments, to be pushed to the queue as it is.

        The flags become headers, which a worker that does not know them ignores.
        """
        template = self._template
        name = str(uuid.uuid4())
        body = _dump([arguments, {}, self._embed]).encode("ascii")
        headers = template["headers"] | {"id": name, "root_id": name, "argsrepr": repr(arguments or ()), **flags}
        ids = {"correlation_id": name, "delivery_tag": name}
        properties = template["properties"] | ids | {"delivery_info": {"exchange": "", "routing_key": queue}}
        return _dump(template | {"body": base64.b64encode(body).decode(), "headers": headers, "properties": properties})


class TaskQueue:
    """Enqueues tasks. One per process; any number of greenlets may use it.

    Each method raises QueueUnavailable, within 3 s, where the broker does not accept the message.
    """

    def __init__(self, settings: Settings) -> None:
        self._broker = connect(settings.redis.broker, "broker", timeout_seconds=_ENQUEUE_SECONDS, retries=0)
        self._is_beside_logs = settings.redis.broker == settings.redis.url
        self._generate = TaskMessage(TASK)
        self._learn = TaskMessage(LEARN)
        self._canary = TaskMessage(CANARY)

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._broker.close()

    def enqueue(self, generation: str, lane: str = "") -> None:
        """Enqueue a generation. Enqueueing it twice does no harm: a claim decides which worker runs it.

        With `lane`, a hash of its owner, it waits in that lane: the message only says that there is work, and the
        worker that receives it takes the first generation of the lane whose turn it is. Without, or where nothing else
        waits, the message is for this generation.
        """
        if not lane:
            self._push(QUEUE, self._generate.encode(QUEUE, [generation]))
            return
        script, keys, arguments = self._call(generation, lane)
        with _queue_errors():
            script(self._broker, keys, *arguments)

    def enqueue_call(self, generation: str, lane: str) -> Call | None:
        """Return the call that enqueues a generation, to be sent with another one; None if the logs are elsewhere."""
        return self._call(generation, lane) if self._is_beside_logs else None

    def check_enqueued(self, reply: Reply) -> None:
        """Raise QueueUnavailable for a reply to `enqueue_call` that is an error."""
        with _queue_errors():
            raise_first([reply])

    def _call(self, generation: str, lane: str) -> Call:
        message, alone = (self._generate.encode(QUEUE, [generation], needs_turn=flag) for flag in (True, False))
        return ADD_WAITING, (*WAITING, QUEUE), (generation, lane, STATE_MS, message, alone)

    def take(self, generation: str = "") -> str:
        """Return the generation to run for a message that names this one, "" if none waits.

        It is the named one if that does not wait in a lane: it was taken over, or another message's worker has it.
        """
        with _queue_errors():
            return cast("bytes", TAKE_WAITING(self._broker, WAITING, generation)).decode("ascii", "replace")

    def remove(self, generations: Sequence[str]) -> None:
        """Remove generations that no longer wait for a worker; no effect on others."""
        if generations:
            with _queue_errors():
                REMOVE_WAITING(self._broker, WAITING, *generations)

    def enqueue_learning(self, generation: str) -> None:
        """Enqueue the task that learns from a generation's answer."""
        self._push(LEARNING_QUEUE, self._learn.encode(LEARNING_QUEUE, [generation]))

    def count_waiting(self) -> int:
        """Return how many messages wait for a worker."""
        try:
            return self._broker.llen(QUEUE)
        except RedisError as error:
            raise QueueUnavailable(describe(error)) from error

    def find_oldest(self) -> list[str]:
        """Return generations that may be the oldest that wait: those of the oldest messages, and the first of lanes."""
        _, lanes, prefix = WAITING
        with _queue_errors(), self._broker.pipeline(transaction=False) as pipeline:
            pipeline.lrange(QUEUE, -_OLDEST, -1)
            pipeline.lrange(lanes, 0, _OLDEST - 1)
            messages, first_lanes = cast("list[list[bytes]]", pipeline.execute())
            for lane in first_lanes:
                pipeline.lrange(prefix + lane.decode("ascii", "replace"), 0, 0)
            firsts = cast("list[list[bytes]]", pipeline.execute())
        named = [_generation_in(message) for message in messages]
        first = [each.decode("ascii", "replace") for found in firsts for each in found]
        return [*dict.fromkeys(filter(is_generation, [*named, *first]))]

    def send_canary(self, worker: str) -> None:
        """Send the worker process of this name its canary."""
        queue = canary_queue(worker)
        self._push(queue, self._canary.encode(queue, []), expire_seconds=_CANARY_SECONDS)

    def _push(self, queue: str, message: str, expire_seconds: int | None = None) -> None:
        try:
            self._broker.lpush(queue, message)
            if expire_seconds is not None:
                self._broker.expire(queue, expire_seconds)
        except RedisError as error:
            raise QueueUnavailable(describe(error)) from error


def _generation_in(message: bytes) -> str:
    """Return the generation that a task's message names, "" for a message of another form."""
    try:
        return str(json.loads(base64.b64decode(json.loads(message)["body"]))[0][0])
    except (ValueError, LookupError, TypeError):
        return ""


@contextmanager
def _queue_errors() -> Generator[None]:
    try:
        yield
    except (RedisError, RedisUnavailable, RedisKeyInvalid) as error:
        raise QueueUnavailable(describe(error)) from error
