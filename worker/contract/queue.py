"""The doorbell: Celery carries a generation's id to some worker; the lease, not the broker, is the truth."""

from celery import Celery
from kombu.entity import Queue
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from worker.contract.errors import QueueAway
from worker.contract.keys import QUEUE, canary_queue
from worker.contract.settings import Settings

TASK = "millrace.generate"
CANARY = "millrace.canary"

_CONSUMER_SECONDS = 20.0  # a half-open connection is given up after that; without it a worker hangs for good
_CANARY_SECONDS = 30  # one that nobody has consumed by then is thrown away
_RING_SECONDS = 1.5  # somebody waits for the answer to a POST: connecting and ringing take at most twice this


def make_celery(settings: Settings) -> Celery:
    """Return the Celery app that both tiers use: the web to ring by name, the worker to answer."""
    return _make_celery(settings, {"socket_timeout": _CONSUMER_SECONDS, "socket_connect_timeout": 2.0})


def _make_celery(settings: Settings, transport_options: dict[str, float]) -> Celery:
    app = Celery("millrace", broker=settings.broker, set_as_current=False)
    app.conf.update(
        task_queues=[Queue(QUEUE)],
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
        broker_pool_limit=100,  # an eleventh ring must not wait for ten that wait for a silent broker
        broker_transport_options={
            **transport_options,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "retry_on_timeout": False,
        },
    )
    return app


class Doorbell:
    """Rings for a generation. One a process; it may be used from any number of greenlets."""

    def __init__(self, settings: Settings) -> None:
        # Without `max_retries` kombu goes on connecting for many seconds.
        bounds = {"socket_timeout": _RING_SECONDS, "socket_connect_timeout": _RING_SECONDS, "max_retries": 0}
        self._celery = _make_celery(settings, bounds)

    def close(self) -> None:
        """Close the connections; a ring after that opens new ones."""
        self._celery.pool.force_close_all()

    def ring(self, generation: str) -> None:
        """Tell the workers of a generation; raises QueueAway, within 3 s, where the broker does not take it.

        Ringing twice does no harm: a claim decides who runs.
        """
        self._send(TASK, [generation], QUEUE)

    def send_canary(self, worker: str) -> None:
        """Send the worker process of this name its canary; raises QueueAway like `ring`."""
        self._send(CANARY, [], canary_queue(worker), expires=_CANARY_SECONDS)

    def _send(self, task: str, arguments: list[str], queue: str, expires: int | None = None) -> None:
        try:
            self._celery.send_task(task, args=arguments, queue=queue, expires=expires, retry=False, ignore_result=True)
        except (KombuError, RedisError, OSError) as error:
            raise QueueAway(str(error)) from error
