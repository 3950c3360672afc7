"""What Celery calls: the task, and the beginning and the end of a process."""

import faulthandler
import gc
import sys
from typing import Any, cast

import gevent
from celery import Task, signals
from kombu.utils import functional

from millrace.worker.after.learning import Learner
from millrace.worker.app import app, settings
from millrace.worker.contract.queue import CANARY, LEARN, TASK, own_queue
from millrace.worker.errors import RedisUnavailable
from millrace.worker.generation import generate
from millrace.worker.observability import logs
from millrace.worker.observability.logs import get_logger
from millrace.worker.process import WorkerProcess, make_process
from millrace.worker.upkeep.canary import Canary
from millrace.worker.upkeep.watcher import FAREWELL_SECONDS

GO_SECONDS = 5.0  # that Celery has for going once all is handed over

_log = get_logger(__name__)


class Generate(Task[..., None]):
    """The task holds what its process shares: made at the start, because what is made lazily is made twice."""

    name: Any = TASK
    process: WorkerProcess

    def run(self, generation: str) -> None:
        """Answer one generation."""
        generate(self.process, generation)


class Learn(Task[..., None]):
    """The task that learns from an answer; it only says so to the process, whose affair it is from there on."""

    name: Any = LEARN
    learner: Learner

    def run(self, generation: str) -> None:
        """Learn from one generation's answer."""
        self.learner.enqueue(generation)


class CanaryTask(Task[..., None]):
    """The task by which the process hears that it consumes."""

    name: Any = CANARY
    canary: Canary

    def run(self) -> None:
        """Note that it has come home."""
        try:
            self.canary.returned()
        except RedisUnavailable as away:
            _log.warning("canary_not_noted", error=away)  # the next one says it


task = cast("Generate", app.register_task(Generate()))
learn = cast("Learn", app.register_task(Learn()))
canary_task = cast("CanaryTask", app.register_task(CanaryTask()))


@signals.setup_logging.connect
def _set_up_logging(loglevel: int, **_: Any) -> None:
    logs.configure(loglevel)


@signals.celeryd_after_setup.connect
def _start(instance: Any, **_: Any) -> None:
    # Celery's own patching loads this module before `time` is patched: while the broker is away, its sleeps of many
    # seconds would stop all the greenlets, and every lease would run out.
    functional.sleep = gevent.sleep  # pyright: ignore[reportPrivateImportUsage]
    try:
        task.process = make_process(settings, concurrency=instance.concurrency)
        learn.learner = Learner(task.process)
        canary_task.canary = Canary(task.process, instance.hostname, instance.concurrency)
        instance.app.amqp.queues.select_add(own_queue(instance.hostname))
    except Exception:  # noqa: BLE001 - Celery would go on without: a process that takes tasks and can do none of them
        _log.exception("start_failed")
        sys.exit(1)
    task.process.start()
    learn.learner.start()
    canary_task.canary.start()
    # Celery would make a backend for each greenlet, only to store nothing in it.
    task.backend = learn.backend = canary_task.backend = app.backend
    gc.collect()
    gc.freeze()  # what is there now stays: looking through boto3's models again and again would hold up every answer


@signals.worker_shutting_down.connect
def _leave(**_: Any) -> None:
    task.process.leave()
    # Who can't go, because a queue that says nothing is waited for, or a thread, is ended once all is handed over, and
    # says where it stood.
    most_seconds = settings.worker.shutdown_grace_seconds + FAREWELL_SECONDS + GO_SECONDS
    faulthandler.dump_traceback_later(most_seconds, exit=True, file=2)


@signals.worker_shutdown.connect
def _stop(**_: Any) -> None:
    canary_task.canary.stop()
    learn.learner.stop()
    task.process.stop()
