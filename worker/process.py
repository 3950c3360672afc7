"""What one worker process holds, made once at its start and shared by all its greenlets."""

import time

from gevent.lock import BoundedSemaphore

from millrace.worker.archivist import Archivist
from millrace.worker.batching import Batcher
from millrace.worker.context.sources import make_sources
from millrace.worker.contract.connection import connect
from millrace.worker.contract.lease import Holding
from millrace.worker.contract.queue import Doorbell
from millrace.worker.contract.settings import Settings
from millrace.worker.figures import Figures
from millrace.worker.interrupt import Interrupt
from millrace.worker.outbox import Outbox
from millrace.worker.providers.bedrock import Bedrock
from millrace.worker.providers.protocol import Provider
from millrace.worker.run import Run
from millrace.worker.seat import Seat
from millrace.worker.store.database import Database
from millrace.worker.sweeper import Sweeper
from millrace.worker.watcher import Watcher
from millrace.worker.writer import Writer

CALLERS = 32  # connections for claims and releases: hundreds may come at once
WATCH_ANSWER_SECONDS = 2.0


def make_process(settings: Settings, concurrency: int) -> "Process":
    """Return a process that answers up to `concurrency` generations at once; a new provider is named here."""
    return Process(settings, Bedrock(settings, concurrency))


class Process:
    """The clients, the provider, the greenlets that look after all generations, and the generations that run."""

    def __init__(self, settings: Settings, provider: Provider) -> None:
        self.settings = settings
        self.provider = provider
        self.database = Database(settings)
        self.sources = make_sources(settings, provider, self.database)
        self.redis = connect(settings.redis_url)
        self.doorbell = Doorbell(settings)
        self.gate = BoundedSemaphore(CALLERS)
        self.runs: set[Run] = set()
        self.seat = Seat()
        writing = connect(settings.redis_url, retries=0)
        watching = connect(settings.redis_url, answer_seconds=WATCH_ANSWER_SECONDS, retries=0)
        self._clients = (self.redis, writing, watching)
        self.writer = Writer(writing, settings)
        self.watcher = Watcher(watching, settings, self.runs, self.writer.recover)
        self.archivist = Archivist(watching, self.database)
        self.sweeper = Sweeper(watching, settings, self.doorbell)
        self.figures = Figures(watching)
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
            self.watcher.leave_at = time.monotonic() + self.settings.shutdown_grace_seconds

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
        self.doorbell.close()

    def has(self, generation: str) -> bool:
        """Whether this process runs a generation, or has just ended it.

        A ring for such a one is a second, or comes from a Redis that has lost the claim: the watcher sees to that.
        """
        is_running = any(run.outbox.is_alive and run.holding.claim.generation == generation for run in self.runs)
        return is_running or self.watcher.has_kept(generation)

    def begin(self, holding: Holding) -> Run:
        """Take charge of a generation that the calling greenlet has claimed."""
        interrupt = Interrupt()
        batcher = Batcher(self.settings.flush_bytes)
        outbox = Outbox(holding, interrupt, batcher, self.writer.notice, self.settings.buffer_bytes)
        run = Run(holding, interrupt, outbox, ends_by=time.monotonic() + self.settings.max_seconds)
        self.runs.add(run)
        return run

    def end(self, run: Run) -> None:
        """Let go of a generation, after a moment where it has come to its end."""
        self.runs.discard(run)
        if run.outbox.has_ended:
            self.watcher.keep(run)
