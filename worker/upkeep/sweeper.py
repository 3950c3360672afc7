"""The sweep of the worker tier: finds generations without a live lease and enqueues them again."""

from millrace.worker.background_task import PeriodicTask
from millrace.worker.contract.queue import TaskQueue
from millrace.worker.contract.redis.streams import CONTROL, Streams
from millrace.worker.contract.sweep import sweep_and_enqueue
from millrace.worker.settings.schema import Settings

SWEEP_SECONDS = 1.0


class Sweeper(PeriodicTask):
    """One greenlet per process and stream node. Any number may sweep at once; one of them enqueues a generation."""

    def __init__(self, streams: Streams, settings: Settings, task_queue: TaskQueue, name: str = CONTROL) -> None:
        super().__init__("sweep", SWEEP_SECONDS, self.sweep)
        self._streams = streams
        self._settings = settings
        self._task_queue = task_queue
        self._node = name

    def sweep(self) -> None:
        """Sweep the node once; raises RedisUnavailable, QueueUnavailable."""
        sweep_and_enqueue(self._streams, self._settings, self._task_queue, self._node)
