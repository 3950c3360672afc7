"""Loaded into a worker by `--include`: on SIGUSR1 it stops consuming but stays alive, as after a failed reconnect.

https://github.com/celery/celery/issues/8030
"""

import signal
from typing import Any

import gevent
from celery import signals


@signals.worker_ready.connect
def _listen(sender: Any, **_: Any) -> None:
    def fall_silent() -> None:
        gevent.spawn(sender.task_consumer.cancel)

    gevent.signal_handler(signal.SIGUSR1, fall_silent)
