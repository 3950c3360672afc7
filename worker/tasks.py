"""The entry points that Celery calls: the tasks, and the startup and shutdown of a worker process."""

import faulthandler
import gc
import sys
from typing import Any, cast

import gevent
from celery import Task, signals
from celery.concurrency import get_implementation
from celery.concurrency.gevent import TaskPool as GeventPool
from kombu.utils import functional

from millrace.worker.after.learning import Learner
from millrace.worker.app import app, settings
from millrace.worker.contract.queue import CANARY, LEARN, TASK, own_queue
from millrace.worker.errors import DependencyUnavailable, SettingError
from millrace.worker.generation import generate
from millrace.worker.observability import logs
from millrace.worker.observability.logs import get_logger
from millrace.worker.process import WorkerProcess, make_process
from millrace.worker.upkeep.canary import Canary
from millrace.worker.upkeep.deadlines import HANDOVER_SECONDS

EXIT_SECONDS = 5.0  # for Celery to exit once everything is handed over

_log = get_logger(__name__)


class GenerateTask(Task[..., None]):
    """Answers one generation.

    The task holds the process's shared objects. They are created at startup: if they were created on demand,
    concurrent greenlets could each create their own.
    """

    name: Any = TASK
    process: WorkerProcess

    def run(self, generation: str) -> None:
        """Answer one generation."""
        # Where nothing else waited, no turn has to be taken, which saves a round trip before the model is asked.
        generate(self.process, generation, needs_turn=self.request.get("needs_turn", True) is not False)


class LearnTask(Task[..., None]):
    """Learns from an answer; the task only enqueues it for the process's learner."""

    name: Any = LEARN
    learner: Learner

    def run(self, generation: str) -> None:
        """Learn from one generation's answer."""
        self.learner.enqueue(generation)


class CanaryTask(Task[..., None]):
    """Proves that the process consumes tasks."""

    name: Any = CANARY
    canary: Canary

    def run(self) -> None:
        """Record that the canary has returned."""
        try:
            self.canary.record_return()
        except DependencyUnavailable as error:
            _log.warning("canary_return_not_recorded", error=error)  # the next canary makes up for it


generate_task = cast("GenerateTask", app.register_task(GenerateTask()))
learn_task = cast("LearnTask", app.register_task(LearnTask()))
canary_task = cast("CanaryTask", app.register_task(CanaryTask()))


@signals.setup_logging.connect
def _set_up_logging(loglevel: int, **_: Any) -> None:
    logs.configure(loglevel)


@signals.worker_init.connect
def _refuse_other_pools(sender: Any, **_: Any) -> None:
    if not issubclass(get_implementation(sender.pool_cls), GeventPool):
        sys.stderr.write(
            "millrace: the worker runs in gevent's pool only. Start it with: millrace-worker, or "
            "celery -A millrace.worker.app worker --pool gevent --concurrency 500 --loglevel INFO\n"
        )
        sys.exit(2)


@signals.celeryd_after_setup.connect
def _start(instance: Any, **_: Any) -> None:
    # kombu.utils.functional is imported before gevent patches `time`. While the broker is unavailable, its unpatched
    # sleeps of many seconds would block all greenlets, and every lease would expire.
    functional.sleep = gevent.sleep  # pyright: ignore[reportPrivateImportUsage]
    try:
        process = make_process(settings, concurrency=instance.concurrency)
        generate_task.process = process
        learn_task.learner = Learner(process)
        canary_task.canary = Canary(process, instance.hostname, instance.concurrency)
        instance.app.amqp.queues.select_add(own_queue(instance.hostname))
        process.start()
    except SettingError as error:
        sys.stderr.write(f"millrace: {error}\n")
        sys.exit(2)
    except Exception:  # noqa: BLE001 - Celery would keep a process that takes tasks but can't run any
        _log.exception("start_failed")
        sys.exit(1)
    learn_task.learner.start()
    canary_task.canary.start()
    # Otherwise Celery creates a result backend for each greenlet, although no result is ever stored.
    generate_task.backend = learn_task.backend = canary_task.backend = app.backend
    gc.collect()
    gc.freeze()  # exclude boto3's models from later collections, which would delay every answer


@signals.worker_shutting_down.connect
def _drain(**_: Any) -> None:
    generate_task.process.drain()
    # A broker that does not answer, or a thread, may keep the process from exiting. faulthandler then ends the process,
    # after all generations are handed over, and prints tracebacks that show where it hung.
    exit_seconds = settings.worker.shutdown_grace_seconds + HANDOVER_SECONDS + EXIT_SECONDS
    faulthandler.dump_traceback_later(exit_seconds, exit=True, file=2)


@signals.worker_shutdown.connect
def _stop(**_: Any) -> None:
    if not hasattr(canary_task, "canary"):
        return  # a setting was refused at the start, and its line is to be the last one
    canary_task.canary.stop()
    learn_task.learner.stop()
    generate_task.process.stop()
