"""The flow of one generation: claim it, build the context, call the model, publish the answer, finish with `done`.

`takeover` returns the text that a second attempt continues from; `finishing` stores the answer and ends the log.
"""

import random
import time
from contextvars import copy_context
from secrets import token_hex

import gevent
from structlog.contextvars import bound_contextvars

from millrace.worker.after.hooks import dispatch_after_done
from millrace.worker.answer_meter import Measured
from millrace.worker.context.prompt import PromptBuilder
from millrace.worker.context.source import ContextQuestion
from millrace.worker.contract.events import Outcome, StatusEvent
from millrace.worker.contract.keys import hash_of
from millrace.worker.contract.lease import ClaimedGeneration, claim, release
from millrace.worker.contract.response_format import fits
from millrace.worker.errors import (
    DependencyUnavailable,
    GenerationFailed,
    LastAttempt,
    QueueUnavailable,
    RedisKeyInvalid,
    RedisUnavailable,
)
from millrace.worker.finishing import publish_end, report_cancel, report_end, store_unwritten
from millrace.worker.interrupt import CancelRequested, DeadlineExceeded, HandoverRequested, LeaseLost
from millrace.worker.observability.logs import get_logger
from millrace.worker.process import WorkerProcess
from millrace.worker.providers.protocol import OutputImage
from millrace.worker.providers.question import Answering, Asked, Paid, Question, Restarted, Retrying
from millrace.worker.settings.catalog import Candidate
from millrace.worker.takeover import (
    EMPTY_SNAPSHOT,
    find_complete_answer,
    restarting_snapshot,
    starting_snapshot,
    text_to_continue,
)
from millrace.worker.upkeep.watcher import RunningGeneration

CLAIM_SECONDS = 20.0
CLAIM_PAUSE_SECONDS = 0.25
HANDOVER_FLUSH_SECONDS = 1.5
REQUEUE_MAX_SECONDS = 0.3

_log = get_logger(__name__)


def generate(process: WorkerProcess, generation: str, *, needs_turn: bool = True) -> None:
    """Answer one generation: the one whose turn it is, or the named one if that does not wait for its turn.

    One that this worker cannot claim is skipped. The generation then ends with one outcome and `done`, or another
    worker takes over. Without `needs_turn` the named one is tried first.
    """
    if process.is_draining:
        _requeue(process, generation)
        return
    candidate = (_take(process, generation) if needs_turn else "") or generation
    while candidate:
        if not process.is_handling(candidate) and _run_if_claimed(process, candidate):
            return
        # Another worker has it, or it has ended. Its message is as good for the next one that waits.
        candidate = "" if process.is_draining else _take(process)


def _take(process: WorkerProcess, generation: str = "") -> str:
    """Return the generation whose turn it is; without the queue's Redis, the one that the message names."""
    try:
        return process.task_queue.take(generation)
    except QueueUnavailable as error:
        _log.warning("take_failed", generation=generation, error=error)
        return generation


def _run_if_claimed(process: WorkerProcess, generation: str) -> bool:
    """Run a generation, or have it wait for its last attempt; return False if this worker cannot claim it."""
    try:
        claimed = _claim(process, generation, has_slot=False)
    except LastAttempt:
        process.last_attempts.add(generation)
        _run_last_attempts(process)
        return True
    if claimed is None:
        return False
    _run(process, claimed)
    return True


def _requeue(process: WorkerProcess, generation: str) -> None:
    """Enqueue a task again for another worker: Celery still takes tasks for a second or two during its shutdown."""
    gevent.sleep(random.uniform(0.1, REQUEUE_MAX_SECONDS))  # otherwise this process would take it again
    try:
        process.task_queue.enqueue(generation)
    except QueueUnavailable as error:
        _log.warning("requeue_failed", generation=generation, error=error)  # a later sweep enqueues it


def _run_last_attempts(process: WorkerProcess) -> None:
    """Run the generations that wait for their last attempt, one at a time; return if another greenlet runs them."""
    while not process.is_draining and (generation := process.last_attempts.take()):
        try:
            claimed = _claim(process, generation, has_slot=True)
            if claimed is not None:
                _run(process, claimed)
        finally:
            process.last_attempts.release()


