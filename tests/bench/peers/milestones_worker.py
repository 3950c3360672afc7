"""Loaded into a worker by `--include`: notes of what a task passes until its first text."""

from typing import Any

from millrace.worker.context.sources import Sources
from millrace.worker.process import WorkerProcess
from millrace.worker.publishing.outbox import Outbox
from millrace.worker.tasks import GenerateTask
from tests.bench.milestones import begin, end, name_generation, note, wrap


def _register(_process: WorkerProcess, claimed: Any) -> None:
    note("claimed")
    name_generation(claimed.claim.generation)


wrap(GenerateTask, "run", lambda *_: begin("picked up"))
wrap(WorkerProcess, "register", _register)
wrap(Sources, "gather", None, lambda *_: note("gathered"))
wrap(Outbox, "add", lambda outbox, _: end(outbox.claim.generation, "answered"))
