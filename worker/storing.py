"""An answer on its way into the database: before its outcome is told, within a bounded time, fenced by its claim."""

from millrace.worker.contract.events import Complete, Outcome, Snapshot
from millrace.worker.contract.lease import ClaimedGeneration
from millrace.worker.errors import DatabaseUnavailable
from millrace.worker.observability.logs import get_logger
from millrace.worker.process import WorkerProcess
from millrace.worker.record import record
from millrace.worker.run import RunningGeneration
from millrace.worker.store import answers
from millrace.worker.store.messages import StoredQuestion

STORE_SECONDS = 2.0  # at most: the reader waits for the outcome, or for `done`

_log = get_logger(__name__)


def store(process: WorkerProcess, run: RunningGeneration, outcome: Outcome) -> bool:
    """Keep the answer so far and how it ends, with its question; returns whether they are, in time, whatever fails.

    Where that is not known, it is tried again once `done` is in the log, by any worker, until the log expires.
    """
    holding, outbox = run.holding, run.outbox
    outbox.settled_by = None
    whole, claim, done = outbox.whole(), outbox.claim, outbox.done_cursor
    if not holding.question or not outbox.is_open:  # what is closed has lost the generation, or tells another end
        return False
    question = StoredQuestion(
        holding.question, holding.owner, holding.conversation, holding.request.messages[-1].content
    )
    named = {"message": holding.message, "generation": claim.generation, "provider": process.provider.name}
    answer = record(whole, outcome, done, holding.request, **named)
    try:
        is_kept = process.database.run(lambda session: answers.save_answer(session, question, answer), STORE_SECONDS)
    except DatabaseUnavailable as away:
        _log.warning("store_away", generation=claim.generation, error=away)
        return False
    except Exception:  # noqa: BLE001 - the edge: an answer that can't be stored is told all the same
        _log.exception("store_failed", generation=claim.generation)
        return False
    outbox.settled_by = claim
    if not is_kept:
        _log.warning("store_refused", generation=claim.generation, epoch=claim.epoch)
    return is_kept


def kept_whole(process: WorkerProcess, holding: ClaimedGeneration) -> tuple[Snapshot, Complete] | None:
    """Return what to tell of an answer that an attempt before this one has stored whole, but not told to its end.

    None where this is the first, or there is no such answer, or the database does not say in time.
    """
    if not holding.question or holding.is_first_attempt:
        return None
    try:
        kept = process.database.run(lambda session: answers.find_answer(session, holding.message), STORE_SECONDS)
    except DatabaseUnavailable as away:
        _log.warning("store_away", generation=holding.claim.generation, error=away)
        return None
    if kept is None or not isinstance(kept.answer.outcome, Complete):
        return None
    answer = kept.answer
    told = Snapshot(answer.content, answer.reasoning, list(answer.citations), list(answer.tools), "takeover")
    return told, kept.answer.outcome