def _claim(process: WorkerProcess, generation: str, *, has_slot: bool) -> ClaimedGeneration | None:
    """Claim the generation; None if another worker has it, if it has ended, or if Redis stays unavailable."""
    token, give_up_at = token_hex(8), time.monotonic() + CLAIM_SECONDS
    while True:
        try:
            with process.tasks_of(generation).slots_of(generation):
                return claim(process.streams, generation, process.settings, token, has_slot=has_slot)
        except RedisKeyInvalid as error:
            _log.error("claim_failed", generation=generation, error=error)
            return None
        except RedisUnavailable as error:
            if time.monotonic() > give_up_at or process.is_draining or not process.streams.home_answers(generation):
                _log.warning("claim_failed", generation=generation, error=error)
                return None  # a sweep enqueues it again
        gevent.sleep(CLAIM_PAUSE_SECONDS)


def _run(process: WorkerProcess, claimed: ClaimedGeneration) -> None:
    """Run one attempt from its claim to its end, and report how it ended."""
    with bound_contextvars(request_id=claimed.request_id):
        run = process.register(claimed)
        _log_soon("claimed", generation=run.generation, attempt=claimed.attempt, epoch=claimed.claim.epoch)
        try:
            outcome = _answer(process, run)
            if outcome is not None:
                publish_end(process, run, outcome)
        finally:
            process.unregister(run)
        report_end(process, run, outcome)
        if run.outbox.is_finished:
            dispatch_after_done(process, run)
        report_cancel(process, run)


def _log_soon(event: str, **fields: object) -> None:
    """Write a line at this greenlet's next wait, because it delays a question as much as a small command to Redis."""
    gevent.spawn(copy_context().run, _log.info, event, **fields)


def _answer(process: WorkerProcess, run: RunningGeneration) -> Outcome | None:
    """Publish the answer and return its outcome; None if another worker has taken over or will take over."""
    try:
        complete = find_complete_answer(process, run.claimed)
        if complete is not None:
            run.meter.adopt(complete.reasoning_state)
            run.outbox.adopt_sources(complete.sources)
            run.outbox.emit(complete.snapshot("takeover"))
            return complete.outcome
        _stream(process, run)
        outcome = run.meter.complete()
        _check_form(run)
        return outcome
    except CancelRequested as cancel:
        return run.meter.cancelled(cancel.by)
    except HandoverRequested:
        _hand_over(process, run)
        return None
    except LeaseLost:
        run.outbox.wait_until_empty()  # the outbox may hold an error that replaces a rejected event
        if run.outbox.unwritten is not None:
            store_unwritten(process, run, run.outbox.unwritten)
        return None
    except DeadlineExceeded:
        failure = GenerationFailed("limit_exceeded", retryable=False)
    except GenerationFailed as error:
        failure = error
    except Exception:  # noqa: BLE001 - the edge: whatever went wrong, the reader gets an error and the generation ends
        _log.exception("generation_failed", generation=run.generation)
        failure = GenerationFailed("internal", retryable=True)
    return run.meter.failed(failure)


def _stream(process: WorkerProcess, run: RunningGeneration) -> None:
    """Publish the status, the context and the model's answer.

    A later attempt begins with a snapshot and may continue from its text.
    """
    claimed, outbox = run.claimed, run.outbox
    snapshot = starting_snapshot(process, run)
    # Interrupts are raised only inside this block, at any point where the greenlet waits.
    with run.interrupt.armed():
        if snapshot is not None:
            outbox.emit(snapshot)
        candidates = process.router.candidates(claimed.request.model)
        # It is appended while the model's answer is awaited: before that, the append would delay the question.
        outbox.emit(_running(run, candidates[0]), is_urgent=False)
        context = _build_context(process, run, candidates[0], is_first=snapshot is None)
        outbox.flush()
        start = snapshot or EMPTY_SNAPSHOT
        run.meter.start_from(start)
        question = Question(candidates, context.prompts_for, start.content, lambda: text_to_continue(run))
        _publish_answer(process, run, question)


