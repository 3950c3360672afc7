"""A message that a worker process sends to itself through the queue: only one that comes back shows that it consumes.

A process whose consumer has fallen silent lives, renews its leases and sweeps, and answers nothing
(https://github.com/celery/celery/issues/8030). So its sign of life is the canary's return, and nothing else is; and
where none returns for too long though Redis serves, the process hands over what it runs and ends, to be started again.
"""

import logging
import os
import time
from pathlib import Path

import gevent
from celery.worker import state

from millrace.worker.background_task import BackgroundTask
from millrace.worker.contract.presence import record_heartbeat
from millrace.worker.errors import QueueUnavailable, RedisUnavailable
from millrace.worker.observability.logs import get_logger
from millrace.worker.process import WorkerProcess
from millrace.worker.upkeep.heartbeat_file import beat
from millrace.worker.upkeep.watcher import FAREWELL_SECONDS

LOOK_SECONDS = 0.5
FLIGHT_SECONDS = 2.5  # from one return to the next departure
LOST_SECONDS = 5.0  # one that is out for so long may be lost with Redis's data: another is sent after it
EXIT_CODE = 75  # sysexits.h's "temporary failure": whoever started the process starts it again

_log = get_logger(__name__)


class Canary(BackgroundTask):
    """One a process, called `name`, which runs at most `concurrency` tasks at once."""

    def __init__(self, process: WorkerProcess, name: str, concurrency: int) -> None:
        super().__init__()
        self._process = process
        self._name = name
        self._concurrency = concurrency
        self._returned_at = 0.0
        self._sent_at = 0.0
        self._out_since: float | None = None

    def returned(self) -> None:
        """Take note that this process has consumed its canary, and say so; raises RedisUnavailable."""
        self._returned_at, self._out_since = time.monotonic(), None
        self._beat()
        record_heartbeat(self._process.redis, self._name)

    def silence(self, now: float) -> float:
        """Send one where none is out, or another where it may be lost; return for how many seconds none has come.

        Raises RedisUnavailable, QueueUnavailable.
        """
        if self._is_full:
            if now - self._returned_at >= FLIGHT_SECONDS:
                self.returned()  # it consumes no more, and is as it should be
        elif self._out_since is None:
            if now - self._returned_at >= FLIGHT_SECONDS:
                self._process.task_queue.send_canary(self._name)
                self._out_since = self._sent_at = now
        elif now - self._sent_at >= LOST_SECONDS:
            self._process.task_queue.send_canary(self._name)
            self._sent_at = now
        return 0.0 if self._out_since is None else now - self._out_since

    def _beat(self) -> None:
        """Say to whoever may restart the process that it needs no restart."""
        if path := self._process.settings.worker.pulse_file:
            try:
                beat(Path(path))
            except OSError as error:
                _log.warning("pulse_not_written", error=error)

    @property
    def _is_full(self) -> bool:
        return len(state.active_requests) >= self._concurrency

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            if self._process.is_leaving:
                self._beat()
                continue
            try:
                silence = self.silence(time.monotonic())
            except (QueueUnavailable, RedisUnavailable) as away:
                _log.warning("canary_not_sent", error=away)
                self._beat()
                if self._out_since is not None:  # no fault of the consumer's: its time begins anew
                    self._out_since = time.monotonic()
            except Exception:  # noqa: BLE001 - the edge of this greenlet
                _log.exception("canary_failed")
            else:
                if silence > self._process.settings.worker.consume_seconds:
                    self._give_up(silence)

    def _give_up(self, silence: float) -> None:
        """Hand over what runs and end the process, without the consumer's help: who has fallen silent may not hear."""
        _log.critical("consumes_nothing", seconds=round(silence))
        self._process.leave()
        gevent.sleep(self._process.settings.worker.shutdown_grace_seconds + FAREWELL_SECONDS)
        logging.shutdown()
        os._exit(EXIT_CODE)
