"""Celery's consumer of the queues, which consumes again within seconds of its broker's return."""

import re
import time
import warnings
from functools import partial
from typing import Any

import gevent
from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer

RECONNECT_SECONDS = 4.0  # kombu's own wait between two attempts grows to 30 s
PACE_SECONDS = 2.0  # a broker that accepts connections and refuses writes ends each of them at once


class TaskConsumer(Consumer):
    """Waits a few seconds between two connections, however long the broker has been away."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._lost_at = float("-inf")
        # Celery recommends at each lost connection to cancel the tasks that run. `app` decides on purpose against it.
        warnings.filterwarnings("ignore", category=CPendingDeprecationWarning, module=re.escape(__name__))

    def ensure_connected(self, conn: Any) -> Any:
        """Return the connection once the broker accepts it."""
        conn.ensure_connection = partial(conn.ensure_connection, interval_max=RECONNECT_SECONDS)
        return super().ensure_connected(conn)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Close the connection; one that did not last is followed by a pause."""
        super().on_connection_error_after_connected(exc)
        if time.monotonic() - self._lost_at < 2 * PACE_SECONDS:
            gevent.sleep(PACE_SECONDS)
        self._lost_at = time.monotonic()
