"""Access to a generation: its owner gets its state, everyone else the 404 of a generation that does not exist."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

import gevent

from millrace.webapp.generation.stored_log import resume_cursor, state_of
from millrace.webapp.guard.auth import cookie_hint, current_owner
from millrace.webapp.guard.permits import release_permit
from millrace.webapp.problems import Problem
from millrace.webapp.services import services
from millrace.worker.contract.ids import Cursor, is_generation
from millrace.worker.contract.state import GenerationState, read_state, read_states
from millrace.worker.errors import RedisUnavailable

REDIS_RETRY_SECONDS = 5.0  # a native EventSource never reconnects after a 503
_PAUSE_SECONDS = 0.1, 0.4
_MAX_ECHO_CHARS = 64  # an id has half as many

T = TypeVar("T")


def owned_generation(generation: str) -> GenerationState:
    """Return the state of a generation of the current owner, from the database if Redis no longer has it.

    Raises Problem 401 and 404, RedisUnavailable, DatabaseUnavailable.
    """
    owner = current_owner()  # before any lookup: an unauthenticated client must not learn which ids exist
    return _check_owner(
        owner, generation, read_state(services().streams, generation) if is_generation(generation) else None
    )


def owned_by(owner: str, generation: str) -> GenerationState:
    """Return the state of a generation of this owner, also of one that only the database still has; raises the same."""
    return _check_owner(
        owner, generation, read_state(services().streams, generation) if is_generation(generation) else None
    )


def owned_generation_with_retry(generation: str) -> GenerationState:
    """Return the same; retry for 5 s while Redis is unavailable."""
    owner = current_owner()
    return _check_owner(owner, generation, read_state_with_retry(generation) if is_generation(generation) else None)


def owned_generations_with_retry(generations: list[str]) -> list[GenerationState]:
    """Return the states of several generations, in order; raises a 404 that names the first that is not the owner's."""
    owner = current_owner()
    for generation in generations:
        if not is_generation(generation):
            raise generation_not_found(generation)
    states = with_redis_retry(lambda: read_states(services().streams, generations))
    return [_check_named(owner, *each) for each in zip(generations, states, strict=True)]


def read_state_with_retry(generation: str) -> GenerationState | None:
    """Return a generation's state without checking its owner; retry for 5 s, then raise RedisUnavailable."""
    return with_redis_retry(lambda: read_state(services().streams, generation))


def resume_cursor_with_retry(state: GenerationState, after: Cursor) -> Cursor:
    """Return the cursor to follow a generation from; retry for 5 s, then raise RedisUnavailable."""
    return with_redis_retry(lambda: resume_cursor(services().streams, state, after))


def with_redis_retry(read: Callable[[], T]) -> T:
    """Return the result of `read`; while it raises RedisUnavailable, retry for 5 s, then raise that."""
    deadline = time.monotonic() + REDIS_RETRY_SECONDS
    while True:
        try:
            return read()
        except RedisUnavailable:
            pause = random.uniform(*_PAUSE_SECONDS)
            if time.monotonic() + pause > deadline:
                raise
            release_permit()
            gevent.sleep(pause)


def generation_not_found(named: str | None = None) -> Problem:
    """Return the 404 of a generation that does not exist or belongs to another owner.

    `named` is the one of several that a client has to leave out.
    """
    problem = Problem(404, "not_found", f"Generation not found.{cookie_hint()}")
    if named is not None:
        problem.members["generation_id"] = named[:_MAX_ECHO_CHARS]
    return problem


def _check_named(owner: str | None, generation: str, state: GenerationState | None) -> GenerationState:
    try:
        return _check_owner(owner, generation, state)
    except Problem as problem:
        raise generation_not_found(generation) from problem


def _check_owner(owner: str | None, generation: str, state: GenerationState | None) -> GenerationState:
    """Return the owner's state of the generation.

    Another user's id causes the same queries as an absent one, so that the time of the 404 does not tell them apart.
    """
    is_own = state is not None and state.owner == owner and not state.is_deleted
    if is_own:
        return state
    stored = services().stored_logs.answer(generation, owner or "") if is_generation(generation) else None
    if stored is None or state is not None:
        raise generation_not_found()
    return state_of(stored)
