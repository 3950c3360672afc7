"""The consumer of the queues waits a few seconds between two connections, however the broker fails."""

import logging
import re
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
from celery.exceptions import CPendingDeprecationWarning
from kombu.connection import Connection
from kombu.utils import functional

from millrace.worker import task_consumer
from millrace.worker.contract.queue import make_celery
from millrace.worker.settings.schema import Settings
from millrace.worker.task_consumer import PACE_SECONDS, RECONNECT_SECONDS, TaskConsumer
from tests.valkey import free_port

MINUTES = 300.0


class LongOutage(Exception):
    """The broker has been away for minutes, by the waits that were asked for."""


def make_consumer() -> Any:
    """Return a consumer without a worker around it."""
    controller = SimpleNamespace(use_eventloop=False)
    app = make_celery(Settings())
    app.conf.update(
        worker_cancel_long_running_tasks_on_connection_loss=False, worker_enable_prefetch_count_reduction=False
    )
    return TaskConsumer(lambda *_: None, app=app, hostname="worker@here", pool=None, timer=None, controller=controller)


def test_broker_that_was_away_for_minutes_is_asked_again_within_seconds(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if sum(slept) > MINUTES:
            raise LongOutage

    monkeypatch.setattr(functional, "sleep", sleep)
    with caplog.at_level(logging.ERROR), pytest.raises(LongOutage):
        make_consumer().ensure_connected(Connection(f"redis://127.0.0.1:{free_port()}"))
    waits = [float(each) for each in re.findall(r"Trying again in ([\d.]+) seconds", caplog.text)]
    assert len(waits) > MINUTES / RECONNECT_SECONDS / 2
    assert max(waits) <= RECONNECT_SECONDS


def test_broker_that_ends_each_connection_at_once_is_asked_at_a_slow_pace_and_without_celerys_advice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paused: list[float] = []
    monkeypatch.setattr(task_consumer.gevent, "sleep", paused.append)
    with warnings.catch_warnings(record=True) as advice:
        warnings.simplefilter("always", CPendingDeprecationWarning)  # as Celery does when a worker starts
        consumer = make_consumer()
        for _ in range(3):
            consumer.connection = Connection("memory://")
            consumer.on_connection_error_after_connected(ConnectionError("read only"))
    assert paused == [PACE_SECONDS, PACE_SECONDS], "the first one is replaced at once"
    assert advice == []