def _check_form(run: RunningGeneration) -> None:
    """Raise GenerationFailed if the answer is not of the form that the request asks for."""
    schema = run.claimed.request.schema
    if schema is not None and not fits(run.outbox.full_transcript().content, schema):
        raise GenerationFailed("malformed_output", retryable=True)


def _running(run: RunningGeneration, candidate: Candidate) -> StatusEvent:
    return StatusEvent(
        "running",
        attempt=run.claimed.attempt,
        model=candidate.id,
        provider=candidate.provider,
        requested_model=run.claimed.request.model,
    )


def _build_context(
    process: WorkerProcess, run: RunningGeneration, candidate: Candidate, *, is_first: bool
) -> PromptBuilder:
    """Gather the context from all sources concurrently, each within its own time limit.

    The context event is published on the first attempt only: in a takeover, the snapshot has already begun the content.
    """
    claimed = run.claimed

    def emit_searching() -> None:
        run.outbox.emit(StatusEvent("searching", attempt=claimed.attempt))

    question = ContextQuestion(
        generation=run.generation,
        owner=claimed.owner,
        conversation=claimed.conversation,
        answer_id=claimed.message,
        request=claimed.request,
        question_id=claimed.question or None,
        on_search=emit_searching,
        on_paid_call=run.meter.paid_calls.append,
    )
    gathered = process.sources.gather(question)
    metadata = {"generation": run.generation, "owner_hash": hash_of(claimed.owner)}
    context = PromptBuilder(claimed.request, process.settings, candidate, gathered, metadata)
    event = context.context_event()
    if event is not None and is_first:
        run.outbox.emit(event)
    elif event is not None:
        run.outbox.adopt_sources(event.sources)
    return context


def _publish_answer(process: WorkerProcess, run: RunningGeneration, question: Question) -> None:
    """Move each delta from the model's stream to the outbox, no faster than Redis accepts them."""
    outbox, meter = run.outbox, run.meter
    announced: Candidate | None = question.candidates[0]
    for item in process.router.stream(question):
        match item:
            case Answering(candidate):
                meter.start_call(item)
                if candidate != announced:
                    announced = candidate
                    outbox.emit(_running(run, candidate))
            case Retrying(candidate, code):
                announced = None  # so that `running` says who answers in the end, and that the wait is over
                attempt, model, provider = run.claimed.attempt, candidate.id, candidate.provider
                outbox.emit(StatusEvent("retrying", attempt=attempt, model=model, provider=provider, code=code))
            case Restarted(content):
                _log.warning("answer_restarted", generation=run.generation, chars=len(content))
                snapshot = restarting_snapshot(run, content)
                outbox.emit(snapshot)
                meter.start_from(snapshot)
            case Paid(call):
                meter.paid_calls.append(call)
            case Asked(prompt):
                meter.record_prompt(prompt)
            case OutputImage():
                image = process.images.keep(run.generation, item, meter.image_bytes)
                _add(run, meter.leave_image_out() if image is None else image)
            case _:
                _add(run, item)


def _add(run: RunningGeneration, delta: Measured) -> None:
    """Measure a delta and add it to the outbox, unless it is not for readers; wait while the outbox is full."""
    content = run.meter.accept(delta, run.outbox.next_seq)
    if content is not None:
        run.outbox.add(content)
        run.outbox.wait_for_capacity()


def _hand_over(process: WorkerProcess, run: RunningGeneration) -> None:
    """Hand the generation to another worker: flush the buffered deltas, release the lease, enqueue the task."""
    outbox = run.outbox
    outbox.flush()
    is_written = outbox.wait_until_empty(HANDOVER_FLUSH_SECONDS)
    outbox.abandon("handed over")
    try:
        with process.tasks_of(run.generation).slots_of(run.generation):
            if is_written and release(process.streams, outbox.claim, process.settings):
                process.task_queue.enqueue(run.generation)
    except DependencyUnavailable as error:
        # This only delays the takeover: a sweep enqueues the generation, if necessary after its lease has expired.
        _log.warning("handover_failed", generation=run.generation, error=error)
