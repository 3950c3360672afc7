"""The background tasks of one mount: sweep, mark watched generations, delete old data, index texts, publish metrics."""

import time
from collections.abc import Sequence
from functools import partial

import gevent

from millrace.webapp.generation.withdrawal import PendingWithdrawals
from millrace.webapp.metrics import WebMetrics
from millrace.webapp.owner_data.retention import Retention
from millrace.webapp.owner_data.stores import Stores
from millrace.webapp.relay import Hub
from millrace.worker.background_task import BackgroundTask, PeriodicTask
from millrace.worker.contract.queue import TaskQueue
from millrace.worker.contract.redis.node_probe import PROBE_SECONDS, NodeProbe
from millrace.worker.contract.redis.streams import CONTROL, Streams
from millrace.worker.contract.state import mark_watched
from millrace.worker.contract.sweep import sweep_and_enqueue
from millrace.worker.observability.shared_metrics import PUBLISH_SECONDS, publish
from millrace.worker.settings.schema import Settings
from millrace.worker.store.conversation_search import index_pending
from millrace.worker.store.conversations import TOMBSTONE_MS
from millrace.worker.store.database import Database
from millrace.worker.store.image_files import ImageFiles
from millrace.worker.store.messages import find_stored_generations

SWEEP_SECONDS = 1.0
IMAGE_SECONDS = 3600.0
IMAGE_ROWS = 500  # generations that are looked up at once
RETENTION_SECONDS = 60.0  # one process of all has the turn
INDEX_SECONDS = 2.0
INDEX_PAUSE_SECONDS = 0.02
WATCH_SECONDS = 5.0  # a mark expires after 15 s


class Housekeeping:
    """One greenlet per task, so that an unavailable queue does not delay the marks of watched generations."""

    def __init__(
        self,
        streams: Streams,
        settings: Settings,
        task_queue: TaskQueue,
        hub: Hub,
        *,
        database: Database,
        withdrawals: PendingWithdrawals,
        metrics: WebMetrics,
        probes: Sequence[NodeProbe] = (),
    ) -> None:
        self._streams = streams
        self._settings = settings
        self._task_queue = task_queue
        self._hub = hub
        self._database = database
        self._images = ImageFiles(settings.images.directory)
        stores = Stores(settings, streams, database, self._images)
        self._retention = Retention(stores, metrics.process_name, metrics.registry)
        self._withdrawals = withdrawals
        self._metrics = metrics
        self._probes = probes
        self._tasks: list[BackgroundTask] = []

    @property
    def is_running(self) -> bool:
        """Whether the tasks have been started and not stopped."""
        return bool(self._tasks)

    def start(self) -> None:
        """Start the tasks; further calls do nothing."""
        if self._tasks:
            return
        nodes = self._streams.nodes
        self._tasks = [
            *(PeriodicTask("sweep", SWEEP_SECONDS, partial(self.sweep, node.name)) for node in nodes),
            *(PeriodicTask("mark_watched", WATCH_SECONDS, partial(self.mark_watched, node.name)) for node in nodes),
            *(PeriodicTask("probe_stream_node", PROBE_SECONDS, probe.probe) for probe in self._probes),
            PeriodicTask("delete_expired", RETENTION_SECONDS, self._retention.delete_expired),
            PeriodicTask("delete_images", IMAGE_SECONDS, self.delete_images),
            PeriodicTask("index_messages", INDEX_SECONDS, self.index_messages),
            PeriodicTask("publish_metrics", PUBLISH_SECONDS, self.publish_metrics),
            self._metrics.loop_lag,
        ]
        for task in self._tasks:
            task.start()

    def stop(self) -> None:
        """Stop the tasks, each within a second."""
        for task in self._tasks:
            task.stop()
        self._tasks = []

    def sweep(self, node: str = CONTROL) -> None:
        """Retry a node's pending withdrawals, then sweep its leases once; raises RedisUnavailable, QueueUnavailable."""
        self._withdrawals.retry(node)
        sweep_and_enqueue(self._streams, self._settings, self._task_queue, node)

    def mark_watched(self, node: str = CONTROL) -> None:
        """Mark a node's generations with readers here, if they are cancelled once they have none.

        Raises RedisUnavailable.
        """
        if watched := [each for each in self._hub.watched(node) if self._streams.answers(each)]:
            mark_watched(self._streams, watched)

    def delete_images(self) -> None:
        """Delete old images of generations whose answers are not stored; raises DatabaseUnavailable, OSError.

        These are answers without a conversation, and those that ended after their conversation was deleted.
        """
        old = self._images.find_old(TOMBSTONE_MS / 1000)
        for start in range(0, len(old), IMAGE_ROWS):
            some = old[start : start + IMAGE_ROWS]
            stored = self._database.run(lambda session, some=some: find_stored_generations(session, some))
            self._images.delete({*some} - stored)

    def index_messages(self) -> None:
        """Index what has been stored since, for the search of conversations; raises DatabaseUnavailable.

        After an upgrade these may be all messages, so one call stops after some, and leaves time for requests.
        """
        until = time.monotonic() + INDEX_SECONDS
        while index_pending(self._database) and time.monotonic() < until:
            gevent.sleep(INDEX_PAUSE_SECONDS)

    def publish_metrics(self) -> None:
        """Publish this process's metrics to Redis, so that any web process can serve them; raises RedisUnavailable."""
        publish(self._streams.control, self._metrics.process_name, self._metrics.registry)
