"""What one worker process holds, made once at its start and shared by all its greenlets."""

import time

from gevent.lock import BoundedSemaphore

from millrace.worker.context.sources import make_sources
from millrace.worker.contract.connection import connect
from millrace.worker.contract.lease import ClaimedGeneration
from millrace.worker.contract.queue import TaskQueue
from millrace.worker.interrupt import Interrupt
from millrace.worker.metrics import WorkerMetrics
from millrace.worker.providers.bedrock.client import Bedrock
from millrace.worker.providers.protocol import Provider
from millrace.worker.publishing.batching import Batcher
from millrace.worker.publishing.outbox import Outbox
from millrace.worker.publishing.writer import Writer
from millrace.worker.run import RunningGeneration
from millrace.worker.seat import LastAttemptSlot
from millrace.worker.settings.schema import Settings
from millrace.worker.store.database import Database
from millrace.worker.upkeep.late_storage import LateStorage
from millrace.worker.upkeep.sweeper import Sweeper
from millrace.worker.upkeep.watcher import Watcher

CALLERS = 32  # connections for claims and releases: hundreds may come at once
WATCH_ANSWER_SECONDS = 2.0


def make_process(settings: Settings, concurrency: int) -> "WorkerProcess":
    """Return a process that answers up to `concurrency` generations at once; a new provider is named here."""
    return WorkerProcess(settings, Bedrock(settings, concurrency))


class WorkerProcess:
    """The clients, the provider, the greenlets that look after all generations, and the generations that run."""

    def __init__(self, settings: Settings, provider: Provider) -> None:
        self.settings = settings
        self.provider = provider
        self.database = Database(settings)
        self.sources = make_sources(settings, provider, self.database)
        self.redis = connect(settings.redis.url)
        self.task_queue = TaskQueue(settings)
        self.gate = BoundedSemaphore(CALLERS)
        self.runs: set[RunningGeneration] = set()
        self.seat = LastAttemptSlot()
        writing = connect(settings.redis.url, retries=0)
        watching = connect(settings.redis.url, timeout_seconds=WATCH_ANSWER_SECONDS, retries=0)
        self._clients = (self.redis, writing, watching)
        self.writer = Writer(writing, settings)
        self.watcher = Watcher(watching, settings, self.runs, self.writer.recover)
        self.archivist = LateStorage(watching, self.database)
        self.sweeper = Sweeper(watching, settings, self.task_queue)
        self.figures = WorkerMetrics(watching)
        self.figures.running.set_function(lambda: len(self.runs))

    def start(self) -> None:
        """Spawn the greenlets."""
        self.writer.start()
        self.watcher.start()
        self.sweeper.start()
        self.archivist.start()
        self.figures.start()

    def leave(self) -> None:
        """Let what runs go on for the grace, then hand it over; only sets values: it is called in a signal handler."""
        if self.watcher.leave_at is None:
            self.watcher.leave_at = time.monotonic() + self.settings.worker.shutdown_grace_seconds

    @property
    def is_leaving(self) -> bool:
        """Whether this process has been told to end."""
        return self.watcher.leave_at is not None

    def stop(self) -> None:
        """End the greenlets, each within a bounded time, and close the connections."""
        for each in (self.archivist, self.sweeper, self.watcher, self.writer, self.figures):
            each.stop()
        for client in self._clients:
            client.close()
        self.sources.close()
        self.database.close()
        self.provider.close()
        self.task_queue.close()

    def has(self, generation: str) -> bool:
        """Whether this process runs a generation, or has just ended it.

        A ring for such a one is a second, or comes from a Redis that has lost the claim: the watcher sees to that.
        """
        is_running = any(run.outbox.is_alive and run.holding.claim.generation == generation for run in self.runs)
        return is_running or self.watcher.has_kept(generation)

    def begin(self, holding: ClaimedGeneration) -> RunningGeneration:
        """Take charge of a generation that the calling greenlet has claimed."""
        interrupt = Interrupt()
        batcher = Batcher(self.settings.worker.flush_bytes)
        outbox = Outbox(holding, interrupt, batcher, self.writer.notice, self.settings.worker.buffer_bytes)
        run = RunningGeneration(
            holding, interrupt, outbox, ends_by=time.monotonic() + self.settings.generation.max_seconds
        )
        self.runs.add(run)
        return run

    def end(self, run: RunningGeneration) -> None:
        """Let go of a generation, after a moment where it has come to its end."""
        self.runs.discard(run)
        if run.outbox.has_ended:
            self.watcher.keep(run)
