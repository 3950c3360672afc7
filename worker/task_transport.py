"""Celery's connection to its queues in Redis, which discards junk and takes the next task as soon as a slot is free.

kombu decodes a message in the loop that consumes the queues. There an element of the list that is no message ends the
worker, and one with a bad body ends the next worker as well, because it is put back. A discarded message loses nothing:
a sweep enqueues each generation that waits for a worker again.

While every slot is taken, kombu asks for no message and waits for 2 s on a connection that stays silent. Here the end
of a task ends this wait.
"""

import base64
import time
from queue import Empty
from typing import Any, Literal, cast

import gevent
import msgspec
import redis
from celery import signals
from gevent import Greenlet, getcurrent
from gevent.event import Event
from kombu import transport as kombu_transports
from kombu.transport.redis import Channel, MultiChannelPoller, Transport
from prometheus_client import Counter
from redis.exceptions import RedisError

from millrace.worker.contract.ids import is_generation
from millrace.worker.contract.queue import CANARY, CONSUMER_SECONDS, LEARN, TASK
from millrace.worker.contract.redis.connection import MAX_CONNECTIONS
from millrace.worker.contract.redis.connection_pool import is_current, make_pool
from millrace.worker.observability.logs import get_logger
from millrace.worker.settings.redis_url import read_redis_url

DISCARDED = Counter("millrace_discarded_messages", "Messages in the queues that are for no task.", registry=None)
_SHOWN = 100  # characters of a discarded message in the log

_log = get_logger(__name__)

_slot_freed = Event()


class _Headers(msgspec.Struct, frozen=True):
    """The headers of a task. Celery would act on those with a default, which tasks of ours do not set."""

    task: str
    id: str
    eta: None = None
    expires: None = None
    timelimit: tuple[None, None] | None = None
    retries: Literal[0] = 0


class _Properties(msgspec.Struct, frozen=True):
    delivery_tag: str
    delivery_info: dict[str, Any]
    body_encoding: Literal["base64"]


class _Message(msgspec.Struct, frozen=True, rename="kebab"):
    body: str
    headers: _Headers
    properties: _Properties
    content_type: Literal["application/json"]
    content_encoding: Literal["utf-8"]


_Body = tuple[list[str], dict[str, Any], dict[str, Any]]


def check_message(message: object) -> None:
    """Raise ValueError, which says what is wrong, for a message that is for no task of ours."""
    envelope = msgspec.convert(message, _Message)
    body = base64.b64decode(envelope.body, validate=True)
    arguments, named, _ = msgspec.json.decode(body, type=_Body)
    match envelope.headers.task, arguments:
        case (task, [generation]) if task in (TASK, LEARN) and is_generation(generation) and not named:
            return
        case (task, []) if task == CANARY and not named:
            return
        case (task, _):
            raise ValueError(f"no task {task} with these arguments")


class TaskChannel(Channel):
    """Discards an element of the queue that is no message at all, and keeps no record of the messages on their way.

    kombu would write each message to Redis again, and remove it once the task has begun: two round trips before every
    answer. A worker that dies in between loses nothing with its messages either: see above.

    Its connections are those of every other client, so that a broker may have any address that a Redis has.
    """

    from_transport_options = (*Channel.from_transport_options, "redis_url")
    redis_url = ""  # kombu sets it, from the options of the transport

    def basic_consume(self, queue: str, no_ack: bool, *given: Any, **named: Any) -> None:
        """Consume a queue without acknowledgements."""
        super().basic_consume(queue, True, *given, **named)

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """Do nothing: Celery acknowledges every message that it accepts."""

    def _get_pool(self, asynchronous: bool = False) -> redis.ConnectionPool:
        address = read_redis_url(self.redis_url)
        pool = make_pool(address, timeout_seconds=CONSUMER_SECONDS, retries=0, connections=MAX_CONNECTIONS)
        self.keyprefix_fanout = self.keyprefix_fanout.format(db=address.db)
        if asynchronous:
            pool.connection_class = self._polled(pool.connection_class)
        return pool

    def _polled(self, connection_class: type[Any]) -> type[Any]:
        """Return a class of connections that leave the poller when they are closed, as kombu's own do."""
        channel = self

        class PolledConnection(connection_class):
            def disconnect(self, *given: Any, **named: Any) -> None:
                super().disconnect(*given, **named)
                if channel._registered:
                    channel._on_connection_disconnect(self)

        return PolledConnection

    def leave_former_master(self) -> None:
        """Close the connection to a server that is not the master any more; the next BRPOP opens another."""
        connection = getattr(self.client, "connection", None)
        if connection is not None and not is_current(self.async_pool, connection):
            connection.disconnect()

    def _brpop_read(self, **options: Any) -> bool | None:
        try:
            is_delivered = super()._brpop_read(**options)
            # The task begins here, and awaits its first reply while this loop asks for the next message.
            gevent.sleep(0)
            return is_delivered
        except (Empty, OSError, RedisError):
            raise
        except Exception as error:  # noqa: BLE001 - the edge: whatever the list holds, the worker goes on
            _discard(error, "")
            return True


class TaskPoller(MultiChannelPoller):
    """Waits for the end of a task while every slot is taken."""

    def get(self, callback: Any, timeout: float | None = None) -> Any:
        """Deliver the next message; raises Empty after `timeout` seconds."""
        if timeout is not None and not self._can_consume():
            deadline = time.monotonic() + timeout
            _slot_freed.clear()  # it was set by tasks that had ended before
            _slot_freed.wait(timeout)
            timeout = max(0.0, deadline - time.monotonic()) if self._can_consume() else 0.0
        return super().get(callback, timeout)

    def maybe_restore_messages(self) -> None:
        """Do nothing: no message is unacknowledged."""

    def _register_BRPOP(self, channel: TaskChannel) -> None:  # noqa: N802 - kombu's name
        if not channel._in_poll:  # noqa: SLF001 - else the reply to come may hold a message
            channel.leave_former_master()
        super()._register_BRPOP(channel)

    def _can_consume(self) -> bool:
        consuming = [each for each in self._channels if each.active_queues]
        return not consuming or any(each.qos.can_consume() for each in consuming)


class TaskTransport(Transport):
    """Discards a message that is for no task of ours."""

    Channel = TaskChannel

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.cycle = TaskPoller()

    def _deliver(self, message: Any, queue: str) -> None:
        try:
            check_message(message)
        except ValueError as error:  # that of base64 and of msgspec is one
            _discard(error, str(message)[:_SHOWN])
        else:
            super()._deliver(message, queue)


def install() -> None:
    """Make kombu use this transport for every Redis of the process."""
    kombu_transports.TRANSPORT_ALIASES["redis"] = f"{__name__}:{TaskTransport.__name__}"
    kombu_transports._transport_cache.pop("redis", None)  # noqa: SLF001 - filled if a connection was made before
    signals.task_postrun.connect(_free_slot_at_end)


def _free_slot_at_end(**_: Any) -> None:
    """End the wait for a free slot once the task's greenlet has ended; until then Celery counts its slot as taken."""
    cast("Greenlet[..., None]", getcurrent()).link(lambda _ended: _slot_freed.set())


def _discard(error: Exception, shown: str) -> None:
    DISCARDED.inc()
    _log.error("message_discarded", error=f"{type(error).__name__}: {error}"[:_SHOWN], message=shown)
