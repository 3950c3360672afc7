"""The background tasks of one mount: sweep, mark watched generations, publish metrics."""

from millrace.webapp.generation.withdrawal import PendingWithdrawals
from millrace.webapp.metrics import WebMetrics
from millrace.webapp.relay import Hub
from millrace.worker.background_task import PeriodicTask
from millrace.worker.contract.connection import Redis
from millrace.worker.contract.queue import TaskQueue
from millrace.worker.contract.state import mark_watched
from millrace.worker.contract.sweep import sweep_and_enqueue
from millrace.worker.observability.shared_metrics import PUBLISH_SECONDS, publish
from millrace.worker.settings.schema import Settings

SWEEP_SECONDS = 1.0
WATCH_SECONDS = 5.0  # a mark expires after 15 s


class Housekeeping:
    """One greenlet per task, so that an unavailable queue does not delay the marks of watched generations."""

    def __init__(
        self,
        redis: Redis,
        settings: Settings,
        task_queue: TaskQueue,
        hub: Hub,
        *,
        withdrawals: PendingWithdrawals,
        metrics: WebMetrics,
    ) -> None:
        self._redis = redis
        self._settings = settings
        self._task_queue = task_queue
        self._hub = hub
        self._withdrawals = withdrawals
        self._metrics = metrics
        self._tasks: list[PeriodicTask] = []

    @property
    def is_running(self) -> bool:
        """Whether the tasks have been started and not stopped."""
        return bool(self._tasks)

    def start(self) -> None:
        """Start the tasks; further calls do nothing."""
        if self._tasks:
            return
        self._tasks = [
            PeriodicTask("sweep", SWEEP_SECONDS, self.sweep),
            PeriodicTask("mark_watched", WATCH_SECONDS, self.mark_watched),
            PeriodicTask("publish_metrics", PUBLISH_SECONDS, self.publish_metrics),
        ]
        for task in self._tasks:
            task.start()

    def stop(self) -> None:
        """Stop the tasks, each within a second."""
        for task in self._tasks:
            task.stop()
        self._tasks = []

    def sweep(self) -> None:
        """Retry pending withdrawals, then sweep the leases once; raises RedisUnavailable, QueueUnavailable."""
        self._withdrawals.retry()
        sweep_and_enqueue(self._redis, self._settings, self._task_queue)

    def mark_watched(self) -> None:
        """Mark generations with readers here that are cancelled once they have none; raises RedisUnavailable."""
        if watched := self._hub.watched():
            mark_watched(self._redis, watched)

    def publish_metrics(self) -> None:
        """Publish this process's metrics to Redis, so that any web process can serve them; raises RedisUnavailable."""
        publish(self._redis, self._metrics.process_name, self._metrics.registry)
