"""The deadlines of running generations, and the handover of all of them when the process ends.

Reads only the clock, so that both are enforced even while Redis does not answer.
"""

import time
from collections.abc import Collection

from millrace.worker.background_task import BackgroundTask
from millrace.worker.interrupt import DeadlineExceeded, HandoverRequested
from millrace.worker.observability.logs import get_logger
from millrace.worker.upkeep.watcher import RunningGeneration

POLL_SECONDS = 0.2
LAG_SECONDS = 1.0
HANDOVER_SECONDS = 2.5  # the longest time for the handover; then the process ends, even if Redis does not answer

_log = get_logger(__name__)


class Deadlines(BackgroundTask):
    """Interrupts the generations in `running`, to which the process adds and from which it removes."""

    def __init__(self, running: Collection[RunningGeneration]) -> None:
        super().__init__()
        self._running = running
        self.handover_at: float | None = None
        """When this process hands over its generations. A signal handler sets it; the loop polls it."""

    def enforce(self, now: float) -> None:
        """Interrupt the generations whose deadline has passed, and all of them once the process must hand over."""
        for run in list(self._running):
            if now >= run.deadline:
                run.interrupt.trigger(DeadlineExceeded())
            if self.handover_at is not None and now >= self.handover_at:
                run.interrupt.trigger(HandoverRequested())
                if now >= self.handover_at + HANDOVER_SECONDS:
                    run.outbox.abandon("the process ends")

    def _run(self) -> None:
        before = time.monotonic()
        while not self._stopping.wait(POLL_SECONDS):
            now = time.monotonic()
            if now - before - POLL_SECONDS > LAG_SECONDS:
                _log.warning("hub_blocked", seconds=round(now - before - POLL_SECONDS, 1))
            self.enforce(now)
            before = time.monotonic()
