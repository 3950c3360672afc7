"""The sweep of the worker tier: finds generations without a live lease and enqueues them again."""

from millrace.worker.background_task import PeriodicTask
from millrace.worker.contract.connection import Redis
from millrace.worker.contract.queue import TaskQueue
from millrace.worker.contract.sweep import sweep_and_enqueue
from millrace.worker.settings.schema import Settings

SWEEP_SECONDS = 1.0


class Sweeper(PeriodicTask):
    """One greenlet per process. Any number of processes may sweep at once; a generation is enqueued by one of them."""

    def __init__(self, redis: Redis, settings: Settings, task_queue: TaskQueue) -> None:
        super().__init__("sweep", SWEEP_SECONDS, self.sweep)
        self._redis = redis
        self._settings = settings
        self._task_queue = task_queue

    def sweep(self) -> None:
        """Sweep once; raises RedisUnavailable, QueueUnavailable."""
        sweep_and_enqueue(self._redis, self._settings, self._task_queue)
