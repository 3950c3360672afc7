"""Whose a generation is: its state for the one who may see it, and the same 404 for everybody else."""

import random
import time

import gevent

from webapp.auth import known_owner
from webapp.problems import Problem
from webapp.services import services
from worker.contract.errors import RedisAway
from worker.contract.ids import is_id
from worker.contract.state import State, read_state

HOLD_SECONDS = 5.0  # a native EventSource never comes back after a 503
_PAUSE_SECONDS = 0.1, 0.4


def owned(generation: str) -> State:
    """Return the state of a generation of the asker's; raises Problem 404, RedisAway."""
    return _checked(read_state(services().redis, generation) if is_id(generation) else None)


def owned_patiently(generation: str) -> State:
    """Return the same, and wait a while for Redis where it is away."""
    return _checked(patient_state(generation) if is_id(generation) else None)


def patient_state(generation: str) -> State | None:
    """Return the state, whosever it is, and wait a while for Redis where it is away; raises RedisAway after that."""
    deadline = time.monotonic() + HOLD_SECONDS
    while True:
        try:
            return read_state(services().redis, generation)
        except RedisAway:
            pause = random.uniform(*_PAUSE_SECONDS)
            if time.monotonic() + pause > deadline:
                raise
            gevent.sleep(pause)


def no_generation() -> Problem:
    """Return the 404 of a generation that is absent or somebody else's."""
    return Problem(
        404,
        "not_found",
        "There is no such generation of yours. Who you are is kept in a cookie: a client must keep it and send it "
        "back (curl: -c jar -b jar).",
    )


def _checked(state: State | None) -> State:
    if state is None or state.owner != known_owner():
        raise no_generation()
    return state
