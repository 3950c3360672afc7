"""Between a whole answer's outcome and its `done`: all hooks at once, within one time cap, each stopping nothing."""

import time
from collections.abc import Callable
from contextlib import suppress

import gevent
import msgspec

from millrace.worker.after.suggestions import suggest
from millrace.worker.after.title import name_conversation
from millrace.worker.after.turn import CompletedTurn
from millrace.worker.contract.events import Complete, Suggestions, Title
from millrace.worker.contract.feed import publish_ended
from millrace.worker.errors import DatabaseUnavailable, GenerationFailed, QueueUnavailable
from millrace.worker.interrupt import Interrupted
from millrace.worker.observability.logs import get_logger
from millrace.worker.process import WorkerProcess
from millrace.worker.run import RunningGeneration

Hook = Callable[[WorkerProcess, CompletedTurn], Title | Suggestions | None]
"""Asks what it likes and returns the event to tell, or None; it may raise, and is cut off when the time is over."""

_log = get_logger(__name__)


def hooks_of(process: WorkerProcess) -> dict[str, Hook]:
    """Return the hooks that are switched on, by the name that the log gives them; a new hook is named here."""
    settings = process.settings
    hooks: dict[str, Hook] = {}
    if settings.hooks.titles:
        hooks["title"] = name_conversation
    if settings.hooks.suggestions:
        hooks["suggestions"] = suggest
    return hooks


def follow_up(process: WorkerProcess, run: RunningGeneration) -> None:
    """Tell what follows a whole answer whose outcome has been written; returns within the cap, whatever happens.

    A cancel, the end of this process or of the answer's time end it at once: the outcome stands, and `done` is due.
    """
    hooks = hooks_of(process)
    if not hooks:
        return
    ends_at = time.monotonic() + process.settings.hooks.after_seconds
    greenlets: dict[str, gevent.Greenlet[..., None]] = {}
    try:
        with suppress(Interrupted), run.interrupt.armed():
            if not run.outbox.wait(process.settings.hooks.after_seconds):
                return
            turn = _turn_of(run)
            if turn is not None:
                greenlets = {name: gevent.spawn(_tell, process, run, turn, name, hooks[name]) for name in hooks}
                gevent.joinall([*greenlets.values()], timeout=max(0.0, ends_at - time.monotonic()))
    finally:
        for name, greenlet in greenlets.items():
            if not greenlet.ready():
                _log.warning("hook_cut_off", hook=name, generation=run.holding.claim.generation)
        gevent.killall([*greenlets.values()], block=False)


def after_done(process: WorkerProcess, run: RunningGeneration) -> None:
    """See to what comes after `done`: the owner's feed is told, and somebody is to learn from a whole answer.

    What is no turn of a conversation is kept nowhere, and not learned from.
    """
    generation, told = run.holding.claim.generation, run.outbox.transcript
    with process.gate:
        publish_ended(process.redis, [generation])
    is_kept = bool(run.holding.question)
    if process.settings.hooks.learning and isinstance(told.outcome, Complete) and told.content.strip() and is_kept:
        try:
            process.task_queue.enqueue_learning(generation)
        except QueueUnavailable as away:
            _log.warning("learning_not_rung", generation=generation, error=away)


def _tell(process: WorkerProcess, run: RunningGeneration, turn: CompletedTurn, name: str, hook: Hook) -> None:
    began = time.monotonic()
    try:
        event = hook(process, turn)
    except GenerationFailed as failure:
        _log.warning("hook_failed", hook=name, generation=turn.generation, error=failure.code)
        return
    except (msgspec.ValidationError, DatabaseUnavailable) as error:
        _log.warning("hook_failed", hook=name, generation=turn.generation, error=error)
        return
    except Exception:  # noqa: BLE001 - the edge of this greenlet: what it asks for is no part of the answer
        _log.exception("hook_failed", hook=name, generation=turn.generation)
        return
    if event is not None:
        run.outbox.write(event)
    _log.info("hook_done", hook=name, generation=turn.generation, ms=int((time.monotonic() - began) * 1000))


def _turn_of(run: RunningGeneration) -> CompletedTurn | None:
    """Return the turn as the log has it; None where there are no words to go by."""
    holding, answer = run.holding, run.outbox.transcript.content
    question = holding.request.messages[-1].content
    if not question.strip() or not answer.strip():
        return None
    return CompletedTurn(holding.claim.generation, holding.owner, holding.conversation, question, answer)
