"""Sweeps for generations whose holder is gone, and rings for them."""

import random

from millrace.worker.background_task import BackgroundTask
from millrace.worker.contract.connection import Redis
from millrace.worker.contract.queue import TaskQueue
from millrace.worker.contract.sweeping import sweep_and_ring
from millrace.worker.errors import QueueUnavailable, RedisUnavailable
from millrace.worker.observability.logs import get_logger
from millrace.worker.settings.schema import Settings

SWEEP_SECONDS = 1.0

_log = get_logger(__name__)


class Sweeper(BackgroundTask):
    """One greenlet a process; any number of processes may sweep at once."""

    def __init__(self, store: Redis, settings: Settings, task_queue: TaskQueue) -> None:
        super().__init__()
        self._redis = store
        self._settings = settings
        self._doorbell = task_queue

    def sweep(self) -> None:
        """Sweep once and ring; raises RedisUnavailable, QueueUnavailable."""
        sweep_and_ring(self._redis, self._settings, self._doorbell)

    def _run(self) -> None:
        while not self._stopping.wait(SWEEP_SECONDS * random.uniform(0.7, 1.3)):
            try:
                self.sweep()
            except (RedisUnavailable, QueueUnavailable) as error:
                _log.warning("sweep_failed", error=error)
            except Exception:  # noqa: BLE001 - the edge of this greenlet
                _log.exception("sweeper_failed")
