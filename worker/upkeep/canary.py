"""The canary: a task that a worker process sends to itself through the queue, to prove that it consumes.

A process whose consumer hangs still renews its leases and sweeps, but answers nothing
(https://github.com/celery/celery/issues/8030). So only the canary's return counts as a sign of life. If no canary
returns for too long although Redis serves, the process hands over what it runs and exits, to be started again.
"""

import logging
import math
import os
import time
from pathlib import Path

import gevent
from celery.worker import state

from millrace.worker.background_task import REPEAT_SECONDS, BackgroundTask
from millrace.worker.contract.presence import record_heartbeat
from millrace.worker.errors import DependencyUnavailable
from millrace.worker.observability.logs import get_logger
from millrace.worker.process import WorkerProcess
from millrace.worker.upkeep.deadlines import HANDOVER_SECONDS
from millrace.worker.upkeep.heartbeat_file import write_heartbeat

POLL_SECONDS = 0.5
INTERVAL_SECONDS = 2.5  # from the return of one canary to the sending of the next
RESEND_SECONDS = 5.0  # a canary that is out for this long may be lost with Redis's data: another is sent
EXIT_CODE = 75  # sysexits.h's "temporary failure": the supervisor starts the process again

_log = get_logger(__name__)


class Canary(BackgroundTask):
    """The canary of the process named `name`, which runs at most `concurrency` tasks at once."""

    def __init__(self, process: WorkerProcess, name: str, concurrency: int) -> None:
        super().__init__()
        self._process = process
        self._name = name
        self._concurrency = concurrency
        self._returned_at = 0.0
        self._sent_at = 0.0
        self._out_since: float | None = None
        self._failure_logged_at = -math.inf

    def record_return(self) -> None:
        """Record that the canary was consumed, in the heartbeat file and in Redis; raises RedisUnavailable."""
        self._returned_at, self._out_since = time.monotonic(), None
        self._write_heartbeat()
        record_heartbeat(self._process.redis, self._name)

    def send_when_due(self, now: float) -> float:
        """Send a canary if none is out, or if it may be lost; return for how many seconds none has returned.

        Raises RedisUnavailable, QueueUnavailable.
        """
        if self._is_full:
            if now - self._returned_at >= INTERVAL_SECONDS:
                self.record_return()  # a full process rightly consumes nothing
        elif self._out_since is None:
            if now - self._returned_at >= INTERVAL_SECONDS:
                self._process.task_queue.send_canary(self._name)
                self._out_since = self._sent_at = now
        elif now - self._sent_at >= RESEND_SECONDS:
            self._process.task_queue.send_canary(self._name)
            self._sent_at = now
        return 0.0 if self._out_since is None else now - self._out_since

    def _write_heartbeat(self) -> None:
        if path := self._process.settings.worker.pulse_file:
            try:
                write_heartbeat(Path(path))
            except OSError as error:
                _log.warning("heartbeat_not_written", error=error)

    def _note_failure(self, error: DependencyUnavailable, now: float) -> None:
        """Log that no canary can be sent, at most once in half a minute."""
        if now - self._failure_logged_at >= REPEAT_SECONDS:
            self._failure_logged_at = now
            _log.warning("canary_not_sent", error=error)

    @property
    def _is_full(self) -> bool:
        return len(state.active_requests) >= self._concurrency

    def _run(self) -> None:
        while not self._stopping.wait(POLL_SECONDS):
            if self._process.is_draining:
                self._write_heartbeat()
                continue
            try:
                silence = self.send_when_due(time.monotonic())
            except DependencyUnavailable as error:
                self._note_failure(error, time.monotonic())
                self._write_heartbeat()
                if self._out_since is not None:  # not the consumer's fault: its time starts again
                    self._out_since = time.monotonic()
            except Exception:  # noqa: BLE001 - the edge of this greenlet
                _log.exception("canary_failed")
            else:
                if silence > self._process.settings.worker.consume_seconds:
                    self._exit(silence)

    def _exit(self, silence: float) -> None:
        """Hand over what runs and end the process; the consumer, which hangs, takes no part in it."""
        _log.critical("consumer_stalled", seconds=round(silence))
        self._process.drain()
        gevent.sleep(self._process.settings.worker.shutdown_grace_seconds + HANDOVER_SECONDS)
        logging.shutdown()
        os._exit(EXIT_CODE)
