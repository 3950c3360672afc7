"""The hooks between a complete answer's outcome and its `done`, and the steps after `done`.

All hooks run at once, within one time limit. A hook that fails or hangs affects neither the others nor `done`.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context

import gevent

from millrace.worker.after.suggestions import suggest_questions
from millrace.worker.after.title import name_conversation
from millrace.worker.after.turn import CompletedTurn, completed_turn
from millrace.worker.contract.events import Complete, PaidCall, Suggestions, Title
from millrace.worker.contract.feed import publish_ended
from millrace.worker.errors import DatabaseUnavailable, GenerationFailed, QueueUnavailable
from millrace.worker.interrupt import Interrupted
from millrace.worker.observability.logs import get_logger
from millrace.worker.process import WorkerProcess
from millrace.worker.upkeep.watcher import RunningGeneration

Hook = Callable[[WorkerProcess, CompletedTurn, Callable[[PaidCall], None]], Title | Suggestions | None]
"""Returns the event to append, or None, and records its paid calls by its third argument.

A hook may raise; it is killed when the time limit is reached.
"""

_log = get_logger(__name__)


def enabled_hooks(process: WorkerProcess) -> dict[str, Hook]:
    """Return the hooks that the settings switch on, by their name in the log. Register a new hook here."""
    settings = process.settings
    hooks: dict[str, Hook] = {}
    if settings.hooks.titles:
        hooks["title"] = name_conversation
    if settings.hooks.suggestions:
        hooks["suggestions"] = suggest_questions
    return hooks


def run_hooks(process: WorkerProcess, run: RunningGeneration) -> None:
    """Append the hooks' events after the outcome; returns within `MILLRACE_AFTER_SECONDS`.

    A cancel, the generation's deadline and the shutdown of this process end the hooks at once: the outcome has been
    appended, and only `done` is missing.
    """
    hooks = enabled_hooks(process)
    if not hooks:
        return
    deadline = time.monotonic() + process.settings.hooks.after_seconds
    greenlets: dict[str, gevent.Greenlet[..., None]] = {}
    try:
        with suppress(Interrupted), run.interrupt.armed():
            if not run.outbox.wait_until_empty(process.settings.hooks.after_seconds):
                return
            turn = _turn_of(run)
            if turn is not None:
                greenlets = {name: _spawn_hook(process, run, turn, name, hook) for name, hook in hooks.items()}
                gevent.joinall([*greenlets.values()], timeout=max(0.0, deadline - time.monotonic()))
    finally:
        for name, greenlet in greenlets.items():
            if not greenlet.ready():
                _log.warning("hook_cut_off", hook=name, generation=run.generation)
        gevent.killall([*greenlets.values()], block=False)


def dispatch_after_done(process: WorkerProcess, run: RunningGeneration) -> None:
    """Publish the end to the owner's feed and, after a complete answer, enqueue the learning task.

    A generation without a question in a conversation is not stored, so that nothing can be learned from it.
    """
    generation, transcript = run.generation, run.outbox.transcript
    with process.tasks_of(generation).slots_of(generation):
        publish_ended(process.streams, [generation])
    is_complete = isinstance(transcript.outcome, Complete) and bool(transcript.content.strip())
    if process.settings.hooks.learning and is_complete and run.claimed.question:
        try:
            process.task_queue.enqueue_learning(generation)
        except QueueUnavailable as error:
            _log.warning("learning_not_enqueued", generation=generation, error=error)


def _spawn_hook(
    process: WorkerProcess, run: RunningGeneration, turn: CompletedTurn, name: str, hook: Hook
) -> "gevent.Greenlet[..., None]":
    """Start a hook in a greenlet of its own, whose log lines have the request's id as well."""
    return gevent.spawn(copy_context().run, _run_hook, process, run, turn, name, hook)


def _run_hook(process: WorkerProcess, run: RunningGeneration, turn: CompletedTurn, name: str, hook: Hook) -> None:
    started_at = time.monotonic()
    try:
        event = hook(process, turn, run.meter.paid_calls.append)
    except GenerationFailed as failure:
        _log.warning("hook_failed", hook=name, generation=turn.generation, error=failure.code)
        return
    except DatabaseUnavailable as error:
        _log.warning("hook_failed", hook=name, generation=turn.generation, error=error)
        return
    except Exception:  # noqa: BLE001 - the edge of this greenlet: a hook's failure must not reach the answer
        _log.exception("hook_failed", hook=name, generation=turn.generation)
        return
    if event is not None:
        run.outbox.emit(event)
    _log.info("hook_done", hook=name, generation=turn.generation, ms=int((time.monotonic() - started_at) * 1000))


def _turn_of(run: RunningGeneration) -> CompletedTurn | None:
    """Return the turn as the log has it; None if the question or the answer is blank."""
    claimed = run.claimed
    question, answer = claimed.request.messages[-1].content, run.outbox.transcript.content
    return completed_turn(run.generation, claimed.owner, claimed.conversation, question, answer)
