"""The event loop's lag is measured while a greenlet keeps the processor."""

import time

import gevent
from prometheus_client import CollectorRegistry

from millrace.worker.observability.loop_lag import STEP_SECONDS, LoopLag

BLOCKED_SECONDS = 0.6


def test_a_greenlet_that_does_not_give_way_shows_as_lag() -> None:
    registry = CollectorRegistry()
    lag = LoopLag(registry)

    def total(suffix: str) -> float:
        return registry.get_sample_value(f"millrace_event_loop_lag_seconds_{suffix}") or 0.0

    lag.start()
    gevent.sleep(0)
    begun = time.monotonic()
    while time.monotonic() - begun < BLOCKED_SECONDS:
        pass
    with gevent.Timeout(30):
        while not total("count"):
            gevent.sleep(0.01)
    lag.stop()
    assert total("sum") >= BLOCKED_SECONDS - STEP_SECONDS - 0.01
