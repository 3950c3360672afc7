"""Removal of one generation by its owner: its log, its answer, and its question where no other answer is left."""

from collections.abc import Callable

from sqlalchemy.orm import Session

from millrace.webapp.generation.creation import CANCEL_SECONDS, cancel_generation
from millrace.webapp.guard.permits import release_permit
from millrace.webapp.problems import Problem
from millrace.webapp.services import services
from millrace.worker.contract.cancellation import forget
from millrace.worker.contract.events import AnyEvent, Done, Outcome
from millrace.worker.contract.feed import ConversationChanged, publish
from millrace.worker.contract.log import decode_entries
from millrace.worker.contract.state import GenerationState
from millrace.worker.store.messages import delete_answer


def wait_for_end(state: GenerationState) -> None:
    """Wait until a generation that is being cancelled has its outcome, 5 s at most; raises RedisUnavailable."""
    if state.is_running:
        _wait_for(state, lambda event: isinstance(event, Outcome))


def remove_generation(state: GenerationState) -> None:
    """End a generation, and delete its log and what is stored of it; nobody can read it any more.

    The other turns of its conversation stay; a conversation without any other message is deleted. Idempotent. Raises
    Problem 503 where the generation does not end in time, RedisUnavailable, DatabaseUnavailable.
    """
    cancel_generation(services(), state)
    # A worker stores the answer until `done`, and would store it again.
    if not state.is_done and not _wait_for(state, lambda event: isinstance(event, Done)):
        raise Problem(503, "still_ending", "The answer is still being ended. Please retry.")

    def delete(session: Session) -> None:
        delete_answer(session, state.owner, state.conversation, state.generation, state.question)

    # Before the log: without it, a delete that fails in between could not be repeated. After it once more: only then
    # no worker stores the answer of a generation whose first attempt to do so has failed.
    services().database.run(delete)
    forget(services().streams, [state.generation])
    services().database.run(delete)
    publish(services().redis, state.owner, ConversationChanged(state.conversation))


def _wait_for(state: GenerationState, is_reached: Callable[[AnyEvent], bool]) -> bool:
    """Return whether such an event follows the last one that the state knows, within 5 s."""
    release_permit()
    entries = services().hub.entries(state.generation, state.top, CANCEL_SECONDS)
    return any(map(is_reached, decode_entries(entries)))
