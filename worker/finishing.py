"""The end of a generation: store the answer, publish its outcome and `done`, then log and count how it ended.

A complete answer is stored before its outcome is published. Storing takes a bounded time and is fenced by the claim.
"""

import time

from msgspec.structs import replace

from millrace.worker.after.hooks import run_hooks
from millrace.worker.contract.cancellation import milliseconds_since_cancel
from millrace.worker.contract.events import Complete, Error, Outcome
from millrace.worker.contract.keys import hash_of
from millrace.worker.contract.transcript import Transcript
from millrace.worker.errors import DatabaseUnavailable, GenerationFailed, RedisUnavailable
from millrace.worker.observability.logs import get_logger
from millrace.worker.process import WorkerProcess
from millrace.worker.store import answers
from millrace.worker.store.messages import StoredQuestion
from millrace.worker.upkeep.late_storage import make_stored_answer
from millrace.worker.upkeep.watcher import RunningGeneration

STORE_SECONDS = 2.0  # upper bound, because the reader waits meanwhile for the outcome or for `done`

_log = get_logger(__name__)


def publish_end(process: WorkerProcess, run: RunningGeneration, outcome: Outcome) -> None:
    """Store the answer, publish its outcome and `done`, and wait until they are in the log.

    The outcome of a complete answer states whether the answer is stored; the title and the suggestions follow. Any
    other outcome is published before the answer is stored, so that the reader does not wait.
    """
    outbox = run.outbox
    if isinstance(outcome, Complete):
        is_stored = _store(process, run, outcome)
        outbox.emit_outcome(replace(outcome, stored=is_stored))
        run_hooks(process, run)
        transcript = outbox.full_transcript()
        complete = run.meter.with_calls(outcome)
        has_changed = complete.usage_by != outcome.usage_by
        outcome = complete
        if is_stored and (has_changed or transcript.title is not None or transcript.suggestions is not None):
            _store(process, run, outcome)
    else:
        outbox.emit_outcome(outcome)
        _store(process, run, outcome)
    outbox.finish(outcome)
    outbox.wait_until_empty()


def _store(process: WorkerProcess, run: RunningGeneration, outcome: Outcome) -> bool:
    """Store the question, the answer so far and the outcome; return whether they were stored in time.

    If the result is unknown, workers retry once `done` is in the log, until the log expires.
    """
    claimed, outbox = run.claimed, run.outbox
    outbox.stored_under = None
    if not claimed.question or not outbox.is_open:  # a closed outbox has lost its lease or publishes another outcome
        return False
    return _save(process, run, outcome, outbox.full_transcript())


def store_unwritten(process: WorkerProcess, run: RunningGeneration, transcript: Transcript) -> None:
    """Store the text of an answer whose log cannot be written, because its stream node does not answer any more.

    An answer that has its outcome was stored before.
    """
    if run.claimed.question and transcript.outcome is None:
        _save(process, run, run.meter.failed(GenerationFailed("stream_lost", retryable=True)), transcript)


def _save(process: WorkerProcess, run: RunningGeneration, outcome: Outcome, transcript: Transcript) -> bool:
    claimed, outbox = run.claimed, run.outbox
    claim, done = outbox.claim, outbox.done_cursor
    question = StoredQuestion(
        claimed.question, claimed.owner, claimed.conversation, claimed.request.messages[-1].content
    )
    answer = make_stored_answer(
        transcript,
        outcome,
        done,
        claimed.request,
        message=claimed.message,
        generation=claim.generation,
        reasoning_state=run.meter.reasoning_state(),
    )
    try:
        is_stored = process.database.run(lambda session: answers.save_answer(session, question, answer), STORE_SECONDS)
    except DatabaseUnavailable as error:
        _log.warning("database_unavailable", generation=claim.generation, error=error)
        process.metrics.store_failures.inc()
        return False
    except Exception:  # noqa: BLE001 - the edge: an answer that can't be stored is still published
        _log.exception("store_failed", generation=claim.generation)
        process.metrics.store_failures.inc()
        return False
    outbox.stored_under = claim
    if not is_stored:
        _log.warning("store_rejected", generation=claim.generation, epoch=claim.epoch)
    return is_stored


def report_cancel(process: WorkerProcess, run: RunningGeneration) -> None:
    """Count how long a cancelled generation's model went on after the request to cancel it."""
    closed_at = run.meter.cancelled_at
    if closed_at is None:
        return
    try:
        age_ms = milliseconds_since_cancel(process.streams, run.generation)
    except RedisUnavailable as error:
        _log.info("cancel_not_measured", generation=run.generation, error=error)
        return
    if age_ms is not None:
        process.metrics.record_cancel(max(0.0, age_ms / 1000 - (time.monotonic() - closed_at)))


def report_end(process: WorkerProcess, run: RunningGeneration, outcome: Outcome | None) -> None:
    """Log and count how an attempt ended; `outcome` is None if another worker takes over."""
    claimed, meter = run.claimed, run.meter
    usage, latency = meter.usage(), meter.latency()
    model, provider, requested_model = meter.who_answered()
    process.metrics.record_end(outcome, latency, claimed, meter.chunks)
    process.metrics.record_calls(meter.receipt())
    _log.info(
        "ended",
        generation=run.generation,
        owner=hash_of(claimed.owner),
        attempt=claimed.attempt,
        outcome="left" if outcome is None else type(outcome).__name__.lower(),
        code=outcome.code if isinstance(outcome, Error) else None,
        interrupted_by=type(run.interrupt.reason).__name__ if run.interrupt.reason else None,
        provider=provider,
        model=model,
        requested_model=requested_model,
        first_delta_ms=latency.first_delta_ms,
        total_ms=latency.total_ms,
        events=run.outbox.next_seq - 1,
        chunks=meter.chunks,
        chars=meter.chars,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        is_exact=usage.exact,
    )
