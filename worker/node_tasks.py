"""The work of a process on one stream node: it writes logs, renews leases, sweeps, and stores late answers.

Each node has its own, with its own connections: one that does not answer holds up no generation of another. Neither
does one master of a cluster: the logs of each have a writer of their own, and other calls skip it while it is down.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from gevent.lock import BoundedSemaphore

from millrace.worker.background_task import BackgroundTask
from millrace.worker.contract.queue import TaskQueue
from millrace.worker.contract.redis.streams import CONTROL, Server, Streams
from millrace.worker.publishing.writer import GIVE_UP_SECONDS
from millrace.worker.publishing.writers import LogWriters
from millrace.worker.settings.schema import Settings
from millrace.worker.store.database import Database
from millrace.worker.upkeep.late_storage import LateStorage
from millrace.worker.upkeep.sweeper import Sweeper
from millrace.worker.upkeep.watcher import RunningGeneration, Watcher

REDIS_SLOTS = 32  # connections for claims, releases and takeovers, of which hundreds may start at once


@dataclass(frozen=True)
class NodeClients:
    """The clients for background work: those of `writing` do not retry, those of `watching` wait for less time."""

    writing: Streams
    watching: Streams

    def close(self) -> None:
        """Close the connections."""
        self.writing.close()
        self.watching.close()


class NodeTasks:
    """The background tasks of one node, its running generations, and the slots for calls that a generation makes."""

    def __init__(
        self, name: str, clients: NodeClients, settings: Settings, *, task_queue: TaskQueue, database: Database
    ) -> None:
        self.running: set[RunningGeneration] = set()
        self._slots: defaultdict[Server, BoundedSemaphore] = defaultdict(lambda: BoundedSemaphore(REDIS_SLOTS))
        self._node = clients.writing.node(name)
        # Nothing else works without the control Redis, so that its answers are not given up before others take over.
        give_up_seconds = GIVE_UP_SECONDS if name == CONTROL else settings.redis.lost_seconds
        self.writers = LogWriters(self._node, settings, give_up_seconds)
        self.watcher = Watcher(clients.watching.redis_of(name), settings, self.running, self.writers.recover)
        self.late_storage = LateStorage(clients.watching, database, name)
        self._sweeper = Sweeper(clients.watching, settings, task_queue, name)

    def slots_of(self, generation: str) -> BoundedSemaphore:
        """Return the slots for a generation's calls, which are those of its server."""
        return self._slots[self._node.server_of(generation)]

    @property
    def slots(self) -> BoundedSemaphore:
        """The slots of a node that is one server, such as the control Redis."""
        return self._slots[self._node.name, None]

    @property
    def _tasks(self) -> Sequence[BackgroundTask | LogWriters]:
        return self.writers, self.watcher, self._sweeper, self.late_storage

    def start(self) -> None:
        """Start the background tasks."""
        for task in self._tasks:
            task.start()

    def stop(self) -> None:
        """Stop them, each within a bounded time, the log writer last."""
        for task in reversed(self._tasks):
            task.stop()
