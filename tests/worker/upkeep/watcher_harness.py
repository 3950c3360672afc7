"""A watcher with one generation that the test's greenlet holds."""

from millrace.worker.contract.events import Chunk
from millrace.worker.publishing.outbox import Outbox
from millrace.worker.publishing.writer import LogWriter
from millrace.worker.upkeep.watcher import Watcher
from tests.worker.harness import COMPLETE, WorkerHarness, claim_attempt


class WatcherHarness:
    """A watcher over one attempt; `recovered` lists the outboxes that it passed to the log writer's `recover`.

    Neither the watcher nor the log writer is started.
    """

    def __init__(self, harness: WorkerHarness) -> None:
        self.writer = LogWriter(harness.connect(retries=0), harness.settings)
        self.attempt = claim_attempt(harness, self.writer)
        self.run = self.attempt.to_run(harness.settings)
        self.running = {self.run}
        self.recovered: list[Outbox] = []
        self.watcher = Watcher(harness.connect(), harness.settings, self.running, self._recover)

    def _recover(self, outbox: Outbox) -> None:
        self.recovered.append(outbox)
        self.writer.recover(outbox)

    def finish_generation(self) -> None:
        """Write a complete answer to the log, and let the watcher watch its end."""
        self.writer.start()
        self.attempt.outbox.add(Chunk("all"))
        self.attempt.outbox.finish(COMPLETE)
        assert self.attempt.outbox.wait_until_empty(10)
        self.running.clear()
        self.watcher.watch_end(self.run)

    def stop(self) -> None:
        """Stop the greenlets."""
        self.watcher.stop()
        self.writer.stop()
