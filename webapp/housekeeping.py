"""What one web process does beside its requests: sweep, ring, take back what it could not ring, say who watches."""

import random
import time
from collections.abc import Callable

import gevent

from millrace.webapp.generation.withdrawal import CreatedGeneration, withdraw_whole
from millrace.webapp.metrics import WebMetrics
from millrace.webapp.relay import Hub
from millrace.worker.contract.connection import Redis
from millrace.worker.contract.queue import TaskQueue
from millrace.worker.contract.state import mark_watched
from millrace.worker.contract.sweep import sweep_and_enqueue
from millrace.worker.errors import DatabaseUnavailable, QueueUnavailable, RedisUnavailable
from millrace.worker.observability.logs import get_logger
from millrace.worker.observability.shared_metrics import PUBLISH_SECONDS, process_name, publish
from millrace.worker.settings.schema import Settings
from millrace.worker.store.database import Database

SWEEP_SECONDS = 1.0
WATCH_SECONDS = 5.0  # a mark lives 15 s
_WITHDRAWALS = 1000

_log = get_logger(__name__)


class Housekeeping:
    """A greenlet for each duty, so that a queue that is away does not hold up the marks of those who watch."""

    def __init__(
        self,
        redis: Redis,
        database: Database,
        settings: Settings,
        task_queue: TaskQueue,
        hub: Hub,
        *,
        figures: WebMetrics,
    ) -> None:
        self._redis = redis
        self._database = database
        self._settings = settings
        self._doorbell = task_queue
        self._hub = hub
        self._figures = figures
        self._withdrawals: dict[CreatedGeneration, float] = {}
        self._greenlets: list[gevent.Greenlet[..., None]] = []

    def start(self) -> None:
        """Begin; once, however often it is called."""
        if not self._greenlets:
            self._greenlets = [
                gevent.spawn(_repeat, SWEEP_SECONDS, self.sweep),
                gevent.spawn(_repeat, WATCH_SECONDS, self.watch),
                gevent.spawn(_repeat, PUBLISH_SECONDS, self.publish),
            ]

    def stop(self) -> None:
        """End at once."""
        gevent.killall(self._greenlets)
        self._greenlets = []

    def withdraw_later(self, made: CreatedGeneration) -> None:
        """Take back, once Redis and the database answer, a generation whose asker was refused: nobody waits for it.

        Up to the time when a sweep would ring for it again.
        """
        if len(self._withdrawals) < _WITHDRAWALS:
            self._withdrawals[made] = time.monotonic() + self._settings.generation.queue_seconds / 2

    def sweep(self) -> None:
        """Withdraw what is due, then look at the leases and ring; raises RedisUnavailable, QueueUnavailable."""
        for made, until in list(self._withdrawals.items()):
            self._withdraw(made, until)
        sweep_and_enqueue(self._redis, self._settings, self._doorbell)

    def _withdraw(self, made: CreatedGeneration, until: float) -> None:
        if time.monotonic() < until:
            try:
                verdict = withdraw_whole(self._redis, self._database, made)
            except DatabaseUnavailable as away:
                _log.warning("withdrawal_put_off", generation=made.ids.generation, error=away)
                return
            _log.info("withdrawn_late", generation=made.ids.generation, verdict=verdict)
        self._withdrawals.pop(made, None)

    def watch(self) -> None:
        """Mark the generations that somebody watches here and that are cancelled otherwise; raises RedisUnavailable."""
        if watched := self._hub.watched():
            mark_watched(self._redis, watched)

    def publish(self) -> None:
        """Tell this process's figures to whichever web is asked for them; raises RedisUnavailable."""
        publish(self._redis, process_name("web"), self._figures.registry)


def _repeat(pause: float, duty: Callable[[], None]) -> None:
    while True:
        gevent.sleep(pause * random.uniform(0.7, 1.0))
        try:
            duty()
        except (RedisUnavailable, QueueUnavailable) as away:
            _log.warning("put_off", duty=duty.__name__, kind=type(away).__name__, error=away)
        except Exception:  # noqa: BLE001 - the edge of this greenlet
            _log.exception("duty_failed", duty=duty.__name__)
