"""The task_queue: Celery carries a generation's id to some worker; the lease, not the broker, is the truth."""

from celery import Celery
from kombu.entity import Queue
from redis.exceptions import RedisError

from millrace.worker.contract.connection import connect
from millrace.worker.contract.envelope import Envelope
from millrace.worker.contract.keys import LEARNING_QUEUE, QUEUE, canary_queue
from millrace.worker.errors import QueueUnavailable
from millrace.worker.settings.schema import Settings

TASK = "millrace.generate"
LEARN = "millrace.learn"
CANARY = "millrace.canary"

_CONSUMER_SECONDS = 10.0  # a half-open connection is given up after that; without it a worker hangs for good
_CANARY_SECONDS = 30  # one that nobody has consumed by then is gone, with its queue: its process may be, too
_RING_SECONDS = 1.5  # somebody waits for the answer to a POST: connecting and ringing take at most twice this


def make_celery(settings: Settings) -> Celery:
    """Return the worker's Celery app; the web rings without one."""
    app = Celery("millrace", broker=settings.redis.broker, set_as_current=False)
    app.conf.update(
        task_queues=[Queue(QUEUE), Queue(LEARNING_QUEUE)],
        task_default_queue=QUEUE,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=False,
        worker_disable_prefetch=True,  # with gevent, prefetched tasks block the consumer and hold up the exit
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,  # else one refusal of Redis's (read-only, out of memory) ends the consumer
        broker_transport_options={
            "socket_timeout": _CONSUMER_SECONDS,
            "socket_connect_timeout": 2.0,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "retry_on_timeout": False,
        },
    )
    return app


def own_queue(worker: str) -> Queue:
    """Return the queue of one worker process for what it sends to itself; never declared, it leaves nothing behind."""
    return Queue(canary_queue(worker), no_declare=True)


class TaskQueue:
    """Rings for a generation. One a process; it may be used from any number of greenlets."""

    def __init__(self, settings: Settings) -> None:
        self._broker = connect(settings.redis.broker, timeout_seconds=_RING_SECONDS, retries=0)
        self._rings = Envelope(TASK)
        self._lessons = Envelope(LEARN)
        self._canaries = Envelope(CANARY)

    def close(self) -> None:
        """Close the connections; a ring after that opens new ones."""
        self._broker.close()

    def enqueue(self, generation: str) -> None:
        """Tell the workers of a generation; raises QueueUnavailable, within 3 s, where the broker does not take it.

        Ringing twice does no harm: a claim decides who runs.
        """
        self._put(QUEUE, self._rings.message(QUEUE, [generation]))

    def enqueue_learning(self, generation: str) -> None:
        """Have a worker learn from a generation's answer; raises QueueUnavailable like `ring`."""
        self._put(LEARNING_QUEUE, self._lessons.message(LEARNING_QUEUE, [generation]))

    def count_waiting(self) -> int:
        """Return how many rings wait for a worker; raises QueueUnavailable like `ring`."""
        try:
            return self._broker.llen(QUEUE)
        except RedisError as error:
            raise QueueUnavailable(str(error)) from error

    def send_canary(self, worker: str) -> None:
        """Send the worker process of this name its canary; raises QueueUnavailable like `ring`."""
        queue = canary_queue(worker)
        self._put(queue, self._canaries.message(queue, []), life_seconds=_CANARY_SECONDS)

    def _put(self, queue: str, message: str, life_seconds: int | None = None) -> None:
        try:
            self._broker.lpush(queue, message)
            if life_seconds is not None:
                self._broker.expire(queue, life_seconds)
        except RedisError as error:
            raise QueueUnavailable(str(error)) from error
