"""Sweeps for generations whose holder is gone, and rings for them."""

import random

from millrace.worker.contract.connection import Redis
from millrace.worker.contract.errors import QueueAway, RedisAway
from millrace.worker.contract.logs import get_logger
from millrace.worker.contract.queue import Doorbell
from millrace.worker.contract.settings import Settings
from millrace.worker.contract.sweeping import sweep_and_ring
from millrace.worker.rounds import Rounds

SWEEP_SECONDS = 1.0

_log = get_logger(__name__)


class Sweeper(Rounds):
    """One greenlet a process; any number of processes may sweep at once."""

    def __init__(self, store: Redis, settings: Settings, doorbell: Doorbell) -> None:
        super().__init__()
        self._redis = store
        self._settings = settings
        self._doorbell = doorbell

    def sweep(self) -> None:
        """Sweep once and ring; raises RedisAway, QueueAway."""
        sweep_and_ring(self._redis, self._settings, self._doorbell)

    def _run(self) -> None:
        while not self._stopping.wait(SWEEP_SECONDS * random.uniform(0.7, 1.3)):
            try:
                self.sweep()
            except (RedisAway, QueueAway) as error:
                _log.warning("sweep_failed", error=error)
            except Exception:  # noqa: BLE001 - the edge of this greenlet
                _log.exception("sweeper_failed")
