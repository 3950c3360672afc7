"""The lag of a process's event loop: how late its timers fire, because a greenlet keeps the processor, or the machine.

Every greenlet waits that long in addition to its own work, so this is the first figure to look at where all is slow.
"""

import time

from prometheus_client import CollectorRegistry, Histogram

from millrace.worker.background_task import BackgroundTask

STEP_SECONDS = 0.25
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class LoopLag(BackgroundTask):
    """Measures the lag four times a second."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__()
        self._lag = Histogram(
            "millrace_event_loop_lag_seconds",
            "How late a timer of this process's event loop fires, measured four times a second.",
            registry=registry,
            buckets=_BUCKETS,
        )

    def _run(self) -> None:
        due = time.monotonic() + STEP_SECONDS
        while not self._stopping.wait(STEP_SECONDS):
            now = time.monotonic()
            self._lag.observe(max(0.0, now - due))
            due = now + STEP_SECONDS
