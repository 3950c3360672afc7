"""Whose a generation is: its state for the one who may see it, and the same 404 for everybody else."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

import gevent

from millrace.webapp.generation.stored_log import state_of
from millrace.webapp.guard.auth import cookie_hint, current_owner
from millrace.webapp.problems import Problem
from millrace.webapp.services import services
from millrace.worker.contract.ids import is_id
from millrace.worker.contract.state import GenerationState, read_state, read_states
from millrace.worker.errors import RedisUnavailable

REDIS_RETRY_SECONDS = 5.0  # a native EventSource never comes back after a 503
_PAUSE_SECONDS = 0.1, 0.4

T = TypeVar("T")


def owned_generation(generation: str) -> GenerationState:
    """Return the state of a generation of the asker's, also one that only the database knows any more.

    Raises Problem 404, RedisUnavailable, DatabaseUnavailable.
    """
    owner = current_owner()  # before anything is looked up: who is nobody learns nothing of what is there
    return _checked(owner, generation, read_state(services().redis, generation) if is_id(generation) else None)


def owned_generation_with_retry(generation: str) -> GenerationState:
    """Return the same, and wait a while for Redis where it is away."""
    owner = current_owner()
    return _checked(owner, generation, read_state_with_retry(generation) if is_id(generation) else None)


def owned_generations_with_retry(generations: list[str]) -> list[GenerationState]:
    """Return the same of several, in order."""
    owner = current_owner()
    if not all(map(is_id, generations)):
        raise generation_not_found()
    states = with_redis_retry(lambda: read_states(services().redis, generations))
    return [_checked(owner, *each) for each in zip(generations, states, strict=True)]


def read_state_with_retry(generation: str) -> GenerationState | None:
    """Return the state, whosever it is, and wait a while for Redis where it is away; raises RedisUnavailable after that."""
    return with_redis_retry(lambda: read_state(services().redis, generation))


def with_redis_retry(read: Callable[[], T]) -> T:
    """Return what is read, and try again for a while where Redis is away; raises RedisUnavailable after that."""
    deadline = time.monotonic() + REDIS_RETRY_SECONDS
    while True:
        try:
            return read()
        except RedisUnavailable:
            pause = random.uniform(*_PAUSE_SECONDS)
            if time.monotonic() + pause > deadline:
                raise
            gevent.sleep(pause)


def generation_not_found() -> Problem:
    """Return the 404 of a generation that is absent or somebody else's."""
    return Problem(404, "not_found", f"There is no such generation of yours.{cookie_hint()}")


def _checked(owner: str | None, generation: str, state: GenerationState | None) -> GenerationState:
    if state is None and is_id(generation):
        kept = services().archive.kept(generation)
        state = None if kept is None else state_of(kept)
    if state is None or state.owner != owner:
        raise generation_not_found()
    return state
