"""Between an answer's last word and its `done`: it is stored, its outcome told, and what follows a whole one."""

from msgspec.structs import replace

from millrace.worker.after.hooks import run_hooks
from millrace.worker.contract.events import Complete, Outcome
from millrace.worker.process import WorkerProcess
from millrace.worker.run import RunningGeneration
from millrace.worker.storing import store


def conclude(process: WorkerProcess, run: RunningGeneration, outcome: Outcome) -> None:
    """Store the answer and tell its outcome; a whole one says whether it is stored, the others are not kept waiting."""
    if not isinstance(outcome, Complete):
        run.outbox.conclude(outcome)
        store(process, run, outcome)
        return
    is_stored = store(process, run, outcome)
    run.outbox.conclude(replace(outcome, stored=is_stored))
    run_hooks(process, run)
    told = run.outbox.whole()
    if is_stored and (told.title is not None or told.suggestions is not None):
        store(process, run, outcome)
