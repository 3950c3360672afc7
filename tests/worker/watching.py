"""A watcher over one generation that a test's greenlet holds."""

import time

from millrace.worker.contract.events import Chunk
from millrace.worker.publishing.outbox import Outbox
from millrace.worker.publishing.writer import Writer
from millrace.worker.run import RunningGeneration
from millrace.worker.upkeep.watcher import Watcher
from tests.worker.desk import Desk
from tests.worker.holding import COMPLETE, Held, hold


class Watch:
    """A watcher over one generation; `recovered` is what it said is lost; `writer`, once started, hears it."""

    def __init__(self, desk: Desk) -> None:
        self.writer = Writer(desk.connect(retries=0), desk.settings)
        self.held: Held = hold(desk, self.writer)
        self.run = RunningGeneration(
            self.held.holding, self.held.interrupt, self.held.outbox, ends_by=time.monotonic() + 60
        )
        self.runs = {self.run}
        self.recovered: list[Outbox] = []
        self.watcher = Watcher(desk.connect(), desk.settings, self.runs, self._recover)

    def _recover(self, outbox: Outbox) -> None:
        self.recovered.append(outbox)
        self.writer.recover(outbox)

    def end(self) -> None:
        """Come to the end, and leave it to the watcher."""
        self.writer.start()
        self.held.outbox.gather(Chunk("all"))
        self.held.outbox.end(COMPLETE)
        assert self.held.outbox.wait(10)
        self.runs.clear()
        self.watcher.keep(self.run)

    def stop(self) -> None:
        """End the greenlets."""
        self.watcher.stop()
        self.writer.stop()
