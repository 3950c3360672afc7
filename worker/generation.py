"""The story of one generation, from its claim to its `done`."""

import random
import time
from secrets import token_hex

import gevent
from structlog.contextvars import bound_contextvars

from millrace.worker.after.hooks import dispatch_after_done
from millrace.worker.answer import AnswerMeter
from millrace.worker.asking import ask, build_context
from millrace.worker.concluding import conclude
from millrace.worker.context.prompt import PromptBuilder
from millrace.worker.contract.events import Cancelled, Error, Outcome, Snapshot, StatusEvent
from millrace.worker.contract.lease import ClaimedGeneration, claim, release
from millrace.worker.ending import tell_end
from millrace.worker.errors import GenerationFailed, LastAttempt, QueueUnavailable, RedisUnavailable
from millrace.worker.interrupt import CancelAsked, HandOver, HoldLost, TimeIsUp
from millrace.worker.observability.logs import get_logger
from millrace.worker.process import WorkerProcess
from millrace.worker.run import RunningGeneration
from millrace.worker.storing import kept_whole
from millrace.worker.takeover import NOTHING, beginning, is_refusal

CLAIM_SECONDS = 20.0
CLAIM_PAUSE_SECONDS = 0.25
HAND_OVER_SECONDS = 1.5
PASS_ON_SECONDS = 0.3

_log = get_logger(__name__)


def generate(process: WorkerProcess, generation: str) -> None:
    """Answer one generation, if it is to be had: it ends with one outcome and `done`, or another worker goes on."""
    if process.is_leaving:
        _pass_on(process, generation)
        return
    if process.has(generation):
        return
    try:
        holding = _claim(process, generation, has_slot=False)
    except LastAttempt:
        process.seat.wait(generation)
        _answer_last_chances(process)
        return
    if holding is not None:
        _answer(process, holding)


def _answer_last_chances(process: WorkerProcess) -> None:
    """Answer those that wait for the seat, one after the other, unless another greenlet is about it."""
    while not process.is_leaving and (generation := process.seat.take()):
        try:
            holding = _claim(process, generation, has_slot=True)
            if holding is not None:
                _answer(process, holding)
        finally:
            process.seat.leave()


def _answer(process: WorkerProcess, holding: ClaimedGeneration) -> None:
    with bound_contextvars(request_id=holding.request_id):
        _run(process, holding)


def _run(process: WorkerProcess, holding: ClaimedGeneration) -> None:
    generation = holding.claim.generation
    run = process.begin(holding)
    _log.info("claimed", generation=generation, attempt=holding.attempt, epoch=holding.claim.epoch)
    answer = AnswerMeter(holding, process.provider.name, run.begun_at, process.settings)
    try:
        outcome = _outcome(process, run, answer)
        if outcome is not None:
            conclude(process, run, outcome)
            run.outbox.end(outcome)
            run.outbox.wait()
    finally:
        process.end(run)
    tell_end(process, run, answer, outcome)
    if run.outbox.has_ended:
        dispatch_after_done(process, run)


def _pass_on(process: WorkerProcess, generation: str) -> None:
    """Leave a ring to another worker: Celery goes on taking tasks for a second or two after it was told to end."""
    gevent.sleep(random.uniform(0.1, PASS_ON_SECONDS))  # or this very process would be the next to hear it
    try:
        process.task_queue.enqueue(generation)
    except QueueUnavailable as error:
        _log.warning("pass_on_failed", generation=generation, error=error)  # a sweep rings again


def _claim(process: WorkerProcess, generation: str, *, has_slot: bool) -> ClaimedGeneration | None:
    token, give_up_at = token_hex(8), time.monotonic() + CLAIM_SECONDS
    while True:
        try:
            with process.gate:
                return claim(process.redis, generation, process.settings, token, has_slot=has_slot)
        except RedisUnavailable as error:
            if time.monotonic() > give_up_at or process.is_leaving:
                _log.warning("claim_failed", generation=generation, error=error)
                return None  # a sweep rings again
        gevent.sleep(CLAIM_PAUSE_SECONDS)


def _outcome(process: WorkerProcess, run: RunningGeneration, answer: AnswerMeter) -> Outcome | None:
    """Stream the answer and return how it ended; None where another worker has it, or shall have it, from here."""
    try:
        kept = kept_whole(process, run.holding)
        if kept is not None:
            told, outcome = kept
            run.outbox.write(told)
            return outcome
        begins_with = beginning(process, run)
        # The only place where an interrupt is raised: whatever is waited for in here, it ends.
        with run.interrupt.armed():
            _say_running(run, process.provider.name, begins_with)
            context = build_context(process, run, is_told=begins_with is None)
            _stream(process, run, answer, begins_with or NOTHING, context)
        return answer.complete()
    except CancelAsked as asked:
        return Cancelled(asked.by, answer.usage())
    except (HandOver, HoldLost) as left:
        _leave(process, run, left)
        return None
    except TimeIsUp:
        failure = GenerationFailed("limit_exceeded", retryable=False)
    except GenerationFailed as ends:
        failure = ends
    except Exception:  # noqa: BLE001 - the edge: whatever went wrong, the reader is told, and the generation ends
        _log.exception("generation_failed", generation=run.holding.claim.generation)
        failure = GenerationFailed("internal", retryable=True)
    return Error(failure.code, failure.message, retryable=failure.retryable)


def _leave(process: WorkerProcess, run: RunningGeneration, why: HandOver | HoldLost) -> None:
    if isinstance(why, HandOver):
        _hand_over(process, run)
    else:
        run.outbox.wait()  # for the error that may stand in the place of what Redis refused


def _say_running(run: RunningGeneration, provider: str, begins_with: Snapshot | None) -> None:
    holding = run.holding
    if begins_with is not None:
        run.outbox.write(begins_with)
    run.outbox.write(StatusEvent("running", attempt=holding.attempt, model=holding.request.model, provider=provider))


def _stream(
    process: WorkerProcess, run: RunningGeneration, answer: AnswerMeter, begins_with: Snapshot, context: PromptBuilder
) -> None:
    """Stream what follows the beginning, or all from the start where the model does not go on from it."""
    answer.begin(begins_with)
    try:
        ask(process, run, answer, context.prompts(begins_with.content))
    except GenerationFailed as failure:
        if not begins_with.content or answer.has_begun or not is_refusal(failure):
            raise
        _log.warning("prefill_refused", generation=run.holding.claim.generation, code=failure.code)
        run.outbox.write(NOTHING)
        answer.begin(NOTHING)
        ask(process, run, answer, context.prompts())


def _hand_over(process: WorkerProcess, run: RunningGeneration) -> None:
    """Give the generation to another worker at once: all that was gathered, then the lease, then a ring."""
    outbox = run.outbox
    outbox.flush()
    is_written = outbox.wait(HAND_OVER_SECONDS)
    outbox.stop("handed over")
    generation = run.holding.claim.generation
    try:
        with process.gate:
            if is_written and release(process.redis, outbox.claim, process.settings):
                process.task_queue.enqueue(generation)
    except (RedisUnavailable, QueueUnavailable) as error:
        # Then the lease runs out, or a sweep rings: later, but sure.
        _log.warning("hand_over_failed", generation=generation, error=error)
